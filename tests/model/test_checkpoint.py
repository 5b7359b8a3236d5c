"""Checkpoints: transformers' files give transformers' answers in the packed model, and what cannot be computed is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from drlongformer.errors import CheckpointError
from drlongformer.model.checkpoint import Checkpoint, load_hf, save_hf
from drlongformer.model.families import FAMILIES, without_global
from drlongformer.model.longformer import Pack
from drlongformer.model.weights import read_json, read_weights
from drlongformer.packing import pack
from drlongformer.text.pairs import choice_slots
from drlongformer.types import HIDDEN, WindowInput
from tests.model.checkpoints import VOCABULARY, hf_model

TOLERANCE = 1e-5
BLOCK = 16
ARCHITECTURES = [family.architecture for family in FAMILIES]
LONGFORMERS = [name for name in ARCHITECTURES if name.startswith("Longformer")]
OTHERS = [name for name in ARCHITECTURES if name not in LONGFORMERS]
LABELS = {0: "O", 1: "B-X", 2: "I-X"}


def saved(folder: Path, architecture: str, *, safe: bool = True, **changes: Any) -> transformers.PreTrainedModel:
    model = hf_model(architecture, **changes)
    model.save_pretrained(folder, safe_serialization=safe)
    return model


@torch.no_grad()
def packed_outputs(
    checkpoint: Checkpoint, ids: np.ndarray, *, head: str, global_slots: Sequence[int], block: int = BLOCK
) -> Tensor:
    """Outputs of one head for every token of one window."""
    window = WindowInput(ids=ids, global_slots=tuple(global_slots), rows={head: np.arange(len(ids))})
    batch = pack([window], block=block, heads=[head])
    segments, ranks = torch.from_numpy(batch.segment_of_slot), torch.from_numpy(batch.segment_index)
    outputs, _ = checkpoint.model(Pack.of(batch), {head: torch.from_numpy(batch.rows[head])}, segments, ranks)
    answer: Tensor = outputs[head]
    return answer


@torch.no_grad()
def assert_equal_answers(checkpoint: Checkpoint, hf: transformers.PreTrainedModel) -> None:
    """Transformers' whole class, with the global attention it chooses itself, against the packed model."""
    for length in (61, 1, 2, 15, 16, 17, 100):
        assert_equal_answer(checkpoint, hf, length)


