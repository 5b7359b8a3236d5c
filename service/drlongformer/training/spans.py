"""Character spans to BIO tags of tokens: the inverse of what `tasks.ner` decodes.

A word (as the tokenizer numbers them) belongs to the first span that covers one of its characters; its tokens are tagged I,
but for the first token of a span's first word, which is tagged B. Tokens without a visible character stay with their word.

    l'hôpital de Brest     span 2:9 X, tokens  l | ' | h | ô | pital | ·de | ·Bre | st      tags  O O B I I O O O
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drlongformer.types import Encoded, IntArray


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Span:
    """A labelled half-open range of characters."""

    start: int
    end: int
    label: str


def spans_of(record: dict[str, Any]) -> tuple[Span, ...]:
    """The non-overlapping spans of a NER record, in order."""
    listed = record.get("entities_flat", record["entities"])
    return tuple(sorted(Span(start=entity["start"], end=entity["end"], label=entity["label"]) for entity in listed))


def bio_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """`O`, then `B-X` and `I-X` for each label in alphabetical order."""
    return ("O", *(f"{prefix}-{label}" for label in sorted(set(labels)) for prefix in "BI"))


def tags(encoded: Encoded, spans: Sequence[Span], labels: Sequence[str]) -> IntArray:
    """Tag numbers of the tokens `[T]`; spans must be sorted and must not overlap."""
    number = {label: place for place, label in enumerate(labels)}
    out = np.full(len(encoded), number["O"], dtype=np.int64)
    taken = np.zeros(len(encoded), dtype=bool)
    start, end = encoded.offsets.T
    for span in spans:
        touched = (start < span.end) & (end > span.start) & (start < end) & ~taken
        mine = np.isin(encoded.words, encoded.words[touched]) & ~taken
        if mine.any():
            out[mine] = number[f"I-{span.label}"]
            out[int(mine.argmax())] = number[f"B-{span.label}"]
            taken |= mine
    return out
