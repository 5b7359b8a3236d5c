"""A trained model on disk: a Hugging Face Longformer checkpoint, with the task heads beside it.

    config.json  model.safetensors  tokenizer.json  tokenizer_config.json     what transformers loads; also `lm_head`, if any
    heads.safetensors  heads.json  tokenizer_spec.json                        the other heads: weights, and how they are served
    weights.json                                                              SHA-256 of the files that decide the answers

The saved model computes in fp32. Pretraining checkpoints and the final model have this one form. Folders of before word
splitting was recorded have no `tokenizer_spec.json`; they were trained on running text. Older ones have no `weights.json`
either, or one that names fewer files; what it does not name is taken as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from drlongformer.bundle import HeadSpec, TokenizerSpec
from drlongformer.errors import TrainingError
from drlongformer.model.checkpoint import SAME_AS, hf_names, save_hf
from drlongformer.model.heads import ChoiceHead, ClassificationHead, LongformerWithHeads, MaskedLanguageHead, TokenHead
from drlongformer.model.longformer import Longformer, LongformerConfig
from drlongformer.model.tokenizer_files import TokenizerFile
from drlongformer.training import disk
from drlongformer.training.tokenizer import BOS, EOS, MASK, PAD, UNK, served_spec

HEADS: Final = "heads."
ENCODER: Final = "longformer."
TOKENIZER, SPEC, DESCRIBED = "tokenizer.json", "tokenizer_spec.json", "heads.json"
CONFIG, ENCODER_FILE, HEADS_FILE, HASHES = "config.json", "model.safetensors", "heads.safetensors", "weights.json"
HASHED: Final = (CONFIG, TOKENIZER, SPEC, ENCODER_FILE, HEADS_FILE)
"""`heads.json` is not among them: thresholds may be tuned later."""


def build(config: LongformerConfig, heads: Sequence[HeadSpec]) -> LongformerWithHeads:
    """A model of that architecture with fresh heads; a head whose output is the hidden state needs no module."""
    longformer = Longformer(config)
    made = {head.output: fresh(head, longformer) for head in heads}
    return LongformerWithHeads(longformer, {name: module for name, module in made.items() if module is not None})


def fresh(head: HeadSpec, longformer: Longformer) -> nn.Module | None:
    """The module of one head, untrained; None where the head reads the hidden state itself."""
    config = longformer.config
    match head.task:
        case "fill-mask":
            return MaskedLanguageHead(config, longformer.embeddings.word_embeddings)
        case "classify":
            return ClassificationHead(config, len(head.labels))
        case "ner":
            return TokenHead(config, len(head.labels))
        case "similarity":
            return ClassificationHead(config, 1)
        case "multiple-choice":
            return ChoiceHead(config) if head.layout == "each" else ClassificationHead(config, len(head.labels))
        case "embed":
            return None


def save(
    folder: Path,
    model: LongformerWithHeads,
    heads: Sequence[HeadSpec],
    tokenizer_json: bytes,
    *,
    spec: TokenizerSpec | None = None,
) -> None:
    """Write the folder; spec: how the tokenizer is used, by default what a tokenizer of this project's own says itself."""
    language, config = _language_output(heads), model.longformer.config
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TOKENIZER).write_bytes(tokenizer_json)
    spec = spec or served_spec(folder / TOKENIZER)
    _write_json(folder / SPEC, spec.model_dump(mode="json"))
    ids = {"bos_token_id": spec.bos_id, "eos_token_id": spec.eos_id, "sep_token_id": spec.eos_id}
    save_hf(model, folder, head=language, extra={"block": config.block} | ids)
    state = {name.removeprefix(HEADS): tensor for name, tensor in model.state_dict().items() if name.startswith(HEADS)}
    others = {name: tensor.contiguous() for name, tensor in state.items() if not name.startswith(f"{language}.")}
    save_file(others, folder / HEADS_FILE)
    _write_json(folder / HASHES, {name: disk.sha256(folder / name) for name in HASHED})
    describe(folder, heads)
    byte_level = b'"ByteLevel"' in tokenizer_json
    _write_json(folder / "tokenizer_config.json", _hf_tokenizer_config(config, byte_level=byte_level))


