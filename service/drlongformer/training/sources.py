"""What a fine-tuning step is made of: sources that draw examples by step number, and their mixture into one packed batch.

All heads of a step share one pass of the encoder. Draws are pure functions of seed and step, and each source goes through
its documents in a new order every epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from drlongformer.errors import TrainingError
from drlongformer.text.tokenizer import Tokenizer
from drlongformer.training import recipes
from drlongformer.training.corpus import DataFolder
from drlongformer.training.dataset import SPECIALS, Batch, Example, Special, collate, mask_tokens, with_specials
from drlongformer.training.recipes import ClassSource, RawSource, SpanSource
from drlongformer.training.spans import spans_of, tags
from drlongformer.types import IntArray

FROM_THE_START = 0.85
"""Share of the windows that begin with their text."""


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
    """Documents by number, tokenised when first drawn: a short run does not wait for what it never reads."""

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer) -> None:
        self._texts, self._tokenizer = texts, tokenizer
        self._ids: dict[int, IntArray] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, document: int) -> IntArray:
        if document not in self._ids:
            (encoded,) = self._tokenizer.encode_batch([self._texts[document]])
            self._ids[document] = encoded.ids
        return self._ids[document]


def turn(step: int, size: int, count: int, random: Callable[[int], np.random.Generator]) -> list[int]:
    """The `count` documents of a step, of `size`: every document once an epoch, in an order of the epoch's own."""
    places = range(step * count, (step + 1) * count)
    orders = {epoch: random(epoch).permutation(size) for epoch in {place // size for place in places}}
    return [int(orders[place // size][place % size]) for place in places]


class Classes:
    """Pairs of windows of classified texts; partners share a random depth of the hierarchy, or are one document."""

    def __init__(self, recipe: ClassSource, folder: DataFolder, labels: Sequence[str], reading: Reading, tag: int) -> None:
        records = list(folder.records(recipe.set, "train"))
        number = {label: place for place, label in enumerate(labels)}
        self._recipe, self._reading, self._tag = recipe, reading, tag
        self._ids = Texts([record["text"] for record in records], reading.tokenizer)
        bodies = [record["text"][max(0, record["meta"][recipe.body][0]) :] for record in records]
        self._bodies = Texts(bodies, reading.tokenizer)
        self._classes = [number[_only(record["labels"])] for record in records]
        self._kinship = _places([record["meta"][recipe.code] for record in records], recipe.levels)  # [D, levels + 1]

    def draw(self, step: int) -> list[Example]:
        """Pairs, one after the other."""
        random = self._reading.random(self._tag, 0, step)
        firsts = turn(step, len(self._ids), self._recipe.pairs, lambda epoch: self._reading.random(self._tag, 1, epoch))
        return [self._example(document, random) for first in firsts for document in (first, self._partner(first, random))]

    def _partner(self, document: int, random: np.random.Generator) -> int:
        depth = int(random.integers(self._kinship.shape[1] + 1))
        kin = (self._kinship[:, :depth] == self._kinship[document, :depth]).all(axis=1)
        return int(random.choice(np.flatnonzero(kin)))

    def _example(self, document: int, random: np.random.Generator) -> Example:
        texts = self._bodies if random.random() < 0.5 else self._ids
        ids = with_specials(crop(texts[document], self._recipe.window_tokens, random), self._reading.special)
        slots = {self._recipe.head: np.zeros(1, dtype=np.int64)}
        wanted = {self._recipe.head: np.array([self._classes[document]])}
        if random.random() < self._recipe.masked_chance:
            return _also_masked(ids, self._reading, random, slots=slots, wanted=wanted, kinship=self._kinship[document])
        return Example(ids=ids, slots=slots, wanted=wanted, kinship=tuple(self._kinship[document].tolist()))


class Spans:
    """Whole documents whose tokens are asked for their tags by every head that has annotations for them."""

    def __init__(
        self, recipe: SpanSource, folder: DataFolder, labels: Mapping[str, Sequence[str]], reading: Reading, tag: int
    ) -> None:
        self._recipe, self._reading, self._tag = recipe, reading, tag
        by_text: dict[str, dict[str, dict[str, Any]]] = {}
        for annotation in recipe.annotations:
            for record in folder.records(annotation.set, annotation.split):
                by_text.setdefault(record["text"], {})[annotation.head] = record
        encoded = reading.tokenizer.encode_batch(list(by_text))
        self._examples: list[Example] = []
        for one, records in zip(encoded, by_text.values(), strict=True):
            if len(one) + SPECIALS > reading.max_tokens:
                raise TrainingError(f"a document of {len(one)} tokens exceeds the window of {reading.max_tokens}")
            slots = 1 + np.arange(len(one))
            wanted = {head: tags(one, spans_of(record), labels[head]) for head, record in records.items()}
            self._examples.append(
                Example(ids=with_specials(one.ids, reading.special), slots=dict.fromkeys(wanted, slots), wanted=wanted)
            )

    def draw(self, step: int) -> list[Example]:
        """Whole documents."""
        size, count = len(self._examples), self._recipe.documents
        return [self._examples[i] for i in turn(step, size, count, lambda epoch: self._reading.random(self._tag, epoch))]


class Raw:
    """Two masked windows of each document, close to one another and to nothing else."""

    def __init__(self, recipe: RawSource, folder: DataFolder, reading: Reading, tag: int, depth: int) -> None:
        self._recipe, self._reading, self._tag, self._depth = recipe, reading, tag, depth
        self._ids = Texts([document.text for document in folder.documents(recipe.sets, "train")], reading.tokenizer)

    def draw(self, step: int) -> list[Example]:
        """Two windows of every document."""
        random = self._reading.random(self._tag, 0, step)
        drawn = turn(step, len(self._ids), self._recipe.documents, lambda epoch: self._reading.random(self._tag, 1, epoch))
        return [self._example(document, random) for document in drawn for _ in range(2)]

    def _example(self, document: int, random: np.random.Generator) -> Example:
        ids = with_specials(crop(self._ids[document], self._recipe.window_tokens, random), self._reading.special)
        alone = np.full(self._depth, -1 - document)  # negative: shares no level with any class's place
        return _also_masked(ids, self._reading, random, slots={}, wanted={}, kinship=alone)


def crop(ids: IntArray, window_tokens: Sequence[int], random: np.random.Generator) -> IntArray:
    """A run of content tokens for a window of a drawn length: most begin with the text, the others anywhere, rather early."""
    length = int(random.choice(np.asarray(window_tokens))) - SPECIALS
    late = max(0.0, 1.0 - random.random() / (1.0 - FROM_THE_START))
    start = int(max(0, len(ids) - length // 2) * late**2)
    return ids[start : start + length]


def _also_masked(
    ids: IntArray,
    reading: Reading,
    random: np.random.Generator,
    *,
    slots: Mapping[str, IntArray],
    wanted: Mapping[str, IntArray],
    kinship: IntArray,
) -> Example:
    masked, chosen = mask_tokens(ids, reading.special, random, share=reading.masked_share)
    return Example(
        ids=masked,
        slots={**slots, reading.language_head: chosen},
        wanted={**wanted, reading.language_head: ids[chosen]},
        kinship=tuple(kinship.tolist()),
    )


def _places(codes: Sequence[str], levels: Sequence[int]) -> IntArray:
    """Each document's place in the tree `[D, levels + 1]`: numbers of its code's prefixes, then its own."""
    number: dict[str, int] = {}
    prefixes = [[number.setdefault(code[:length], len(number)) for length in levels] for code in codes]
    return np.concatenate([np.array(prefixes), np.arange(len(codes))[:, None]], axis=1)


def _only(labels: Sequence[str]) -> str:
    if len(labels) != 1:
        raise TrainingError(f"{len(labels)} labels on a text where one class was expected")
    return labels[0]


def build(
    recipe: recipes.FinetuningRecipe,
    folder: DataFolder,
    labels: Mapping[str, Sequence[str]],
    reading: Reading,
    *,
    heads: Sequence[str],
    block: int,
) -> Mixture:
    """Read every source of the recipe; `labels` gives each head's in logit order."""
    depth = 1 + max((len(source.levels) for source in recipe.sources if isinstance(source, ClassSource)), default=0)
    sources: list[Draws] = []
    for tag, source in enumerate(recipe.sources):
        match source:
            case ClassSource():
                sources.append(Classes(source, folder, labels[source.head], reading, tag))
            case SpanSource():
                sources.append(Spans(source, folder, labels, reading, tag))
            case RawSource():
                sources.append(Raw(source, folder, reading, tag, depth))
    return Mixture(sources=tuple(sources), heads=tuple(heads), block=block)