@torch.no_grad()
def assert_equal_answer(checkpoint: Checkpoint, hf: transformers.PreTrainedModel, length: int, *, block: int = BLOCK) -> None:
    rng = np.random.default_rng(length)
    ids = rng.integers(5, VOCABULARY, length)
    has_global = checkpoint.family.model_type.has_global
    match checkpoint.family.task:
        case "embed":
            wanted = hf(torch.from_numpy(ids)[None]).last_hidden_state[0]
            got = packed_outputs(checkpoint, ids, head=HIDDEN, global_slots=(), block=block)
        case "fill-mask":
            wanted = hf(torch.from_numpy(ids)[None]).logits[0]
            got = packed_outputs(checkpoint, ids, head="fill-mask", global_slots=(), block=block)
        case "ner":
            wanted = hf(torch.from_numpy(ids)[None]).logits[0]
            got = packed_outputs(checkpoint, ids, head="ner", global_slots=(), block=block)
        case "classify":
            wanted = hf(torch.from_numpy(ids)[None]).logits
            assert checkpoint.head is not None
            got = packed_outputs(checkpoint, ids, head=checkpoint.head, global_slots=(0,) if has_global else (), block=block)[
                :1
            ]
        case _:
            if length < 5:
                return
            middle = length // 2
            ids[[middle, middle + 1, length - 1]] = 2  # <s> question </s></s> option </s>
            wanted = hf(torch.from_numpy(ids)[None, None]).logits
            slots = choice_slots(middle - 1, length - middle - 3) if has_global else ()
            got = packed_outputs(checkpoint, ids, head="multiple-choice", global_slots=slots, block=block)[:1]
    torch.testing.assert_close(got, wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_checkpoint_of_transformers_gives_its_answers(tmp_path: Path, architecture: str, *, safe: bool) -> None:
    hf = saved(tmp_path, architecture, safe=safe)
    assert (tmp_path / "model.safetensors").exists() == safe
    assert_equal_answers(load_hf(tmp_path, block=BLOCK), hf)


@pytest.mark.parametrize("architecture", LONGFORMERS)
def test_saving_is_the_inverse_of_loading(tmp_path: Path, architecture: str) -> None:
    saved(tmp_path / "theirs", architecture)
    checkpoint = load_hf(tmp_path / "theirs", block=BLOCK)
    save_hf(checkpoint.model, tmp_path / "ours", head=checkpoint.head, labels=checkpoint.labels, function=checkpoint.function)
    again = load_hf(tmp_path / "ours", block=BLOCK)
    assert again.family == checkpoint.family
    assert (again.labels, again.function) == (checkpoint.labels, checkpoint.function)
    assert again.model.longformer.config == checkpoint.model.longformer.config
    for name, tensor in checkpoint.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name
    hf, loading = getattr(transformers, architecture).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert {name for name in loading["missing_keys"] if "pooler" not in name} == set()
    assert loading["unexpected_keys"] == []
    assert_equal_answers(checkpoint, hf.eval())


@pytest.mark.parametrize("architecture", OTHERS)
def test_a_model_without_global_tokens_is_a_longformer_whose_window_covers_the_document(
    tmp_path: Path, architecture: str
) -> None:
    hf = saved(tmp_path / "theirs", architecture)
    checkpoint = load_hf(tmp_path / "theirs", block=BLOCK)
    assert checkpoint.model.longformer.config.attention_window == (200, 200)
    assert checkpoint.model.longformer.config.max_tokens == 100
    save_hf(checkpoint.model, tmp_path / "ours", head=checkpoint.head, labels=checkpoint.labels, function=checkpoint.function)
    again = load_hf(tmp_path / "ours", block=BLOCK)
    assert again.family.architecture == architecture.replace("Roberta", "Longformer").replace("Camembert", "Longformer")
    # Global or not, a token sees all others through equal projections.
    ids = np.arange(5, 66)
    head = again.head or HIDDEN
    for slots in ((), (0, 30)):
        torch.testing.assert_close(
            packed_outputs(again, ids, head=head, global_slots=slots),
            packed_outputs(checkpoint, ids, head=head, global_slots=()),
            atol=TOLERANCE,
            rtol=0,
        )
    without_global(checkpoint.model)
    matrices = {parameter.data_ptr() for name, parameter in checkpoint.model.named_parameters() if "_global" in name}
    assert len(matrices) == 2
    assert_equal_answers(checkpoint, hf)


@pytest.mark.parametrize("architecture", ["RobertaForMaskedLM", "CamembertForTokenClassification"])
def test_at_the_length_of_published_models_every_token_sees_all_others(tmp_path: Path, architecture: str) -> None:
    hf = saved(tmp_path, architecture, max_position_embeddings=514)
    checkpoint = load_hf(tmp_path)
    assert checkpoint.model.longformer.config.max_tokens == 512
    assert set(checkpoint.model.longformer.config.attention_window) == {1024}
    for length in (1, 127, 128, 129, 256, 257, 384, 385, 511, 512):
        assert_equal_answer(checkpoint, hf, length, block=128)


def test_a_regression_is_a_similarity_and_comes_back_as_one(tmp_path: Path) -> None:
    hf = saved(tmp_path / "theirs", "LongformerForSequenceClassification", num_labels=1)
    checkpoint = load_hf(tmp_path / "theirs", block=BLOCK)
    assert (checkpoint.task, checkpoint.head, checkpoint.labels) == ("similarity", "similarity", ())
    assert_equal_answers(checkpoint, hf)
    save_hf(checkpoint.model, tmp_path / "ours", head=checkpoint.head, labels=checkpoint.labels, function=checkpoint.function)
    assert load_hf(tmp_path / "ours", block=BLOCK).task == "similarity"
    theirs = transformers.LongformerForSequenceClassification.from_pretrained(tmp_path / "ours")
    assert theirs.config.num_labels == 1
    assert_equal_answers(checkpoint, theirs.eval())


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_shards_with_an_index_are_read_as_one(tmp_path: Path, *, safe: bool) -> None:
    hf = hf_model("LongformerForMaskedLM")
    hf.save_pretrained(tmp_path, safe_serialization=safe, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*-of-*"))) > 2
    assert_equal_answers(load_hf(tmp_path, block=BLOCK), hf)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_widened(tmp_path: Path, dtype: torch.dtype) -> None:
    hf = hf_model("LongformerForTokenClassification")
    for parameter in hf.parameters():
        parameter.data = parameter.data.to(dtype)
    hf.save_pretrained(tmp_path)
    assert_equal_answers(load_hf(tmp_path, block=BLOCK), hf.float())


def test_labels_come_in_logit_order(tmp_path: Path) -> None:
    saved(tmp_path, "LongformerForTokenClassification", id2label={2: "I-X", 0: "O", 1: "B-X"})
    assert load_hf(tmp_path).labels == ("O", "B-X", "I-X")


@pytest.mark.parametrize(
    ("labels", "problem", "function"),
    [
        (3, None, "softmax"),
        (3, "single_label_classification", "softmax"),
        (3, "multi_label_classification", "sigmoid"),
        (3, "regression", "none"),
        (1, None, "none"),
        (1, "regression", "none"),
        (1, "multi_label_classification", "sigmoid"),
    ],
)
def test_the_problem_type_decides_what_makes_scores(tmp_path: Path, labels: int, problem: str | None, function: str) -> None:
    saved(tmp_path, "LongformerForSequenceClassification", num_labels=labels, problem_type=problem)
    assert load_hf(tmp_path).function == function


def test_fields_left_out_have_the_defaults_of_transformers(tmp_path: Path) -> None:
    saved(tmp_path, "LongformerModel")
    edit_config(tmp_path, lambda config: config.pop("layer_norm_eps"))
    assert load_hf(tmp_path).model.longformer.config.layer_norm_eps == transformers.LongformerConfig().layer_norm_eps


def test_buffers_and_unused_poolers_are_ignored_knowingly(tmp_path: Path) -> None:
    hf = saved(tmp_path, "LongformerForMaskedLM")
    position_ids = {"longformer.embeddings.position_ids": torch.arange(102)[None]}
    pooler = {"longformer.pooler.dense.weight": torch.zeros(32, 32), "longformer.pooler.dense.bias": torch.zeros(32)}
    edit_weights(tmp_path, lambda weights: weights.update(position_ids | pooler))
    checkpoint = load_hf(tmp_path, block=BLOCK)
    assert set(checkpoint.ignored) == {*position_ids, *pooler}
    assert_equal_answers(checkpoint, hf)


def test_a_parameter_may_be_stored_under_both_its_names_or_either(tmp_path: Path) -> None:
    hf = saved(tmp_path, "LongformerForMaskedLM")
    whole = {name: tensor.clone() for name, tensor in hf.state_dict().items()}
    for absent in ((), ("lm_head.bias",), ("lm_head.decoder.bias", "lm_head.decoder.weight")):
        save_file({name: whole[name] for name in whole if name not in absent}, tmp_path / "model.safetensors")
        assert_equal_answers(load_hf(tmp_path, block=BLOCK), hf)


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    weights = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    change(weights)
    save_file(weights, folder / "model.safetensors")


CONFIG_REFUSALS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "not a longformer": (lambda c: c.update(model_type="roberta"), "model_type 'roberta'"),
    "unknown class": (lambda c: c.update(architectures=["LongformerForQuestionAnswering"]), "LongformerForQuestionAnswering"),
    "no class": (lambda c: c.pop("architectures"), "architectures"),
    "decoder": (lambda c: c.update(is_decoder=True), "is_decoder"),
    "pruned": (lambda c: c.update(pruned_heads={"0": [1]}), "pruned_heads"),
    "relative positions": (lambda c: c.update(position_embedding_type="relative_key"), "position_embedding_type"),
    "other activation": (lambda c: c.update(hidden_act="relu"), "relu"),
    "odd window": (lambda c: c.update(attention_window=[15, 16]), "even"),
    "windows of other layers": (lambda c: c.update(attention_window=[16]), "1 attention windows"),
    "other vocabulary": (lambda c: c.update(vocab_size=VOCABULARY + 1), "word_embeddings.*has shape"),
    "more layers": (lambda c: c.update(num_hidden_layers=3, attention_window=[16] * 3), "lacks 22 parameters: .*layer.2"),
    "fewer layers": (lambda c: c.update(num_hidden_layers=1, attention_window=[16]), "22 unknown parameters: .*layer.1"),
    "gap in the labels": (lambda c: c.update(id2label={"0": "a", "2": "b"}), r"\[0, 2\]"),
    "labels alike": (lambda c: c.update(id2label={"0": "a", "1": "a"}), "same name"),
    "unknown problem": (lambda c: c.update(problem_type="guess"), "guess"),
}


@pytest.mark.parametrize("case", CONFIG_REFUSALS)
def test_a_configuration_that_cannot_be_computed_is_refused(tmp_path: Path, case: str) -> None:
    saved(tmp_path, "LongformerForSequenceClassification")
    load_hf(tmp_path)
    change, reason = CONFIG_REFUSALS[case]
    edit_config(tmp_path, change)
    with pytest.raises(CheckpointError, match=reason):
        load_hf(tmp_path)


WEIGHT_REFUSALS: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "missing": (lambda w: w.pop("lm_head.dense.bias"), "lacks 1 parameters: lm_head.dense.bias"),
    "unknown": (lambda w: w.update(adapter=torch.zeros(1)), "1 unknown parameters: adapter"),
    "untied": (lambda w: w.update({"lm_head.decoder.weight": torch.zeros(VOCABULARY, 32)}), "differs from"),
    "two biases": (lambda w: w.update({"lm_head.decoder.bias": torch.zeros(VOCABULARY)}), "differs from lm_head.bias"),
}


