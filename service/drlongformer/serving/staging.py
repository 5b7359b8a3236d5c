"""Engines that take the next batch in while one runs, and how a batch of many windows is computed through one: in parts.

    this thread      pack 1 | pack 2 | wait | unpack 1, pack 3 | wait | unpack 2 ...
    device's thread           run 1 ........ | run 2 .................. | run 3 ...

A part is as large as the device gains from: all but the first packing and the last unpacking happen while the device computes,
the memory that is needed is that of a part, and no shape is larger. Neighbours change no answer, so cutting changes none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Protocol, TypeVar, runtime_checkable

from drlongformer.packing import EngineOutput, PackedBatch, blocks_of, pack, unpack
from drlongformer.types import WindowInput, WindowOutput

AHEAD = 2
"""Parts that have begun and are not unpacked: one that runs, and one that is ready. An engine has as many sets of buffers."""

S_contra = TypeVar("S_contra", contravariant=True)
"""What ends a batch early: the engine's own business."""


@runtime_checkable
class Staged(Protocol[S_contra]):
    """part_blocks: the most blocks of one part."""

    block: int
    part_blocks: int

    @property
    def heads(self) -> tuple[str, ...]:
        """Every head of the graph."""
        ...

    def begin(self, batch: PackedBatch, stop: S_contra | None = None) -> Future[EngineOutput]:
        """Take a batch in; it runs when those before it have run. At most AHEAD may have begun and not been waited for."""
        ...


def answers_in_parts(
    engine: Staged[S_contra], windows: Sequence[WindowInput], stop: S_contra | None = None
) -> list[WindowOutput]:
    """Every window's answer, in order. Raises what the engine raises; nothing of it runs on behind that."""
    begun: deque[tuple[PackedBatch, Future[EngineOutput]]] = deque()
    answers: list[WindowOutput] = []
    try:
        for part in parts(windows, engine.block, engine.part_blocks):
            batch = pack(part, block=engine.block, heads=engine.heads)
            if len(begun) == AHEAD:
                answers += _unpacked(begun)
            begun.append((batch, engine.begin(batch, stop)))
        while begun:
            answers += _unpacked(begun)
    finally:
        wait([future for _, future in begun])  # they write into buffers that the next batch is to have
    return answers


def parts(windows: Sequence[WindowInput], block: int, most: int) -> Iterator[list[WindowInput]]:
    """Windows in their order, in parts of about equal blocks, at most `most` of them unless a single window has more."""
    sizes = [blocks_of(len(window), block) for window in windows]
    left, part, filled = sum(sizes), list[WindowInput](), 0
    aim = _share(left, most)
    for window, size in zip(windows, sizes, strict=True):
        if part and filled + size > aim:
            yield part
            left -= filled
            part, filled = [], 0
            aim = _share(left, most)
        part.append(window)
        filled += size
    if part:
        yield part


def _share(blocks: int, most: int) -> int:
    """What is left, evenly over as many parts as it takes."""
    return blocks_of(blocks, max(1, blocks_of(blocks, most)))


def _unpacked(begun: deque[tuple[PackedBatch, Future[EngineOutput]]]) -> list[WindowOutput]:
    batch, future = begun[0]
    output = future.result()
    begun.popleft()
    return unpack(batch, output)
