"""A checkpoint's tokenizer files to one `tokenizer.json` that gives the ids and offsets of transformers' fast tokenizer.

The files are read by transformers' own class, so that `add_prefix_space`, `trim_offsets` and added tokens are applied as it
applies them, from `vocab.json` + `merges.txt` as well as from a `tokenizer.json`. Truncation and padding are left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import LongformerTokenizerFast, PreTrainedTokenizerFast

from drlongformer.bundle import TokenizerSpec
from drlongformer.errors import CheckpointError

BYTE_LEVEL = ("Longformer", "Roberta")
"""Classes (with `Tokenizer` or `TokenizerFast` behind) that are one byte-level BPE; Longformer's own when none is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFile:
    """The content of a `tokenizer.json`, and how to use it."""

    content: bytes
    spec: TokenizerSpec


def convert_tokenizer(folder: Path, *, vocab_size: int, pad_id: int, for_ner: bool = False) -> TokenizerFile:
    """Read a checkpoint's tokenizer; raises CheckpointError where files are missing or do not fit the model.

    vocab_size: rows of the model's embedding table. pad_id: the model's, which decides its positions. for_ner: tags were
    learnt on words, and a tokenizer with `add_prefix_space` then says that texts were split into words first.
    """
    fast = _load(folder)
    highest = max(fast.get_vocab().values(), default=-1)
    if highest >= vocab_size:
        raise CheckpointError(f"the tokenizer has ids up to {highest}, the model's vocabulary ends at {vocab_size - 1}")
    bos, eos = _specials_around(fast)
    if fast.mask_token is None:
        raise CheckpointError("the tokenizer has no mask token")
    backend = fast.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    spec = TokenizerSpec(
        bos_id=bos,
        eos_id=eos,
        pad_id=pad_id,
        mask_id=fast.mask_token_id,
        mask_token=str(fast.mask_token),
        word_splitting="words" if for_ner and _settings(folder).get("add_prefix_space") is True else "raw",
    )
    return TokenizerFile(content=backend.to_str(pretty=True).encode(), spec=spec)


def _load(folder: Path) -> PreTrainedTokenizerFast:
    name = str(_settings(folder).get("tokenizer_class") or "LongformerTokenizer")
    byte_level = name.removesuffix("Fast").removesuffix("Tokenizer") in BYTE_LEVEL
    there = {file.name for file in folder.iterdir()}
    if "tokenizer.json" not in there and not (byte_level and {"vocab.json", "merges.txt"} <= there):
        raise CheckpointError(
            f"{folder} has no tokenizer that can be read: neither tokenizer.json nor vocab.json and merges.txt"
        )
    kind = LongformerTokenizerFast if byte_level else PreTrainedTokenizerFast
    try:
        fast: PreTrainedTokenizerFast = kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises no narrower one for a file that it cannot parse
        raise CheckpointError(f"the tokenizer in {folder} cannot be read: {type(error).__name__}: {error}") from error
    return fast


def _specials_around(fast: PreTrainedTokenizerFast) -> tuple[int, int]:
    """What the tokenizer itself puts before and after a text; the model reads windows in exactly that form."""
    around = fast("", add_special_tokens=True)["input_ids"]
    if len(around) != 2:
        raise CheckpointError(f"the tokenizer puts {len(around)} special tokens around a text, not one before and one after")
    first, last = around
    return int(first), int(last)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path.name} is not JSON") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name} is not a JSON object")
    return content