@pytest.mark.parametrize("case", WEIGHT_REFUSALS)
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path, case: str) -> None:
    saved(tmp_path, "LongformerForMaskedLM")
    change, reason = WEIGHT_REFUSALS[case]
    edit_weights(tmp_path, change)
    with pytest.raises(CheckpointError, match=reason):
        load_hf(tmp_path)


def touch(path: Path) -> None:
    path.write_bytes(b"")


class Evil:
    """Unpickled as it asks, it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return touch, (self.path,)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    saved(tmp_path, "LongformerModel", safe=False)
    torch.save({"embeddings": Evil(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin cannot be read as tensors alone"):
        load_hf(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_both_forms_of_torch_files_are_read(tmp_path: Path, *, zipped: bool) -> None:
    hf = saved(tmp_path, "LongformerModel", safe=False)
    torch.save(hf.state_dict(), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    assert_equal_answers(load_hf(tmp_path, block=BLOCK), hf)


FILE_REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "no config.json"),
    "config not JSON": (lambda f: (f / "config.json").write_text("{"), "not JSON"),
    "config a list": (lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "neither"),
    "broken weights": (lambda f: (f / "model.safetensors").write_bytes(b"12345678"), "safetensors file"),
    "shard outside": (lambda f: index(f, "../other.safetensors"), "outside its folder"),
    "shard missing": (lambda f: index(f, "other.safetensors"), "missing"),
    "weights of no table": (lambda f: only_bin(f, [torch.zeros(1)]), "not a table"),
    "bin cut short": (lambda f: only_bin(f, None), "cannot be read"),
}


def index(folder: Path, shard: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"embeddings": shard}}))


def only_bin(folder: Path, content: object) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")
    if content is None:
        (folder / "pytorch_model.bin").write_bytes((folder / "pytorch_model.bin").read_bytes()[:50])


@pytest.mark.parametrize("case", FILE_REFUSALS)
def test_files_that_are_not_a_checkpoint_are_refused(tmp_path: Path, case: str) -> None:
    saved(tmp_path, "LongformerModel")
    change, reason = FILE_REFUSALS[case]
    change(tmp_path)
    with pytest.raises(CheckpointError, match=reason):
        load_hf(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "config.json"])
@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that is there and cannot be read is Linux's own memory")
def test_a_file_that_cannot_be_read_is_told_by_its_path(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/proc/self/mem")
    read = read_json if name == "config.json" else lambda path: read_weights(path.parent)
    with pytest.raises(CheckpointError, match=f"{name} cannot be read: "):
        read(tmp_path / name)
