"""Whether a series of memory samples grows: the slope of its floor without regard to single jumps, and how steadily it rises.

What is resident swings by a hundred MiB with the batch that is in the engine. The least of a block of samples is what stays
between batches, once free memory was given back; a leak lifts it.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

BLOCKS = 12
STEADY = 0.8
"""Share of pairs of blocks of which the later is the larger, from which on a rise is no chance: 0.5 is that of noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Memory at a moment."""

    seconds: float
    mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """mib_per_hour: the median slope between blocks (Theil and Sen). rising: the share of pairs of blocks that rise."""

    mib_per_hour: float
    rising: float

    def is_leak(self, limit_mib_per_hour: float) -> bool:
        """Whether it rises steadily, and faster than the limit."""
        return self.rising >= STEADY and self.mib_per_hour > limit_mib_per_hour


def growth(samples: Sequence[Sample]) -> Growth:
    """Of at least `BLOCKS` samples, in order of time; each block counts with its least. Raises ValueError for fewer."""
    if len(samples) < BLOCKS:
        raise ValueError(f"{len(samples)} samples, at least {BLOCKS} are needed")
    points = floors(samples, BLOCKS)
    pairs = [(late.seconds - early.seconds, late.mib - early.mib) for early, late in itertools.combinations(points, 2)]
    return Growth(
        mib_per_hour=3600 * statistics.median(rise / seconds for seconds, rise in pairs),
        rising=sum(rise > 0 for _, rise in pairs) / len(pairs),
    )


def floors(samples: Sequence[Sample], blocks: int) -> list[Sample]:
    """The least of each of so many equal parts of a series, in the middle of its part; of each sample where there are fewer."""
    blocks = min(blocks, len(samples))
    edges = [round(len(samples) * place / blocks) for place in range(blocks + 1)]
    parts = [samples[low:high] for low, high in itertools.pairwise(edges)]
    return [
        Sample(seconds=statistics.median(each.seconds for each in part), mib=min(each.mib for each in part)) for part in parts
    ]
