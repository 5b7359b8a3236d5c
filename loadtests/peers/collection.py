"""The documents of the comparison: invented French texts cut to lengths in tokens, and the ids that every contender computes.

Services are asked the texts, models their ids; a text's ids are those of the bundle's tokenizer, special tokens included, so
both are the same documents. A text is cut at a word, so a document has at most the tokens that were drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from drlongformer.types import IntArray
from loadtests.documents import LONGEST, MU, SHORTEST, SIGMA, ring

DRAWN = 1000
"""The mixed set is the first documents of that many."""
MASKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text and its ids `[T]`, special tokens included."""

    text: str
    ids: IntArray

    def __len__(self) -> int:
        return len(self.ids)


def mixed_lengths(documents: int, longest: int = LONGEST) -> list[int]:
    """Token counts of the mixed set: log-normal (mu 6.3, sigma 1.0), clipped to 20..4096, seed 0."""
    drawn = np.random.default_rng(0).lognormal(MU, SIGMA, DRAWN)
    return [int(length) for length in np.clip(drawn, SHORTEST, longest)[:documents]]


class Collection:
    """Cuts documents of a tokenizer's own tokens."""

    def __init__(self, tokenizer: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._words = ring(np.random.default_rng(0))
        thousand = self._encoded(" ".join(self._words[:1000]))
        self._tokens_per_word = len(thousand) / 1000

    def of(self, tokens: int, *, start: int = 0) -> Document:
        """A document of at most so many tokens, from the `start`th word on; at least one word."""
        count = max(1, int(tokens / self._tokens_per_word * 1.1))
        words = list(itertools.islice(itertools.cycle(self._words), start, start + count))
        while len(ids := self._encoded(" ".join(words))) > tokens and len(words) > 1:
            over = (len(ids) - tokens) / self._tokens_per_word
            words = words[: max(1, len(words) - max(1, int(0.8 * over)))]
        return Document(text=" ".join(words), ids=ids)

    def mixed(self, documents: int, longest: int) -> list[Document]:
        """The mixed set; each document begins elsewhere."""
        return [self.of(length, start=137 * number) for number, length in enumerate(mixed_lengths(documents, longest))]

    def _encoded(self, text: str) -> IntArray:
        return np.array(self._tokenizer.encode(text).ids, dtype=np.int64)


def masked(document: Document, mask_id: int) -> tuple[IntArray, IntArray]:
    """The ids with masks spread over the document, and the masks' places."""
    places = np.unique(np.linspace(1, max(1, len(document) - 2), MASKS + 2).astype(np.int64)[1:-1])
    ids = document.ids.copy()
    ids[places] = mask_id
    return ids, places


def tokens_of(documents: Sequence[Document]) -> int:
    """All their tokens."""
    return sum(map(len, documents))
