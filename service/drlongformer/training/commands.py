"""The first stages of a recipe by its name: one plain function per command, paths in and paths out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from drlongformer.training import whole
from drlongformer.training.catalogue import named
from drlongformer.types import Rule


def tokenizer(name: str, *, data: Path, output: Path, min_documents: int | None = None, vocab_size: int | None = None) -> Path:
    """Learn a recipe's tokenizer; words met in fewer than `min_documents` documents take no part."""
    chosen = named(name)
    changed = replace(
        chosen.tokenizer,
        min_documents=chosen.tokenizer.min_documents if min_documents is None else min_documents,
        vocab_size=chosen.tokenizer.vocab_size if vocab_size is None else vocab_size,
    )
    whole.make_tokenizer(replace(chosen, tokenizer=changed), data=data, output=output)
    return output


def corpus(name: str, *, data: Path, tokenizer_json: Path, output: Path, normalisation: tuple[Rule, ...] = ()) -> Path:
    """Tokenise a recipe's raw texts, put right by these rules, into shards."""
    whole.make_corpus(named(name), data=data, tokenizer_json=tokenizer_json, output=output, normalisation=normalisation)
    return output
