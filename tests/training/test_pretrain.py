from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers

from drlongformer.errors import TrainingError
from drlongformer.model.longformer import SelfAttention
from drlongformer.training import beginning, corpus, pretrain, trained
from drlongformer.training.corpus import Corpus
from drlongformer.training.dataset import Batch, collate
from drlongformer.training.distributed import Group
from drlongformer.training.masked import MaskedBatches, losses
from drlongformer.training.perplexity import held_out_scores, length_class
from drlongformer.training.recipes import PretrainingRecipe
from tests.training import test_convert, texts


def log(folder: Path, kind: str = "losses") -> list[dict[str, float]]:
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry[kind] for entry in map(json.loads, lines) if kind in entry]


def test_the_loss_falls_and_transformers_computes_the_same(tmp_path: Path) -> None:
    read = texts.made(tmp_path)
    recipe = texts.recipe(steps=30, first_global=False)
    model_folder = pretrain.run(recipe, texts=read, output=tmp_path / "run")
    curve = [entry["mlm"] for entry in log(tmp_path / "run")]
    assert sum(curve[-5:]) < 0.8 * sum(curve[:5])
    _transformers_agrees(model_folder, recipe, read, first_global=False)


def test_transformers_computes_the_same_with_a_global_first_token(tmp_path: Path) -> None:
    read, recipe = texts.made(tmp_path), texts.recipe(steps=2)
    _transformers_agrees(pretrain.run(recipe, texts=read, output=tmp_path / "run"), recipe, read, first_global=True)


def _transformers_agrees(folder: Path, recipe: PretrainingRecipe, read: pretrain.Texts, *, first_global: bool) -> None:
    """The loss of transformers' own class on the windows of one micro-batch, weighted by their masked words."""
    theirs, found = transformers.LongformerForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    model, heads = trained.load(folder)
    subject = beginning.Learner(model=model.eval(), heads=heads, tokenizer_json=(folder / "tokenizer.json").read_bytes())
    batch = pretrain.masked_batches(recipe, subject, Corpus(read.corpus), seed=9)[0]
    total, rows, packed = 0.0, len(batch.wanted["mlm"]), batch.packed
    for window, share in enumerate(packed.shares):
        start, length = packed.first_block[window] * 4, int(packed.document_length[window])
        ids = torch.from_numpy(packed.input_ids.reshape(-1)[start : start + length])[None]
        slots = packed.query_blocks[packed.rows["mlm"][share.rows["mlm"]] // 4] * 4 + packed.rows["mlm"][share.rows["mlm"]] % 4
        labels = torch.full_like(ids, -100)
        labels[0, slots - start] = torch.from_numpy(batch.wanted["mlm"][share.rows["mlm"]])
        everywhere = torch.zeros_like(ids)
        everywhere[0, 0] = int(first_global)
        with torch.no_grad():
            out = theirs.eval()(ids, torch.ones_like(ids), global_attention_mask=everywhere, labels=labels)
        total += out.loss.item() * int((labels >= 0).sum())
    with torch.no_grad():
        ours = losses(model, batch, weights={})["mlm"].item()
    assert ours == pytest.approx(total / rows, rel=1e-4)


@pytest.mark.parametrize("first_global", [True, False])
def test_global_projections_learn_only_where_something_is_global(first_global: bool, tmp_path: Path) -> None:
    read, recipe = texts.made(tmp_path), texts.recipe(steps=3, first_global=first_global)
    before = beginning.begun(recipe, tokenizer_json=read.tokenizer_json, base=None, labels=()).model.state_dict()
    model, heads = trained.load(pretrain.run(recipe, texts=read, output=tmp_path / "run"))
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert any("_global." in name for name in moved) == first_global
    assert any(".query." in name for name in moved)
    assert heads[0].global_attention == ("first" if first_global else "none")


class Joined:
    """Micro-batches 2 n and 2 n + 1 packed as one, with the same masks."""

    def __init__(self, apart: MaskedBatches) -> None:
        self.apart = apart

    def __getitem__(self, step: int) -> Batch:
        examples = []
        for micro in (2 * step, 2 * step + 1):
            random = np.random.default_rng((self.apart.plan.seed, micro, 1))
            examples += [self.apart._example(one, start, stop, random) for one, start, stop in self.apart.plan[micro].tolist()]
        return collate(examples, block=self.apart.plan.block, heads=self.apart.heads)


def test_accumulated_micro_batches_minimise_what_one_large_batch_does(tmp_path: Path) -> None:
    read, recipe = texts.made(tmp_path), texts.recipe(steps=3)
    ends = {}
    for name in ("apart", "joined"):
        subject = beginning.begun(recipe, tokenizer_json=read.tokenizer_json, base=None, labels=())
        batches = pretrain.masked_batches(recipe, subject, Corpus(read.corpus), seed=recipe.seed)
        rows = [len(batches[number].wanted["mlm"]) for number in range(6)]
        assert any(rows[2 * step] != rows[2 * step + 1] for step in range(3))
        run = pretrain._trainer(recipe, subject, batches, tmp_path / name, group=Group())
        if name == "joined":
            run.batches, run.micro_batches = Joined(batches), 1
        run.run()
        ends[name] = subject.model.state_dict()
    apart, joined = ([entry["mlm"] for entry in log(tmp_path / name)] for name in ("apart", "joined"))
    assert apart == pytest.approx(joined, rel=1e-5)
    for name, weight in ends["apart"].items():
        torch.testing.assert_close(weight, ends["joined"][name], rtol=1e-3, atol=1e-5)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    read, recipe = texts.made(tmp_path), texts.recipe(whole_words=True)
    straight = pretrain.run(recipe, texts=read, output=tmp_path / "straight")
    # Stopped by its time budget after one step, then resumed under the whole recipe: the schedule must not notice.
    short = replace(recipe, optimisation=replace(recipe.optimisation, seconds=1e-9))
    pretrain.run(short, texts=read, output=tmp_path / "broken")
    assert len(log(tmp_path / "broken")) == 1
    broken = pretrain.run(recipe, texts=read, output=tmp_path / "broken", resume=True)
    expected = trained.load(straight)[0].state_dict()
    for name, weight in trained.load(broken)[0].state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0)
    assert log(tmp_path / "broken") == log(tmp_path / "straight")
    assert log(tmp_path / "broken", "held_out")[-1] == log(tmp_path / "straight", "held_out")[-1]


