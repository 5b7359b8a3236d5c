"""Few shapes for many batches: a batch is padded to the next bucket of blocks, and all other dimensions follow. Numpy only.

A card prepares itself for every shape it meets (plans of fused attention, memory, captured graphs), so shapes must be few and
met before the first request. Blocks go up by an eighth to a quarter; documents are as many as blocks; query blocks are all of
them or an eighth; the others go up by doubling from a least that most batches need. Padding changes no answer: blocks behind
the last belong to a document of no tokens, and padded rows are thrown away. Two documents in five blocks, at a bucket of 8:

    block               0   1   2 | 3   4 | 5   6   7
    document_of_block   0   0   0 | 1   1 | 2   2   2      document 2 has length 0
    query_blocks [M=8]  2   4     | 0   1   3   5   6   7  those that are read first, then others, each once
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from drlongformer.packing import ROWS_PREFIX, SEGMENT_SUMS, EngineOutput, PackedBatch, blocks_of
from drlongformer.types import FloatArray, IntArray

STEPS_PER_DOUBLING = 4
FEW = 8
"""Where at most every eighth block is read, only so many are computed in the last layer."""
LEAST_RANKS = 2
LEAST_ROWS = 8
GLOBAL_STEP = 8
"""Global columns are 1, 9, 17, 33, ...: one more than a multiple, so that the fused operator's keys stay a multiple of 8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Every dimension of a graph's inputs but the block size; as many documents as blocks. rows: of each head, by its name."""

    blocks: int
    query_blocks: int
    global_slots: int
    ranks: int
    rows: tuple[tuple[str, int], ...]

    @property
    def encoder(self) -> tuple[int, int, int]:
        """What the encoder's kernels see: blocks, query blocks, global columns."""
        return self.blocks, self.query_blocks, self.global_slots

    def inputs(self, block: int) -> dict[str, tuple[int, ...]]:
        """Sizes of the graph's inputs, by their names."""
        return {
            "input_ids": (self.blocks, block),
            "document_of_block": (self.blocks,),
            "first_block": (self.blocks,),
            "document_length": (self.blocks,),
            "global_slot": (self.blocks, self.global_slots),
            "query_blocks": (self.query_blocks,),
            "segment_of_slot": (self.query_blocks, block),
            "segment_index": (self.ranks,),
        } | {ROWS_PREFIX + head: (rows,) for head, rows in self.rows}

    def outputs(self, widths: Mapping[str, int], size: int) -> dict[str, tuple[int, ...]]:
        """Sizes of the graph's outputs by their names; widths: numbers per row of each head, size: of a hidden state."""
        rows: dict[str, tuple[int, ...]] = {head: (count, widths[head]) for head, count in self.rows}
        return rows | {SEGMENT_SUMS: (self.query_blocks, self.ranks, size)}


def ladder(most: int) -> tuple[int, ...]:
    """Buckets of blocks from 1 up to `most`, STEPS_PER_DOUBLING to each doubling: 1 2 3 4 5 6 7 8 10 12 14 16 20 ..."""
    found, blocks = [], 1
    while blocks < most:
        found.append(blocks)
        blocks += max(1, _power_below(blocks) // STEPS_PER_DOUBLING)
    return (*found, most)


def shape_of(batch: PackedBatch, buckets: Sequence[int]) -> Shape:
    """The shape a batch is padded to. Raises ValueError for more blocks than the largest bucket has."""
    needed = len(batch.document_of_block)
    blocks = next((bucket for bucket in buckets if bucket >= needed), None)
    if blocks is None:
        raise ValueError(f"a batch of {needed} blocks, the largest bucket has {buckets[-1]}")
    few = max(1, blocks // FEW)
    return Shape(
        blocks=blocks,
        query_blocks=few if len(batch.query_blocks) <= few else blocks,
        global_slots=1 + _doubled(batch.global_slot.shape[1] - 1, GLOBAL_STEP),
        ranks=_doubled(max(LEAST_RANKS, len(batch.segment_index)), LEAST_RANKS),
        rows=tuple((head, _doubled(len(rows), LEAST_ROWS)) for head, rows in batch.rows.items()),
    )


def plain_shapes(buckets: Sequence[int], heads: Sequence[str], *, longest: int) -> Iterator[Shape]:
    """What most batches are padded to, for warming up: every bucket with all blocks read and with few, nothing asked of a head.

    longest: blocks of the longest window; of each window one block is read at least, so many short ones cannot read few.
    """
    for blocks in buckets:
        few = max(1, blocks // FEW)
        for query_blocks in sorted({blocks, few} if few >= blocks_of(blocks, longest) else {blocks}):
            rows = tuple((head, 0) for head in heads)
            yield Shape(blocks=blocks, query_blocks=query_blocks, global_slots=1, ranks=LEAST_RANKS, rows=rows)


def empty(into: Mapping[str, IntArray]) -> None:
    """Write a batch without any document into arrays of one shape, in place."""
    for array in into.values():
        array.fill(0)
    into["global_slot"].fill(-1)
    into["segment_of_slot"].fill(-1)
    into["segment_index"][:] = np.arange(len(into["segment_index"]))
    into["query_blocks"][:] = np.arange(len(into["query_blocks"]))


def fill(into: Mapping[str, IntArray], batch: PackedBatch) -> None:
    """Write a batch into arrays of its shape, in place, over whatever an earlier batch left there."""
    blocks, documents = len(batch.document_of_block), len(batch.first_block)
    _put(into["input_ids"], batch.input_ids, 0)
    _put(into["document_of_block"], batch.document_of_block, documents)
    _put(into["first_block"], batch.first_block, 0)
    if documents < len(into["first_block"]):  # then there are blocks behind the last, too: no document is without a block
        into["first_block"][documents] = min(blocks, len(into["document_of_block"]) - 1)
    _put(into["document_length"], batch.document_length, 0)
    into["global_slot"].fill(-1)
    into["global_slot"][:documents, : batch.global_slot.shape[1]] = batch.global_slot
    into["query_blocks"][:] = _each_once(batch.query_blocks, len(into["query_blocks"]), len(into["document_of_block"]))
    _put(into["segment_of_slot"], batch.segment_of_slot, -1)
    into["segment_index"][:] = np.arange(len(into["segment_index"]))
    for head, rows in batch.rows.items():
        _put(into[ROWS_PREFIX + head], rows, 0)


def cut(batch: PackedBatch, rows: Mapping[str, FloatArray], segment_sums: FloatArray) -> EngineOutput:
    """The batch's own part of the outputs of a padded one; copies, because the next batch is written over them."""
    return EngineOutput(
        rows={head: rows[head][: len(asked)].copy() for head, asked in batch.rows.items()},
        segment_sums=segment_sums[: len(batch.query_blocks), : len(batch.segment_index)].copy(),
    )


def _put(into: IntArray, array: IntArray, rest: int) -> None:
    into[: len(array)] = array
    into[len(array) :] = rest


def _each_once(chosen: IntArray, count: int, blocks: int) -> IntArray:
    """The chosen blocks, then others up to `count`: a block named twice would be answered in the wrong place."""
    others = np.ones(blocks, dtype=bool)
    others[chosen] = False
    return np.concatenate([chosen, np.flatnonzero(others)[: count - len(chosen)]])


def _doubled(count: int, least: int) -> int:
    """0 for none, else the first of least, 2 least, 4 least, ... that holds `count`."""
    size = least
    while size < count:
        size *= 2
    return size if count > 0 else 0


def _power_below(count: int) -> int:
    """The largest power of two that is at most `count`."""
    return 1 << (count.bit_length() - 1)
