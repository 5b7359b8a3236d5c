"""Two texts in one window, as RoBERTa and Longformer were trained on pairs: `<s> first </s> </s> second </s>`.

A pair has no windows of its own: a part of the first text may be read in windows, each beside the rest of it and all of the
second. Part of 6 tokens, rest of 1, second of 2, 11 tokens with 4 special ones: windows of 4, which overlap by 2 at most.

    window 0   <s> p0 p1 p2 p3 r0 </s></s> s0 s1 </s>
    window 1   <s> p2 p3 p4 p5 r0 </s></s> s0 s1 </s>

Shapes: T tokens of the window.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from drlongformer.text.windows import plan, truncate
from drlongformer.types import IntArray, Window

PAIR_SPECIALS = 4
"""Special tokens around the two texts of a pair."""


def pair(first: IntArray, second: IntArray, *, bos: int, eos: int) -> IntArray:
    """The window `[T]` of two runs of content tokens."""
    return np.concatenate(([bos], first, [eos, eos], second, [eos])).astype(np.int64)


def choice_slots(first: int, second: int) -> tuple[int, ...]:
    """Slots behind the separator pair, of a pair of `first` and `second` content tokens.

    They are global in Hugging Face's `LongformerForMultipleChoice`: all tokens after the first separator pair, the last
    `</s>` included.
    """
    start = first + PAIR_SPECIALS - 1
    return tuple(range(start, start + second + 1))


def truncate_pair(
    first: int,
    second: int,
    *,
    capacity: int,
    side: Literal["head", "tail"],
    words: tuple[IntArray | None, IntArray | None] = (None, None),
) -> tuple[Window, Window]:
    """What is kept of two texts that may have `capacity` content tokens together: the longer one is cut first.

    A text shorter than half of the capacity stays whole; two longer ones keep half of it each. words: the numbers of their
    tokens' words; with them each is cut where a word ends or begins, as `truncate` does.
    """
    if capacity < 2:
        raise ValueError(f"two texts in {capacity} tokens")
    of_second = min(second, max(capacity // 2, capacity - first))
    return (
        truncate(first, capacity=capacity - of_second, side=side, words=words[0]),
        truncate(second, capacity=of_second, side=side, words=words[1]),
    )


def plan_part(part: int, *, capacity: int, overlap: int) -> tuple[Window, ...]:
    """Windows over the part of a first text that may be cut; they overlap by at most half, however little room is left."""
    return plan(part, capacity=capacity, overlap=min(overlap, capacity // 2))
