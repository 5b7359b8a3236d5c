"""What a fine-tuning step is made of: sources that draw examples by step number, and their mixture into one packed batch.

All heads of a step share one pass of the encoder. Sources whose windows hold two texts are in `pairing.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np

from drlongformer.errors import TrainingError
from drlongformer.training import recipes
from drlongformer.training.corpus import DataFolder, only
from drlongformer.training.dataset import SPECIALS, Example, with_specials
from drlongformer.training.drawing import (
    Draws,
    Mixture,
    Reading,
    Texts,
    also_masked,
    crop,
    drawn_variant,
    places_in_tree,
    turn,
)
from drlongformer.training.lessons import ChoiceSource, ClassSource, KinSource, PairSource, RawSource, SpanSource
from drlongformer.training.pairing import Choices, KinPairs, Pairs
from drlongformer.training.records.augment import augmented
from drlongformer.training.records.record import SpanRecord
from drlongformer.training.spans import spans_of, tags
from drlongformer.types import Encoded


class Classes:
    """Pairs of windows of classified texts; partners share a random depth of the hierarchy, or are one document."""

    def __init__(self, recipe: ClassSource, folder: DataFolder, labels: Sequence[str], reading: Reading, tag: int) -> None:
        records = list(folder.records(recipe.set, "train"))
        number = {label: place for place, label in enumerate(labels)}
        self._recipe, self._reading, self._tag = recipe, reading, tag
        wholes = [record["text"] for record in records]
        bodies = [record["text"][max(0, record["meta"][recipe.body][0]) :] for record in records]
        self._variants = [
            tuple(Texts(texts, reading.tokenizer, augmentation=name) for texts in (wholes, bodies))
            for name in (None, *recipe.augmentations)
        ]
        self._classes = [number[only(record["labels"])] for record in records]
        self._kinship = places_in_tree([record["meta"][recipe.code] for record in records], recipe.levels)  # [D, levels + 1]

    def draw(self, step: int) -> list[Example]:
        """Pairs, one after the other."""
        random, rewriting = self._reading.random(self._tag, 0, step), self._reading.random(self._tag, 2, step)
        firsts = turn(step, len(self._classes), self._recipe.pairs, lambda epoch: self._reading.random(self._tag, 1, epoch))
        return [
            self._example(document, drawn_variant(len(self._variants), rewriting), random)
            for first in firsts
            for document in (first, self._partner(first, random))
        ]

    def _partner(self, document: int, random: np.random.Generator) -> int:
        depth = int(random.integers(self._kinship.shape[1] + 1))
        kin = (self._kinship[:, :depth] == self._kinship[document, :depth]).all(axis=1)
        return int(random.choice(np.flatnonzero(kin)))

    def _example(self, document: int, variant: int, random: np.random.Generator) -> Example:
        wholes, bodies = self._variants[variant]
        texts = bodies if random.random() < 0.5 else wholes
        ids = with_specials(crop(texts[document], self._recipe.window_tokens, random), self._reading.special)
        slots = {self._recipe.head: np.zeros(1, dtype=np.int64)}
        wanted = {self._recipe.head: np.array([self._classes[document]])}
        if random.random() < self._recipe.masked_chance:
            return also_masked(ids, self._reading, random, slots=slots, wanted=wanted, kinship=self._kinship[document])
        return Example(ids=ids, slots=slots, wanted=wanted, kinship=tuple(self._kinship[document].tolist()))


class Spans:
    """Whole documents whose tokens are asked for their tags by every head that has annotations for them."""

    def __init__(
        self, recipe: SpanSource, folder: DataFolder, labels: Mapping[str, Sequence[str]], reading: Reading, tag: int
    ) -> None:
        self._recipe, self._labels, self._reading, self._tag = recipe, labels, reading, tag
        by_text: dict[str, dict[str, SpanRecord]] = {}
        for annotation in recipe.annotations:
            for record in folder.records(annotation.set, annotation.split):
                read = SpanRecord.of(id=str(record["id"]), text=record["text"], spans=spans_of(record))
                by_text.setdefault(read.text, {})[annotation.head] = read
        self._documents = [self._variants(records) for records in by_text.values()]

    def draw(self, step: int) -> list[Example]:
        """Whole documents."""
        size, count = len(self._documents), self._recipe.documents
        places = turn(step, size, count, lambda epoch: self._reading.random(self._tag, epoch))
        random = self._reading.random(self._tag, 1, step)
        drawn = [self._documents[place] for place in places]
        return [variants[drawn_variant(len(variants), random)] for variants in drawn]

    def _variants(self, records: Mapping[str, SpanRecord]) -> list[Example]:
        """A document as it is, then as each augmentation has it; raises TrainingError where it exceeds a window as it is."""
        versions = [records]
        versions += [{head: augmented(one, (name,)) for head, one in records.items()} for name in self._recipe.augmentations]
        encoded = self._reading.tokenizer.encode_batch([next(iter(version.values())).text for version in versions])
        if len(encoded[0]) + SPECIALS > self._reading.max_tokens:
            raise TrainingError(f"a document of {len(encoded[0])} tokens exceeds the window of {self._reading.max_tokens}")
        fitting = [len(one) + SPECIALS <= self._reading.max_tokens for one in encoded]
        return [self._example(*both) for both in compress(zip(encoded, versions, strict=True), fitting)]

    def _example(self, encoded: Encoded, records: Mapping[str, SpanRecord]) -> Example:
        wanted = {head: tags(encoded, record.spans, self._labels[head]) for head, record in records.items()}
        slots = dict.fromkeys(wanted, 1 + np.arange(len(encoded)))
        return Example(ids=with_specials(encoded.ids, self._reading.special), slots=slots, wanted=wanted)


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
        return also_masked(ids, self._reading, random, slots={}, wanted={}, kinship=alone)


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
            case PairSource():
                sources.append(Pairs(source, folder, reading, tag))
            case KinSource():
                sources.append(KinPairs(source, folder, reading, tag))
            case ChoiceSource():
                sources.append(Choices(source, folder, labels.get(source.head, ()), reading, tag))
    return Mixture(sources=tuple(sources), heads=tuple(heads), block=block)
