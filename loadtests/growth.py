"""Whether a series of memory samples grows: its slope without regard to single jumps, and how steadily it rises."""

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
    """Of at least `BLOCKS` samples, in order of time; each block counts with its medians. Raises ValueError for fewer."""
    if len(samples) < BLOCKS:
        raise ValueError(f"{len(samples)} samples, at least {BLOCKS} are needed")
    edges = [round(len(samples) * place / BLOCKS) for place in range(BLOCKS + 1)]
    blocks = [samples[low:high] for low, high in itertools.pairwise(edges)]
    points = [
        (statistics.median(each.seconds for each in block), statistics.median(each.mib for each in block)) for block in blocks
    ]
    pairs = [(late[0] - early[0], late[1] - early[1]) for early, late in itertools.combinations(points, 2)]
    return Growth(
        mib_per_hour=3600 * statistics.median(rise / seconds for seconds, rise in pairs),
        rising=sum(rise > 0 for _, rise in pairs) / len(pairs),
    )
