"""Hugging Face `longformer` checkpoints, in and out: a table of names, read in both directions.

The packed model's parameters carry Hugging Face's names already; what differs is where a head lies, and that is FAMILIES.
Every parameter of a checkpoint is used, or knowingly ignored, or the checkpoint is refused by the parameter's name.
Weights are read from safetensors or, without unpickling code, from `pytorch_model.bin`, each also in shards with an index.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from drlongformer.errors import CheckpointError
from drlongformer.model.heads import ChoiceHead, ClassificationHead, LongformerWithHeads, MaskedLanguageHead, TokenHead
from drlongformer.model.longformer import Longformer, LongformerConfig
from drlongformer.types import Task

ENCODER = "longformer"
WORDS = f"{ENCODER}.embeddings.word_embeddings.weight"
Function = Literal["softmax", "sigmoid", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One of Hugging Face's Longformer classes; parts: our head's parameters or submodules, and where Hugging Face has them.

    Our names begin with `heads.<name of the head>.`, Hugging Face's are given in full.
    """

    architecture: str
    task: Task
    kind: type[nn.Module] | None
    parts: Mapping[str, str]
    build: Callable[[LongformerConfig, Longformer, int], nn.Module] | None = None
    labelled: bool = False


FAMILIES = (
    Family(architecture="LongformerModel", task="embed", kind=None, parts={}),
    Family(
        architecture="LongformerForMaskedLM",
        task="fill-mask",
        kind=MaskedLanguageHead,
        parts={
            "dense": "lm_head.dense",
            "layer_norm": "lm_head.layer_norm",
            "bias": "lm_head.bias",
            "decoder": "lm_head.decoder",
        },
        build=lambda config, encoder, _: MaskedLanguageHead(config, encoder.embeddings.word_embeddings),
    ),
    Family(
        architecture="LongformerForSequenceClassification",
        task="classify",
        kind=ClassificationHead,
        parts={"dense": "classifier.dense", "out_proj": "classifier.out_proj"},
        build=lambda config, _, labels: ClassificationHead(config, labels),
        labelled=True,
    ),
    Family(
        architecture="LongformerForTokenClassification",
        task="ner",
        kind=TokenHead,
        parts={"classifier": "classifier"},
        build=lambda config, _, labels: TokenHead(config, labels),
        labelled=True,
    ),
    Family(
        architecture="LongformerForMultipleChoice",
        task="multiple-choice",
        kind=ChoiceHead,
        parts={"dense": "longformer.pooler.dense", "classifier": "classifier"},
        build=lambda config, *_: ChoiceHead(config),
    ),
)

SAME_AS = {"lm_head.decoder.weight": WORDS, "lm_head.decoder.bias": "lm_head.bias"}
"""Names under which a checkpoint may hold a parameter a second time; both must then be equal."""

IGNORED = (f"{ENCODER}.embeddings.position_ids", f"{ENCODER}.pooler.")
"""A buffer of old checkpoints, and the pooler, which only multiple choice reads."""

REQUIRED = {
    "model_type": "longformer",
    "is_decoder": False,
    "add_cross_attention": False,
    "pruned_heads": {},
    "position_embedding_type": "absolute",
}
"""Configuration fields that must have this value, or be absent, for the packed model to compute the same function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint as read. head: the name of its head in the model, if any. ignored: parameters that nothing reads."""

    folder: Path
    family: Family
    model: LongformerWithHeads
    head: str | None
    labels: tuple[str, ...]
    function: Function | None
    ignored: tuple[str, ...]


def load_hf(folder: Path, *, block: int = 128) -> Checkpoint:
    """Read a checkpoint folder; raises CheckpointError for what is missing, unknown, or beyond the packed model."""
    raw = _read_json(folder / "config.json")
    family = _family(raw)
    config = _architecture(raw, block)
    labels = _labels(raw) if family.labelled else ()
    encoder = Longformer(config)
    head = None if family.build is None else str(family.task)
    heads = {} if head is None or family.build is None else {head: family.build(config, encoder, len(labels))}
    model = LongformerWithHeads(encoder, heads).eval()
    ignored = _fill(model, hf_names(model, head), _read_weights(folder))
    return Checkpoint(
        folder=folder,
        family=family,
        model=model,
        head=head,
        labels=labels,
        function=_function(raw, len(labels)) if family.task == "classify" else None,
        ignored=ignored,
    )


