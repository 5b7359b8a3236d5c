from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from drlongformer.errors import CheckpointError, TrainingError
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.longformer import SelfAttention
from drlongformer.training import beginning, convert, pretrain
from drlongformer.training.dataset import Example, collate
from drlongformer.training.head_specs import language_head
from drlongformer.training.masked import logits
from tests.training import served, texts

KINDS: dict[str, tuple[Any, Any]] = {
    "roberta": (transformers.RobertaConfig, transformers.RobertaForMaskedLM),
    "camembert": (transformers.CamembertConfig, transformers.CamembertForMaskedLM),
}
HEAD = language_head(first_global=False)


def written(folder: Path, kind: str = "roberta", **changed: Any) -> Path:
    """A checkpoint of 30 tokens with perturbed weights, and a tokenizer."""
    torch.manual_seed(0)
    configuration, model = KINDS[kind]
    described: dict[str, Any] = {
        "vocab_size": 400,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-12,
    }
    made = model(configuration(**described | changed))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    made.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(served.tokenizer_json(), encoding="utf-8")
    return folder


def converted(folder: Path) -> LongformerWithHeads:
    return convert.from_roberta(folder, head=HEAD, attention_window=64, max_tokens=100, block=4).eval()


def test_rows_are_tiled_as_drawn() -> None:
    table = torch.arange(5.0)[:, None]
    assert convert.tiled(table, rows=9, first=2)[:, 0].tolist() == [0, 1, 2, 3, 4, 2, 3, 4, 2]


def test_positions_are_tiled_as_published() -> None:
    table = torch.randn(514, 3)
    long = convert.tiled(table, rows=4098, first=2)
    assert torch.equal(long[:2], table[:2])
    for copy in range(8):
        assert torch.equal(long[2 + 512 * copy : 2 + 512 * (copy + 1)], table[2:])


@pytest.mark.parametrize("kind", ["roberta", "camembert"])
def test_a_text_that_fits_is_read_as_before(kind: str, tmp_path: Path) -> None:
    folder = written(tmp_path, kind)
    ids = np.random.default_rng(0).integers(4, 399, 28)
    theirs = KINDS[kind][1].from_pretrained(folder).eval()
    every = np.arange(28)
    batch = collate([Example(ids=ids, slots={"mlm": every}, wanted={"mlm": ids})], block=4, heads=("mlm",), global_slots=())
    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids)[None]).logits[0]
        torch.testing.assert_close(logits(converted(folder), batch)["mlm"], expected, rtol=1e-4, atol=1e-5)


def test_the_converted_checkpoint_is_a_longformer_of_transformers(tmp_path: Path) -> None:
    beginning.write_base(written(tmp_path / "roberta"), tmp_path / "long", attention_window=64, max_tokens=100)
    theirs, found = transformers.LongformerForMaskedLM.from_pretrained(tmp_path / "long", output_loading_info=True)
    assert not found["missing_keys"]
    assert theirs.config.layer_norm_eps == 1e-12
    assert theirs.config.max_position_embeddings == 102
    attention = theirs.longformer.encoder.layer[1].attention.self
    assert torch.equal(attention.key_global.weight, attention.key.weight)
    with pytest.raises(TrainingError, match="exists already"):
        beginning.write_base(tmp_path / "roberta", tmp_path / "long", attention_window=64, max_tokens=100)


@pytest.mark.parametrize("made_long", [False, True])
def test_what_is_converted_before_and_while_training_begins_alike(made_long: bool, tmp_path: Path) -> None:
    base = written(tmp_path / "roberta")
    recipe = replace(texts.recipe(), strategy="convert", architecture=None, attention_window=64, max_tokens=100)
    read = pretrain.Texts(corpus=tmp_path)
    expected = beginning.begun(recipe, tokenizer_json=read.tokenizer_json, base=base, labels=())
    if made_long:
        beginning.write_base(base, tmp_path / "long", attention_window=64, max_tokens=100)
        base = tmp_path / "long"
    begun = beginning.begun(recipe, tokenizer_json=read.tokenizer_json, base=base, labels=())
    assert begun.model.longformer.config == expected.model.longformer.config
    found, wanted = begun.model.state_dict(), expected.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_a_roberta_is_no_longformer_to_go_on_from(tmp_path: Path) -> None:
    recipe = replace(texts.recipe(), strategy="continue", architecture=None)
    with pytest.raises(TrainingError, match="roberta is no Longformer; strategy convert makes one"):
        beginning.begun(recipe, tokenizer_json=None, base=written(tmp_path / "roberta"), labels=())


def test_local_projections_are_copied_to_global_ones(tmp_path: Path) -> None:
    model = converted(written(tmp_path))
    attention = next(module for module in model.modules() if isinstance(module, SelfAttention))
    with torch.no_grad():
        attention.query.weight.add_(1.0)
    assert not torch.equal(attention.query.weight, attention.query_global.weight)
    convert.copy_local_to_global(model)
    assert torch.equal(attention.query.weight, attention.query_global.weight)
    assert attention.query.weight is not attention.query_global.weight


def test_another_family_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}
    transformers.BertForMaskedLM(transformers.BertConfig(**sizes)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="is a bert, only roberta and camembert"):
        converted(tmp_path)


def test_a_checkpoint_without_a_masked_word_head_is_refused(tmp_path: Path) -> None:
    weights = load_file(written(tmp_path) / "model.safetensors")
    save_file({name: value for name, value in weights.items() if "lm_head.dense" not in name}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks 2 parameters: lm_head\.dense"):
        converted(tmp_path)


@pytest.mark.parametrize(("changed", "sentence"), [({"hidden_act": "relu"}, "relu"), ({"max_position_embeddings": 102}, "100")])
def test_what_the_packed_model_does_not_compute_is_refused(changed: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        converted(written(tmp_path, **changed))


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta"}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="no checkpoint that can be converted"):
        converted(tmp_path)
