"""A checkpoint's tokenizer files to one `tokenizer.json` that gives the ids and offsets of transformers' fast tokenizer.

A byte-level BPE is read by transformers' own class, so that `add_prefix_space`, `trim_offsets` and added tokens are applied as
it applies them, from `vocab.json` + `merges.txt` as well as from a `tokenizer.json`. Any other `tokenizer.json` is taken as it
stands, by the `tokenizers` library alone (`CamembertTokenizer` of transformers 5 would rebuild a BPE as a Unigram), and
CamemBERT's `sentencepiece.bpe.model` alone is converted (`pieces.py`). Truncation and padding are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tokenizers
from transformers import LongformerTokenizerFast, PreTrainedTokenizerFast

from drlongformer.bundle import TokenizerSpec
from drlongformer.errors import CheckpointError
from drlongformer.model import pieces
from drlongformer.types import Rule

BYTE_LEVEL = ("Longformer", "Roberta")
"""Classes (with `Tokenizer` or `TokenizerFast` behind) that are one byte-level BPE; Longformer's own when none is named."""
MASK = "<mask>"
UNKNOWN = "<unk>"
WordSplitting = Literal["raw", "words"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFile:
    """The content of a `tokenizer.json`, and how to use it."""

    content: bytes
    spec: TokenizerSpec


def convert_tokenizer(
    folder: Path,
    *,
    vocab_size: int,
    pad_id: int,
    for_ner: bool = False,
    word_splitting: WordSplitting | None = None,
    normalisation: tuple[Rule, ...] = (),
) -> TokenizerFile:
    """Read a checkpoint's tokenizer; raises CheckpointError where files are missing or do not fit the model.

    vocab_size: rows of the model's embedding table. pad_id: the model's, which decides its positions. word_splitting: what the
    heads were trained on; by default running text, unless they are for_ner and the tokenizer has `add_prefix_space`, which says
    that texts were split into words first. normalisation: what was put right in those texts, which no file says.
    """
    settings = _settings(folder)
    tokenizer, mask_token = _load(folder, settings)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if highest >= vocab_size:
        raise CheckpointError(f"the tokenizer has ids up to {highest}, the model's vocabulary ends at {vocab_size - 1}")
    bos, eos = _specials_around(tokenizer)
    mask_id = tokenizer.token_to_id(mask_token) if mask_token else None
    if mask_token is None or mask_id is None:
        raise CheckpointError("the tokenizer has no mask token")
    words = for_ner and settings.get("add_prefix_space") is True
    spec = TokenizerSpec(
        bos_id=bos,
        eos_id=eos,
        pad_id=pad_id,
        mask_id=mask_id,
        mask_token=mask_token,
        word_splitting=word_splitting or ("words" if words else "raw"),
        normalisation=normalisation,
    )
    return TokenizerFile(content=tokenizer.to_str(pretty=True).encode(), spec=spec)


def standard_files(tokenizer: TokenizerFile, max_tokens: int) -> dict[str, Any]:
    """The files that transformers' `AutoTokenizer` reads, by name: bytes, or what is to be JSON."""
    library = tokenizers.Tokenizer.from_str(tokenizer.content.decode())
    spec = tokenizer.spec
    first, last, pad = (library.id_to_token(number) for number in (spec.bos_id, spec.eos_id, spec.pad_id))
    unknown = next((token.content for token in library.get_added_tokens_decoder().values() if token.content == UNKNOWN), None)
    names = {"bos_token": first, "cls_token": first, "eos_token": last, "sep_token": last, "pad_token": pad}
    names |= {"mask_token": spec.mask_token} | ({"unk_token": unknown} if unknown else {})
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_tokens,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }
    return {"tokenizer.json": tokenizer.content, "tokenizer_config.json": config | names, "special_tokens_map.json": names}


def _load(folder: Path, settings: Mapping[str, Any]) -> tuple[tokenizers.Tokenizer, str | None]:
    """The tokenizer and its mask token."""
    there = {file.name for file in folder.iterdir()}
    named = settings.get("tokenizer_class")
    byte_level = str(named).removesuffix("Fast").removesuffix("Tokenizer") in BYTE_LEVEL if named else pieces.FILE not in there
    if byte_level and ("tokenizer.json" in there or {"vocab.json", "merges.txt"} <= there):
        fast = _byte_level(folder)
        return fast.backend_tokenizer, None if fast.mask_token is None else str(fast.mask_token)
    if "tokenizer.json" in there:
        return _as_it_stands(folder / "tokenizer.json"), _mask_token(folder, settings)
    if pieces.FILE in there:
        return pieces.read(folder / pieces.FILE), pieces.MASK
    raise CheckpointError(
        f"{folder} has no tokenizer that can be read: neither tokenizer.json nor {pieces.FILE} nor vocab.json and merges.txt"
    )


def _byte_level(folder: Path) -> PreTrainedTokenizerFast:
    try:
        fast: PreTrainedTokenizerFast = LongformerTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises no narrower one for a file that it cannot parse
        raise CheckpointError(f"the tokenizer in {folder} cannot be read: {type(error).__name__}: {error}") from error
    return fast


def _as_it_stands(path: Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises no narrower one
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _mask_token(folder: Path, settings: Mapping[str, Any]) -> str:
    """The string of the mask, from whichever file names it: a string, or an object with its content."""
    for named in (settings.get("mask_token"), _object(folder / "special_tokens_map.json").get("mask_token")):
        if named:
            return str(named.get("content")) if isinstance(named, dict) else str(named)
    return MASK


def _specials_around(tokenizer: tokenizers.Tokenizer) -> tuple[int, int]:
    """What the tokenizer itself puts before and after a text; the model reads windows in exactly that form."""
    around = tokenizer.encode("", add_special_tokens=True).ids
    if len(around) != 2:
        raise CheckpointError(f"the tokenizer puts {len(around)} special tokens around a text, not one before and one after")
    first, last = around
    return int(first), int(last)


def _settings(folder: Path) -> dict[str, Any]:
    return _object(folder / "tokenizer_config.json")


def _object(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is no file."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path.name} is not JSON") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name} is not a JSON object")
    return content
