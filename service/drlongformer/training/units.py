"""Batches of annotated documents by number: every document once an epoch, packed by tokens, some of them rewritten.

An epoch draws a variant of every document (as it is, or rewritten by an augmentation), shuffles the pieces and packs them into
micro-batches of at most `room` slots; a step is `micro_batches` of them, so that on average it holds the documents asked for
and a GPU never more than `room` slots. All is a pure function of seed and number, so a run resumes anywhere.

Shapes: D documents, W pieces of an epoch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from drlongformer.errors import TrainingError
from drlongformer.packing import blocks_of
from drlongformer.training.dataset import Batch, collate
from drlongformer.training.drawing import drawn_variant
from drlongformer.training.pieces import Piece
from drlongformer.training.plan import fill

Variants = tuple[tuple[Piece, ...], ...]
"""A document's pieces as it is, then as each augmentation has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Slots of a micro-batch, and how many of them make a step."""

    room: int
    micro_batches: int


def sizes(documents: Sequence[Variants], *, batch_documents: int, micro_tokens: int, block: int) -> Sizes:
    """Steps of about `batch_documents` documents in micro-batches of at most `micro_tokens` slots.

    Raises TrainingError where a piece alone is longer, with what it takes.
    """
    largest = max(slots_of(piece, block) for variants in documents for pieces in variants for piece in pieces)
    if largest > micro_tokens:
        raise TrainingError(f"what must be read together takes {largest} token slots, micro-batches hold {micro_tokens}")
    whole = sum(slots_of(piece, block) for variants in documents for piece in variants[0])
    step = math.ceil(whole * batch_documents / len(documents))
    room = min(micro_tokens, max(largest, blocks_of(step, block) * block))
    return Sizes(room=room, micro_batches=max(1, round(step / room)))


def slots_of(piece: Piece, block: int) -> int:
    """Token slots that a piece takes."""
    return sum(blocks_of(len(example.ids), block) * block for example in piece)


@dataclass(slots=True, kw_only=True)
class Units:
    """Micro-batches by number; one epoch's plan at a time is kept."""

    documents: Sequence[Variants]
    heads: tuple[str, ...]
    block: int
    room: int
    seed: int
    global_slots: tuple[int, ...] = (0,)
    _epochs: dict[int, list[list[Piece]]] = field(default_factory=dict)
    _firsts: list[int] = field(default_factory=lambda: [0])

    def __getitem__(self, number: int) -> Batch:
        while self._firsts[-1] <= number:
            self._firsts.append(self._firsts[-1] + len(self.epoch(len(self._firsts) - 1)))
        epoch = int(np.searchsorted(self._firsts, number, side="right")) - 1
        chosen = self.epoch(epoch)[number - self._firsts[epoch]]
        examples = [example for piece in chosen for example in piece]
        return collate(examples, block=self.block, heads=self.heads, global_slots=self.global_slots)

    def epoch(self, number: int) -> list[list[Piece]]:
        """The micro-batches of one epoch."""
        if number not in self._epochs:
            self._epochs.clear()
            self._epochs[number] = self._planned(np.random.default_rng((self.seed, number)))
        return self._epochs[number]

    def _planned(self, random: np.random.Generator) -> list[list[Piece]]:
        pieces = [piece for variants in self.documents for piece in variants[drawn_variant(len(variants), random)]]
        order = random.permutation(len(pieces))
        blocks = np.array([slots_of(pieces[place], self.block) // self.block for place in order], dtype=np.int64)
        bins = fill(blocks, self.room // self.block)
        bins = random.permutation(bins.max() + 1)[bins]  # the first ones filled are the fullest: in a new order, all look alike
        return [[pieces[place] for place in order[bins == one]] for one in range(int(bins.max()) + 1)]
