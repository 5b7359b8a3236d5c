"""Pairs of texts: their window, what is cut of them, and the windows over a part of the first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drlongformer.text.pairs import PAIR_SPECIALS, choice_slots, pair, plan_part, truncate_pair

SIZES = st.integers(1, 200)


def test_a_pair_stands_between_four_special_tokens() -> None:
    ids = pair(np.array([11, 12]), np.array([21]), bos=0, eos=2)
    assert ids.tolist() == [0, 11, 12, 2, 2, 21, 2]
    assert choice_slots(2, 1) == (5, 6)


@given(first=SIZES, second=SIZES)
def test_a_choice_is_all_behind_the_separators(first: int, second: int) -> None:
    ids = pair(np.full(first, 11), np.full(second, 21), bos=0, eos=2)
    slots = choice_slots(first, second)
    assert len(ids) == first + second + PAIR_SPECIALS
    assert slots == tuple(range(first + 3, len(ids)))
    assert ids[list(slots)].tolist() == [21] * second + [2]


def test_the_worked_example_of_windows_over_a_part() -> None:
    assert [(each.start, each.stop) for each in plan_part(6, capacity=11 - PAIR_SPECIALS - 1 - 2, overlap=3)] == [
        (0, 4),
        (2, 6),
    ]


@given(part=SIZES, capacity=st.integers(1, 250), overlap=st.integers(0, 300))
def test_every_token_of_a_part_is_kept_once_however_little_room_there_is(part: int, capacity: int, overlap: int) -> None:
    windows = plan_part(part, capacity=capacity, overlap=overlap)
    assert [token for each in windows for token in range(each.keep_start, each.keep_stop)] == list(range(part))
    assert max(map(len, windows)) <= capacity
    assert len(windows) <= -(-2 * part // max(1, capacity - 1)) + 1


@given(first=SIZES, second=SIZES, capacity=st.integers(2, 500), side=st.sampled_from(["head", "tail"]))
def test_the_longer_text_is_cut_and_no_room_is_wasted(first: int, second: int, capacity: int, side: str) -> None:
    one, other = truncate_pair(first, second, capacity=capacity, side="head" if side == "head" else "tail")
    assert len(one) + len(other) == min(first + second, capacity)
    assert (one.start == 0 and other.start == 0) if side == "head" else (one.stop == first and other.stop == second)
    if len(one) < first and len(other) < second:
        assert abs(len(one) - len(other)) <= 1
    elif len(one) < first:
        assert len(one) >= len(other) - 1
    elif len(other) < second:
        assert len(other) >= len(one) - 1


def test_with_their_words_both_texts_are_cut_between_words() -> None:
    words = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
    kept = truncate_pair(10, 10, capacity=14, side="head", words=(words, words))
    assert [(each.start, each.stop) for each in kept] == [(0, 5), (0, 5)]
    kept = truncate_pair(10, 10, capacity=14, side="tail", words=(words, words))
    assert [(each.start, each.stop) for each in kept] == [(3, 10), (3, 10)]
    kept = truncate_pair(10, 10, capacity=12, side="tail", words=(words, words))
    assert [(each.start, each.stop) for each in kept] == [(5, 10), (5, 10)]


def test_two_texts_need_a_token_each() -> None:
    with pytest.raises(ValueError, match="two texts in 1 tokens"):
        truncate_pair(3, 3, capacity=1, side="head")
