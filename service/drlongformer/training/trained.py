"""A trained model on disk: a Hugging Face Longformer checkpoint, with the task heads beside it.

    config.json  model.safetensors  tokenizer.json  tokenizer_config.json     what transformers loads, `lm_head` included
    heads.safetensors  heads.json                                             the other heads: weights, and how they are served

The saved model computes in fp32. Pretraining checkpoints and the final model have this one form.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from drlongformer.bundle import HeadSpec
from drlongformer.errors import TrainingError
from drlongformer.model.heads import ClassificationHead, LongformerWithHeads, MaskedLanguageHead, TokenHead
from drlongformer.model.longformer import Longformer, LongformerConfig
from drlongformer.training.tokenizer import BOS, EOS, MASK, PAD, UNK

ENCODER_PREFIX = "longformer."
LANGUAGE_PREFIX = "lm_head."


def build(config: LongformerConfig, heads: Sequence[HeadSpec]) -> LongformerWithHeads:
    """A model of that architecture with fresh heads; a head whose output is the hidden state needs no module."""
    longformer = Longformer(config)
    modules: dict[str, nn.Module] = {}
    for head in heads:
        match head.task:
            case "fill-mask":
                modules[head.output] = MaskedLanguageHead(config, longformer.embeddings.word_embeddings)
            case "classify":
                modules[head.output] = ClassificationHead(config, len(head.labels))
            case "ner":
                modules[head.output] = TokenHead(config, len(head.labels))
            case "embed":
                pass
            case unknown:
                raise TrainingError(f"no head is known for task {unknown!r}")
    return LongformerWithHeads(longformer, modules)


def save(folder: Path, model: LongformerWithHeads, heads: Sequence[HeadSpec], tokenizer_json: bytes) -> None:
    """Write the folder; files already there are replaced one by one."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder, others = _split(model, heads)
    save_file(encoder, folder / "model.safetensors", metadata={"format": "pt"})
    save_file(others, folder / "heads.safetensors")
    _write_json(folder / "config.json", _hf_config(model.longformer.config))
    _write_json(folder / "heads.json", [head.model_dump(mode="json") for head in heads])
    (folder / "tokenizer.json").write_bytes(tokenizer_json)
    _write_json(folder / "tokenizer_config.json", _hf_tokenizer_config(model.longformer.config))


def load(folder: Path) -> tuple[LongformerWithHeads, tuple[HeadSpec, ...]]:
    """Read what `save` wrote; raises TrainingError where weights are missing or unknown."""
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = LongformerConfig.from_hf(described, block=described["block"])
    listed = json.loads((folder / "heads.json").read_text(encoding="utf-8"))
    heads = tuple(HeadSpec.model_validate_json(json.dumps(entry)) for entry in listed)
    model = build(config, heads)
    language = _language_output(heads)
    weights = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if not name.startswith(LANGUAGE_PREFIX):
            weights[name] = tensor
        elif language is not None and not name.endswith("decoder.bias"):
            weights[f"heads.{language}.{name.removeprefix(LANGUAGE_PREFIX)}"] = tensor
    weights |= {f"heads.{name}": tensor for name, tensor in load_file(folder / "heads.safetensors").items()}
    if language is not None:
        weights[f"heads.{language}.decoder.weight"] = weights["longformer.embeddings.word_embeddings.weight"]
    found = model.load_state_dict(weights, strict=False)
    if found.missing_keys or found.unexpected_keys:
        raise TrainingError(f"{folder}: {len(found.missing_keys)} weights missing, {len(found.unexpected_keys)} unknown")
    return model, heads


def _split(model: LongformerWithHeads, heads: Sequence[HeadSpec]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights under Hugging Face's names, and those of the heads it has no name for."""
    language = _language_output(heads)
    encoder, others = {}, {}
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().float().contiguous().clone()
        if name.startswith(ENCODER_PREFIX):
            encoder[name] = tensor
        elif language is not None and name.startswith(f"heads.{language}."):
            encoder[LANGUAGE_PREFIX + name.removeprefix(f"heads.{language}.")] = tensor
        else:
            others[name.removeprefix("heads.")] = tensor
    if language is not None:
        encoder["lm_head.decoder.bias"] = encoder["lm_head.bias"].clone()
    return encoder, others


def _language_output(heads: Sequence[HeadSpec]) -> str | None:
    return next((head.output for head in heads if head.task == "fill-mask"), None)


def _hf_config(config: LongformerConfig) -> dict[str, Any]:
    described = {field.name: getattr(config, field.name) for field in fields(config)}
    ids = {"bos_token_id": 0, "eos_token_id": 2, "sep_token_id": 2}
    return {"model_type": "longformer", "architectures": ["LongformerForMaskedLM"]} | described | ids


def _hf_tokenizer_config(config: LongformerConfig) -> dict[str, Any]:
    mask = {"__type": "AddedToken", "content": MASK, "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}
    return {
        "tokenizer_class": "LongformerTokenizer",
        "model_max_length": config.max_tokens,
        "add_prefix_space": False,
        "bos_token": BOS,
        "cls_token": BOS,
        "eos_token": EOS,
        "sep_token": EOS,
        "pad_token": PAD,
        "unk_token": UNK,
        "mask_token": mask,
    }


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
