"""How many token slots a batch may hold: the smallest number within 5 % of the best speed, learnt from live batches.

Budgets are the rungs of a ladder that doubles from one full window. A batch that fills a rung measures it. While enough work
waits, the rungs next to the chosen one are tried too, a few batches each, and again after a while, because machines change; a
second one above if the first still gains, so that many small gains are not missed.
A rung above the chosen one whose batch failed is left, with all above it: it may have been too large for the device. One that
did not fit in the device's memory is left whether chosen or not; the lowest, one full window, always stays.
Speed is not all: who comes just after a batch was taken waits for the whole of it. `next` is told how many slots that may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

from drlongformer.serving.speed import Speed

WITHIN = 0.05
"""How far below the best speed a smaller budget may stay and still be preferred: it shortens everybody's wait."""

STILL_GAINS = 0.02
"""How much faster the next rung must be for the one after it to be tried."""

ENOUGH = 4
"""Batches that make a measurement; the first of each rung is left out, because engines prepare themselves for new shapes."""

STALE = 1000
"""Batches after which a rung's measurement is made again."""

FILLED = 0.75
"""How much of a rung a batch fills to count as one of it."""


@dataclass(slots=True, kw_only=True)
class _Rung:
    """One budget, and what is known of it."""

    slots: int
    speed: Speed = field(default_factory=Speed)
    batches: int = 0
    tried: int = 0

    @property
    def slots_per_second(self) -> float:
        return 1 / self.speed.seconds_per_slot if self.speed.seconds_per_slot else 0.0


class Budget:
    """The budget in force is `slots`; `next` says which to use for the coming batch."""

    def __init__(self, ladder: Sequence[int], *, start: int) -> None:
        if not ladder or list(ladder) != sorted(set(ladder)) or ladder[0] < 1 or start not in ladder:
            raise ValueError(f"budgets rise from 1 on and hold the first one: {list(ladder)}, {start}")
        self._rungs = [_Rung(slots=slots) for slots in ladder]
        self._chosen = list(ladder).index(start)
        self._batches = 0

    @classmethod
    def fixed(cls, slots: int) -> Budget:
        """Always this one."""
        return cls([slots], start=slots)

    @classmethod
    def refined(cls, *, window: int, windows: int, most_windows: int) -> Budget:
        """Begin with `windows` full windows of `window` slots; all powers of two up to `most_windows` may come of it."""
        counts = {1 << power for power in range(most_windows.bit_length())} | {windows}
        return cls(sorted(window * count for count in counts if count <= most_windows), start=window * windows)

    @property
    def slots(self) -> int:
        """What was chosen so far."""
        return self._rungs[self._chosen].slots

    @property
    def most(self) -> int:
        """The largest it can become."""
        return self._rungs[-1].slots

    def next(self, waiting: int, *, most: float = inf) -> int:
        """The budget of the coming batch, given the slots that wait: the chosen one, or a neighbour that is to be tried.

        most: slots beyond which a batch would hold up others for too long; only the lowest rung may be larger.
        """
        if waiting >= self.slots:
            for rung in self._to_try():
                if rung.slots <= min(waiting, most) and not self._known(rung):
                    return rung.slots
        known = (rung.slots for rung in self._rungs[: self._chosen + 1] if rung.slots <= most)
        return max(known, default=self._rungs[0].slots)

    def add(self, *, slots: int, seconds: float) -> bool:
        """Learn from a batch; says whether another budget is chosen now."""
        self._batches += 1
        rung = next((rung for rung in self._rungs if FILLED * rung.slots < slots <= rung.slots), None)
        if rung is None or seconds <= 0:
            return False
        if self._batches - rung.tried > STALE:
            rung.speed, rung.batches = Speed(), 0
        rung.tried = self._batches
        if rung.batches:
            rung.speed.add(slots=slots, tokens=slots, seconds=seconds)
        rung.batches += 1
        return self._choose()

    def fail(self, *, slots: int) -> bool:
        """Learn that a batch failed; only one beyond the chosen budget says something of the budget. Whether it did."""
        if slots <= self.slots:
            return False
        self._rungs = [rung for rung in self._rungs if rung.slots < slots]
        return True

    def shrink(self, *, below: int) -> None:
        """Learn that the device has no memory for a batch of so many slots."""
        self._rungs = [rung for rung in self._rungs if rung.slots < below] or self._rungs[:1]
        self._chosen = min(self._chosen, len(self._rungs) - 1)

    def _to_try(self) -> Iterator[_Rung]:
        """The chosen rung's neighbours, the more promising first."""
        here, below = self._rungs[self._chosen], self._chosen - 1
        above = self._rungs[self._chosen + 1 : self._chosen + 3]
        yield from above[:1]
        if below >= 0:
            yield self._rungs[below]
        if above and self._known(here) and above[0].slots_per_second > (1 + STILL_GAINS) * here.slots_per_second:
            yield from above[1:]

    def _known(self, rung: _Rung) -> bool:
        return rung.batches > ENOUGH and self._batches - rung.tried <= STALE

    def _choose(self) -> bool:
        """Take the smallest known rung that is fast enough, once the present one is known."""
        before = self._chosen
        if self._known(self._rungs[before]):
            known = [place for place, rung in enumerate(self._rungs) if self._known(rung)]
            peak = max(self._rungs[place].slots_per_second for place in known)
            self._chosen = next(place for place in known if self._rungs[place].slots_per_second >= (1 - WITHIN) * peak)
        return self._chosen != before
