"""How a training step draws documents: by number, in a new order every epoch, tokenised when first read.

Draws are pure functions of seed and step, so a run resumes anywhere and two runs of one seed read the same windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from drlongformer.text.tokenizer import Tokenizer
from drlongformer.training.dataset import SPECIALS, Batch, Example, Special, Targets, collate, mask_tokens
from drlongformer.training.records.augment import rewriting
from drlongformer.types import IntArray

FROM_THE_START = 0.85
"""Share of the windows that begin with their text."""

REWRITTEN = 0.5
"""Share of the documents that are rewritten, where there are augmentations."""


class Draws(Protocol):
    """Examples by step number."""

    def draw(self, step: int) -> list[Example]:
        """What the step takes from this source."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Batches by number: what every source draws for that step, packed together."""

    sources: tuple[Draws, ...]
    heads: tuple[str, ...]
    block: int

    def __getitem__(self, step: int) -> Batch:
        examples = [example for source in self.sources for example in source.draw(step)]
        return collate(examples, block=self.block, heads=self.heads)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What all sources need to make examples: tokenizer, its special ids, the language head, the longest window."""

    tokenizer: Tokenizer
    special: Special
    language_head: str
    masked_share: float
    max_tokens: int
    seed: int

    def random(self, *keys: int) -> np.random.Generator:
        """A generator of its own for every combination of keys."""
        return np.random.default_rng((self.seed, *keys))


class Texts:
    """Documents by number, rewritten and tokenised when first drawn: a short run does not wait for what it never reads."""

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer, *, augmentation: str | None = None) -> None:
        self._texts, self._tokenizer = texts, tokenizer
        self._rewrite = None if augmentation is None else rewriting(augmentation)
        self._ids: dict[int, IntArray] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, document: int) -> IntArray:
        if document not in self._ids:
            text = self._texts[document]
            (encoded,) = self._tokenizer.encode_batch([text if self._rewrite is None else self._rewrite(text).text])
            self._ids[document] = encoded.ids
        return self._ids[document]


def turn(step: int, size: int, count: int, random: Callable[[int], np.random.Generator]) -> list[int]:
    """The `count` documents of a step, of `size`: every document once an epoch, in an order of the epoch's own."""
    places = range(step * count, (step + 1) * count)
    orders = {epoch: random(epoch).permutation(size) for epoch in {place // size for place in places}}
    return [int(orders[place // size][place % size]) for place in places]


def drawn_variant(variants: int, random: np.random.Generator) -> int:
    """The number of a document's variant: 0, as it is, or one of its rewritings, each as likely."""
    rewritten = random.random() < REWRITTEN
    return int(random.integers(1, variants)) if rewritten and variants > 1 else 0


def crop(ids: IntArray, window_tokens: Sequence[int], random: np.random.Generator) -> IntArray:
    """A run of content tokens for a window of a drawn length: most begin with the text, the others anywhere, rather early."""
    length = int(random.choice(np.asarray(window_tokens))) - SPECIALS
    late = max(0.0, 1.0 - random.random() / (1.0 - FROM_THE_START))
    start = int(max(0, len(ids) - length // 2) * late**2)
    return ids[start : start + length]


def also_masked(
    ids: IntArray,
    reading: Reading,
    random: np.random.Generator,
    *,
    slots: Mapping[str, IntArray],
    wanted: Mapping[str, Targets],
    kinship: IntArray,
) -> Example:
    """The window with some of its words masked and asked for, besides what it is asked already."""
    masked, chosen = mask_tokens(ids, reading.special, random, share=reading.masked_share)
    return Example(
        ids=masked,
        slots={**slots, reading.language_head: chosen},
        wanted={**wanted, reading.language_head: ids[chosen]},
        kinship=tuple(kinship.tolist()),
    )


def places_in_tree(codes: Sequence[str], levels: Sequence[int]) -> IntArray:
    """Each document's place in the tree `[D, levels + 1]`: numbers of its code's prefixes, then its own."""
    number: dict[str, int] = {}
    prefixes = [[number.setdefault(code[:length], len(number)) for length in levels] for code in codes]
    return np.concatenate([np.array(prefixes), np.arange(len(codes))[:, None]], axis=1)