def save_hf(
    model: LongformerWithHeads,
    folder: Path,
    *,
    head: str | None = None,
    labels: tuple[str, ...] = (),
    function: Function | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write the encoder and at most one of its heads as a checkpoint that transformers loads: the inverse of `load_hf`.

    extra: further fields of `config.json`, such as the special token ids.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = hf_config(model, head=head, labels=labels, function=function) | dict(extra or {})
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    save_file(hf_state(model, head), folder / "model.safetensors", metadata={"format": "pt"})


def family_of(model: LongformerWithHeads, head: str | None) -> Family:
    """The Hugging Face class that has this head; of the encoder alone without one."""
    kind = None if head is None else type(model.heads[head])
    return next(family for family in FAMILIES if family.kind is kind)


def hf_names(model: LongformerWithHeads, head: str | None) -> dict[str, str]:
    """Our parameter names to Hugging Face's, for the encoder and one head."""
    parts = family_of(model, head).parts
    names = {name: name for name in _parameters(model, ENCODER)}
    for name in _parameters(model, f"heads.{head}") if head else ():
        part, dot, rest = name.removeprefix(f"heads.{head}.").partition(".")
        names[name] = parts[part] + dot + rest
    return names


def hf_state(model: LongformerWithHeads, head: str | None) -> dict[str, Tensor]:
    """The parameters by Hugging Face's names, tied ones once; without a head the encoder's alone, without prefix."""
    state = model.state_dict()
    tensors = {theirs: state[ours].detach().contiguous() for ours, theirs in hf_names(model, head).items()}
    if head is None:
        return {name.removeprefix(f"{ENCODER}."): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in tensors.items() if name not in SAME_AS}


def hf_config(
    model: LongformerWithHeads, *, head: str | None, labels: tuple[str, ...] = (), function: Function | None = None
) -> dict[str, Any]:
    """The content of a `config.json` for the encoder and one head."""
    family = family_of(model, head)
    config = architecture(model.longformer.config) | {"model_type": "longformer", "architectures": [family.architecture]}
    if family.labelled:
        config["id2label"] = {str(number): label for number, label in enumerate(labels)}
        config["label2id"] = {label: number for number, label in enumerate(labels)}
    if family.task == "classify":
        config["problem_type"] = {value: key for key, value in FUNCTIONS.items()}[function or "softmax"]
    return config


def architecture(config: LongformerConfig) -> dict[str, Any]:
    """The fields of a configuration that Hugging Face knows, ready for JSON."""
    fields = asdict(config) | {"attention_window": list(config.attention_window)}
    return {name: value for name, value in fields.items() if name != "block"}


FUNCTIONS: Mapping[str, Function] = {
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
    "regression": "none",
}


def _family(raw: Mapping[str, Any]) -> Family:
    named = raw.get("architectures") or [None]
    for family in FAMILIES:
        if named == [family.architecture]:
            return family
    known = ", ".join(family.architecture for family in FAMILIES)
    raise CheckpointError(f"config.json names the architectures {named}; known are {known}")


def _architecture(raw: Mapping[str, Any], block: int) -> LongformerConfig:
    """The packed model's configuration; fields that the file leaves out have Hugging Face's defaults, not ours."""
    for field, value in REQUIRED.items():
        if raw.get(field, value) != value:
            raise CheckpointError(f"config.json has {field} {raw[field]!r}; the packed model computes only {value!r}")
    try:
        complete = transformers.LongformerConfig.from_dict(dict(raw)).to_dict()
        return LongformerConfig.from_hf(complete, block=block)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"config.json describes no model that can be computed: {error}") from error