def test_a_fresh_run_never_overwrites_another(tmp_path: Path) -> None:
    read, recipe = texts.made(tmp_path), texts.recipe(steps=1)
    with pytest.raises(TrainingError, match="holds no run"):
        pretrain.run(recipe, texts=read, output=tmp_path / "one", resume=True)
    pretrain.run(recipe, texts=read, output=tmp_path / "one")
    with pytest.raises(TrainingError, match="holds a run already: add --resume to go on"):
        pretrain.run(recipe, texts=read, output=tmp_path / "one")
    other = replace(recipe, batches=replace(recipe.batches, masked_share=0.2))
    with pytest.raises(TrainingError, match="begun with other settings: masked_share"):
        pretrain.run(other, texts=read, output=tmp_path / "one", resume=True)


def test_another_corpus_of_as_many_documents_and_tokens_is_refused(tmp_path: Path) -> None:
    read, recipe = texts.made(tmp_path), texts.recipe(steps=1)
    pretrain.run(recipe, texts=read, output=tmp_path / "run")
    known = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    other = corpus.write(tmp_path / "other", texts.documents(40)[::-1], known)
    assert (len(other), other.tokens) == (len(Corpus(read.corpus)), Corpus(read.corpus).tokens)
    with pytest.raises(TrainingError, match=r"run was begun with other settings: corpus$"):
        pretrain.run(recipe, texts=replace(read, corpus=other.folder), output=tmp_path / "run", resume=True)


def test_altered_files_are_no_beginning(tmp_path: Path) -> None:
    read, recipe = texts.made(tmp_path), texts.recipe(steps=1)
    base = pretrain.run(recipe, texts=read, output=tmp_path / "run")
    (base / "tokenizer.json").write_text((base / "tokenizer.json").read_text(encoding="utf-8") + " ", encoding="utf-8")
    goes_on = replace(recipe, strategy="continue", architecture=None)
    with pytest.raises(TrainingError, match=r"model/tokenizer\.json is not the file that was saved"):
        pretrain.run(goes_on, texts=read, base=base, output=tmp_path / "next")


def test_a_finished_run_says_so_and_takes_no_other_tokenizer(tmp_path: Path) -> None:
    read, recipe, told = texts.made(tmp_path), texts.recipe(steps=1), list[int]()
    watch = pretrain.Watch(on_finished=told.append)
    pretrain.run(recipe, texts=read, output=tmp_path / "run", watch=watch)
    assert told == []
    pretrain.run(recipe, texts=read, output=tmp_path / "run", watch=watch, resume=True)
    assert told == [1]
    other = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    other.add_tokens(["scanner"])
    other.save(str(tmp_path / "other.json"))
    with pytest.raises(TrainingError, match=r"run was begun with another tokenizer than .*other\.json"):
        pretrain.run(recipe, texts=replace(read, tokenizer_json=tmp_path / "other.json"), output=tmp_path / "run", resume=True)