def describe(folder: Path, heads: Sequence[HeadSpec]) -> None:
    """Write how the heads are served, such as thresholds tuned after training."""
    _write_json(folder / DESCRIBED, [head.model_dump(mode="json") for head in heads])


def is_trained(folder: Path) -> bool:
    """Whether `save` wrote the folder."""
    return (folder / DESCRIBED).is_file()


def load(folder: Path) -> tuple[LongformerWithHeads, tuple[HeadSpec, ...]]:
    """Read what `save` wrote.

    Raises TrainingError where a file is missing, damaged or altered, and where a weight is missing or unknown.
    """
    described = disk.read_json(_as_saved(folder, CONFIG))
    heads = _heads(folder / DESCRIBED)
    model = build(LongformerConfig.from_hf(described, block=described["block"]), heads)
    language = _language_output(heads)
    ours = {theirs: name for name, theirs in hf_names(model, language).items()}
    prefix = "" if language else ENCODER  # a checkpoint without a head has no prefix either
    weights = {prefix + name: tensor for name, tensor in _weights(folder, ENCODER_FILE).items() if name not in SAME_AS}
    weights = {ours.get(name, name): tensor for name, tensor in weights.items()}
    weights |= {HEADS + name: tensor for name, tensor in _weights(folder, HEADS_FILE).items()}
    if other := [
        name for name, tensor in model.state_dict().items() if name in weights and weights[name].shape != tensor.shape
    ]:
        raise TrainingError(f"{folder}: {len(other)} weights have another shape than config.json and {DESCRIBED} say")
    found = model.load_state_dict(weights, strict=False)
    tied = {ours[name] for name in SAME_AS if name in ours}
    missing = set(found.missing_keys) - tied
    if missing or found.unexpected_keys:
        raise TrainingError(f"{folder.name}: {len(missing)} weights missing, {len(found.unexpected_keys)} unknown")
    return model, heads


def _heads(path: Path) -> tuple[HeadSpec, ...]:
    try:
        return tuple(HeadSpec.model_validate_json(json.dumps(entry)) for entry in disk.read_json(path))
    except (ValidationError, TypeError) as error:
        raise TrainingError(f"{path} does not describe heads: {type(error).__name__}") from error


def _weights(folder: Path, name: str) -> dict[str, Tensor]:
    """The tensors of a file; raises TrainingError naming it where it is missing, damaged, or not the one that was saved."""
    path = _as_saved(folder, name)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path} cannot be read: {error}") from error


def check(folder: Path) -> None:
    """Raise TrainingError naming a file that is missing or not the one that was saved; for those who read it otherwise."""
    for name in HASHED:
        _as_saved(folder, name)


def _as_saved(folder: Path, name: str) -> Path:
    """The file, if it is the one that was saved or its hash was never written down; raises TrainingError otherwise."""
    path, hashes = folder / name, folder / HASHES
    if not hashes.is_file():
        return path
    known = disk.read_json(hashes)
    if not isinstance(known, dict):
        raise TrainingError(f"{hashes} holds no hashes by the names of files")
    try:
        if name in known and disk.sha256(path) != known[name]:
            raise TrainingError(f"{path} is not the file that was saved: it was altered or cut, see {HASHES}")
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}") from error
    return path


def tokenizer_of(folder: Path) -> TokenizerFile:
    """The tokenizer of a trained folder, and how its heads were trained with it; raises TrainingError as `load` does."""
    path, content = _as_saved(folder, SPEC), _as_saved(folder, TOKENIZER)
    spec = TokenizerSpec.model_validate_json(path.read_bytes()) if path.is_file() else served_spec(content)
    return TokenizerFile(content=content.read_bytes(), spec=spec)


def _language_output(heads: Sequence[HeadSpec]) -> str | None:
    """The head that the checkpoint itself holds, as transformers' `lm_head`."""
    return next((head.output for head in heads if head.task == "fill-mask"), None)


def _hf_tokenizer_config(config: LongformerConfig, *, byte_level: bool) -> dict[str, Any]:
    """Longformer's own class is a byte-level BPE; any other tokenizer is read from `tokenizer.json` as it stands."""
    mask = {"__type": "AddedToken", "content": MASK, "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}
    return {
        "tokenizer_class": "LongformerTokenizer" if byte_level else "PreTrainedTokenizerFast",
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