def _labels(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Label names in logit order; Hugging Face's default is two unnamed ones."""
    named = raw.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        by_number = {int(number): str(label) for number, label in named.items()}
    except (AttributeError, ValueError) as error:
        raise CheckpointError("config.json has an id2label that is not a table of numbers and names") from error
    if sorted(by_number) != list(range(len(by_number))):
        raise CheckpointError(f"config.json numbers its labels {sorted(by_number)}, not 0 to {len(by_number) - 1}")
    if len(set(by_number.values())) != len(by_number):
        raise CheckpointError("config.json gives several labels the same name")
    return tuple(by_number[number] for number in range(len(by_number)))


def _function(raw: Mapping[str, Any], labels: int) -> Function:
    """What makes scores of logits; as in transformers' text classification pipeline, one label alone has a sigmoid."""
    problem = raw.get("problem_type")
    if problem is None:
        return "softmax" if labels > 1 else "sigmoid"
    if problem not in FUNCTIONS:
        raise CheckpointError(f"config.json has problem_type {problem!r}; known are {', '.join(FUNCTIONS)}")
    return FUNCTIONS[problem]


def _parameters(model: nn.Module, prefix: str) -> Iterator[str]:
    return (name for name in model.state_dict() if name.startswith(f"{prefix}."))


def _fill(model: LongformerWithHeads, names: Mapping[str, str], weights: dict[str, Tensor]) -> tuple[str, ...]:
    """Copy the weights into the model; returns the names that were knowingly ignored."""
    if not any(name.startswith(f"{ENCODER}.") for name in weights):
        weights = {f"{ENCODER}.{name}": tensor for name, tensor in weights.items()}
    weights = _without_doubles(weights)
    wanted = {theirs: ours for ours, theirs in names.items() if theirs not in SAME_AS}
    if missing := sorted(wanted.keys() - weights.keys()):
        raise CheckpointError(f"the checkpoint lacks {len(missing)} parameters: {', '.join(missing[:8])}")
    left = sorted(weights.keys() - wanted.keys())
    if unknown := [name for name in left if not name.startswith(IGNORED)]:
        raise CheckpointError(f"the checkpoint has {len(unknown)} unknown parameters: {', '.join(unknown[:8])}")
    state = model.state_dict()
    for theirs, ours in wanted.items():
        if state[ours].shape != weights[theirs].shape:
            raise CheckpointError(
                f"{theirs} has shape {tuple(weights[theirs].shape)}, config.json says {tuple(state[ours].shape)}"
            )
        state[ours].copy_(weights[theirs])
    return tuple(left)


def _without_doubles(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each parameter under its first name only; raises CheckpointError where the packed model ties what differs here."""
    single = {SAME_AS.get(name, name): tensor for name, tensor in weights.items()}
    single |= {name: tensor for name, tensor in weights.items() if name not in SAME_AS}
    for name, first in SAME_AS.items():
        if name in weights and not torch.equal(weights[name], single[first]):
            raise CheckpointError(f"{name} differs from {first}; the packed model computes only tied ones")
    return single


def _read_weights(folder: Path) -> dict[str, Tensor]:
    for name, read in (("model.safetensors", _read_safetensors), ("pytorch_model.bin", _read_pickle)):
        if (folder / name).is_file():
            return read(folder / name)
        index = folder / f"{name}.index.json"
        if index.is_file():
            return {name: tensor for shard in _shards(index) for name, tensor in read(shard).items()}
    raise CheckpointError(f"{folder} has neither model.safetensors nor pytorch_model.bin, nor an index of their shards")


def _shards(index: Path) -> list[Path]:
    """The files an index names, which lie beside it."""
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index.name} has no weight_map")
    shards = sorted({str(shard) for shard in weight_map.values()})
    if strange := [shard for shard in shards if Path(shard).name != shard]:
        raise CheckpointError(f"{index.name} names shards outside its folder: {strange[:3]}")
    if absent := [shard for shard in shards if not (index.parent / shard).is_file()]:
        raise CheckpointError(f"{index.name} names shards that are missing: {absent[:3]}")
    return [index.parent / shard for shard in shards]


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is not a whole safetensors file: {error}") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """Tensors of a `torch.save` file, without ever running what the pickle asks for."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{path.name} cannot be read as tensors alone: {type(error).__name__}") from error
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise CheckpointError(f"{path.name} is not a table of tensors")
    return content


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} has no {path.name}") from None
    except ValueError as error:
        raise CheckpointError(f"{path.name} is not JSON") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name} is not a JSON object")
    return content