def test_a_run_goes_on_from_a_longformer_of_transformers(tmp_path: Path) -> None:
    read = texts.made(tmp_path)
    sizes: dict[str, Any] = {"vocab_size": 400, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.LongformerConfig(**sizes, num_hidden_layers=2, attention_window=[8, 8], max_position_embeddings=66)
    theirs = transformers.LongformerForMaskedLM(config)
    theirs.save_pretrained(tmp_path / "base")
    recipe = replace(texts.recipe(steps=1), strategy="continue", architecture=None, batches=texts.recipe().batches)
    recipe = replace(recipe, batches=replace(recipe.batches, batch_tokens=512, micro_tokens=512, window_tokens=(62,)))
    begun = beginning.begun(recipe, tokenizer_json=read.tokenizer_json, base=tmp_path / "base", labels=())
    words = theirs.longformer.embeddings.word_embeddings.weight
    assert torch.equal(begun.model.longformer.embeddings.word_embeddings.weight, words)
    model, _ = trained.load(pretrain.run(recipe, texts=read, base=tmp_path / "base", output=tmp_path / "run"))
    assert not torch.equal(model.longformer.embeddings.word_embeddings.weight, words)


def test_a_run_goes_on_from_a_converted_roberta_and_copies_at_the_end(tmp_path: Path) -> None:
    read, base = texts.made(tmp_path), test_convert.written(tmp_path / "roberta")
    batches = replace(texts.recipe().batches, batch_tokens=512, micro_tokens=512, window_tokens=(90,), first_global=False)
    recipe = replace(texts.recipe(steps=2), strategy="convert", architecture=None, batches=batches)
    recipe = replace(recipe, attention_window=8, max_tokens=90, copy_local_to_global=True)
    folder = pretrain.run(recipe, texts=replace(read, tokenizer_json=None), base=base, output=tmp_path / "run")
    for place, same in ((folder, True), (tmp_path / "run" / "checkpoint", False)):
        modules = trained.load(place)[0].modules()
        attention = next(module for module in modules if isinstance(module, SelfAttention))
        assert torch.equal(attention.query.weight, attention.query_global.weight) == same
    assert trained.load(folder)[0].longformer.config.max_tokens == 90


def test_perplexity_is_told_by_length_of_the_document(tmp_path: Path) -> None:
    read, recipe = texts.made(tmp_path), texts.recipe(steps=1)
    subject = beginning.begun(recipe, tokenizer_json=read.tokenizer_json, base=None, labels=())
    assert read.held_out is not None
    held_out = Corpus(read.held_out)
    batches = pretrain.masked_batches(recipe, subject, held_out, seed=0)
    count = len(batches.plan.epoch(0))
    scores = held_out_scores(subject.model, batches, count=count, group=Group())
    assert scores == held_out_scores(subject.model, batches, count=count, group=Group())
    assert scores["perplexity"] == pytest.approx(math.exp(scores["mlm_loss"]))
    assert {name for name in scores if name.startswith("perplexity_")} == {
        f"perplexity_{length_class(tokens + 2)}" for tokens in held_out.lengths.tolist()
    }


@pytest.mark.parametrize(
    ("tokens", "name"), [(3, "up_to_512"), (512, "up_to_512"), (513, "up_to_1024"), (4096, "up_to_4096"), (4097, "over_4096")]
)
def test_classes_of_length_include_their_edge(tokens: int, name: str) -> None:
    assert length_class(tokens) == name


def test_a_corpus_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    read = texts.made(tmp_path)
    other = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    other.add_tokens(["scanner"])
    corpus.write(tmp_path / "other", texts.documents(3), other)
    sentence = r"other was made with another tokenizer than the model reads with, .*tokenizer\.json"
    with pytest.raises(TrainingError, match=sentence):
        pretrain.run(texts.recipe(), texts=replace(read, corpus=tmp_path / "other"), output=tmp_path / "run")


def test_the_outlook_refuses_windows_that_the_model_cannot_read(tmp_path: Path) -> None:
    read, recipe = texts.made(tmp_path), texts.recipe(window_tokens=(100,))
    with pytest.raises(TrainingError, match="windows of 100 tokens, but the model reads 62: lower --window-tokens"):
        pretrain.outlook(recipe, read)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"batches": {"window_tokens": (100,)}}, "windows of 100 tokens, but the model reads 62"),
        ({"tokenizer_json": None}, r"strategy scratch needs a tokenizer\.json"),
        ({"strategy": "continue", "architecture": None}, "begins with a checkpoint, and none is given"),
    ],
)
def test_a_run_that_cannot_be_is_refused(changed: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    read, recipe = texts.made(tmp_path), texts.recipe()
    if "tokenizer_json" in changed:
        read = replace(read, **changed)
    else:
        batches = replace(recipe.batches, **changed.pop("batches", {}))
        recipe = replace(recipe, batches=batches, **changed)
    with pytest.raises(TrainingError, match=sentence):
        pretrain.run(recipe, texts=read, output=tmp_path / "run")


def test_event_files_are_written_for_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read, recipe = texts.made(tmp_path), texts.recipe(steps=3)
    pretrain.run(recipe, texts=read, output=tmp_path / "run", watch=pretrain.Watch(tensorboard=True))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in events.Scalars("losses/mlm")]
    assert [step for step, _ in shown] == [1, 2, 3]
    assert [value for _, value in shown] == pytest.approx([entry["mlm"] for entry in log(tmp_path / "run")], rel=1e-5)
    assert events.Scalars("held_out/perplexity")
