"""What a task asks of one window, before it is known which other tasks share the pass.

Each task module is a pair: an `ask` that says which token positions its head reads, and a decoder that turns the answers
about all windows of a document into the task's own result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from drlongformer.types import IntArray, WindowInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """rows: per graph output the positions `[R]` it reads. segments: `[T]` number of each token's sum, -1 for none."""

    rows: Mapping[str, IntArray] = field(default_factory=dict)
    segments: IntArray | None = None

    def about(self, ids: IntArray, *, global_slots: tuple[int, ...] = ()) -> WindowInput:
        """The question put to the model about a window's ids, special tokens included."""
        return WindowInput(ids=ids, global_slots=global_slots, rows=self.rows, segments=self.segments)


def joined(asks: Sequence[Ask]) -> Ask:
    """What several tasks ask of one window, as one; raises ValueError where two ask the same head, or both ask for sums."""
    rows: dict[str, IntArray] = {}
    for ask in asks:
        if twice := rows.keys() & ask.rows.keys():
            raise ValueError(f"two tasks read the outputs {sorted(twice)} in one pass")
        rows |= ask.rows
    sums = [ask.segments for ask in asks if ask.segments is not None]
    if len(sums) > 1:
        raise ValueError(f"{len(sums)} tasks ask for sums in one pass")
    return Ask(rows=rows, segments=sums[0] if sums else None)
