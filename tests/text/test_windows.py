from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from drlongformer.text.windows import LEADING, centre, join, kept_rows, kept_tokens, plan, truncate
from drlongformer.types import Encoded, Window


@st.composite
def long_documents(draw: st.DrawFn) -> tuple[int, int, int]:
    """Tokens, capacity and overlap."""
    capacity = draw(st.integers(1, 40))
    return draw(st.integers(1, 400)), capacity, draw(st.integers(0, capacity - 1))


def test_the_documented_example_holds() -> None:
    assert plan(10, capacity=6, overlap=2) == (
        Window(start=0, stop=6, keep_start=0, keep_stop=5),
        Window(start=4, stop=10, keep_start=5, keep_stop=10),
    )


@pytest.mark.parametrize(("tokens", "count"), [(1, 1), (4094, 1), (4095, 2), (7676, 2), (7677, 3), (30_000, 9)])
def test_there_are_as_few_windows_as_can_be(tokens: int, count: int) -> None:
    assert len(plan(tokens, capacity=4094, overlap=512)) == count


@given(case=long_documents())
def test_windows_fit_are_equal_and_overlap_enough(case: tuple[int, int, int]) -> None:
    tokens, capacity, overlap = case
    windows = plan(tokens, capacity=capacity, overlap=overlap)
    lengths = {len(window) for window in windows}
    assert max(lengths) <= capacity
    assert max(lengths) - min(lengths) <= 1
    assert all(before.stop - after.start >= overlap for before, after in pairwise(windows))
    event(f"{min(len(windows), 5)} windows")


@given(case=long_documents())
def test_kept_ranges_partition_the_document(case: tuple[int, int, int]) -> None:
    tokens, capacity, overlap = case
    kept = [
        token
        for window in plan(tokens, capacity=capacity, overlap=overlap)
        for token in range(window.keep_start, window.keep_stop)
    ]
    assert kept == list(range(tokens))


@given(case=long_documents())
def test_a_token_is_kept_where_it_is_nearest_the_centre(case: tuple[int, int, int]) -> None:
    tokens, capacity, overlap = case
    windows = plan(tokens, capacity=capacity, overlap=overlap)
    for token in range(tokens):
        distances = [
            abs(2 * token - (window.start + window.stop - 1)) for window in windows if window.start <= token < window.stop
        ]
        holding = [index for index, window in enumerate(windows) if window.start <= token < window.stop]
        chosen = centre(windows, token)
        assert chosen == holding[distances.index(min(distances))]
        assert windows[chosen].keep_start <= token < windows[chosen].keep_stop


@given(case=long_documents())
def test_joining_undoes_planning(case: tuple[int, int, int]) -> None:
    tokens, capacity, overlap = case
    windows = plan(tokens, capacity=capacity, overlap=overlap)
    document = np.arange(tokens, dtype=np.float32)[:, None]
    inputs = [np.concatenate([[[-1.0]], document[window.start : window.stop], [[-1.0]]]) for window in windows]
    rows = [one[kept_rows(window)].astype(np.float32) for one, window in zip(inputs, windows, strict=True)]
    assert np.array_equal(join(rows, windows), document)
    assert LEADING == 1


def test_joining_refuses_rows_of_another_window() -> None:
    with pytest.raises(ValueError, match="2 rows for a window that keeps 3"):
        join([np.zeros((2, 1), dtype=np.float32)], plan(3, capacity=9, overlap=0))
    with pytest.raises(ValueError, match="2 rows for a window that keeps 5"):
        join([np.zeros((rows, 1), dtype=np.float32) for rows in (5, 2)], plan(10, capacity=6, overlap=2))


@pytest.mark.parametrize("parts", [1, 3])
def test_joining_refuses_fewer_or_more_parts_than_windows(parts: int) -> None:
    with pytest.raises(ValueError, match="zip"):
        join([np.zeros((5, 1), dtype=np.float32)] * parts, plan(10, capacity=6, overlap=2))


@pytest.mark.parametrize(("side", "start"), [("head", 0), ("tail", 4)])
def test_truncation_keeps_the_side_that_was_asked_for(side: str, start: int) -> None:
    window = truncate(10, capacity=6, side="tail" if side == "tail" else "head")
    assert window == Window(start=start, stop=start + 6, keep_start=start, keep_stop=start + 6)
    encoded = Encoded(ids=np.arange(10), offsets=np.zeros((10, 2), dtype=np.int64), words=np.arange(10))
    assert kept_tokens(encoded, [window]).ids.tolist() == list(range(start, start + 6))
    assert len(truncate(3, capacity=6, side="tail")) == 3


WORDS = np.array([0, 0, 1, 2, 2, 2, 3])


@pytest.mark.parametrize(
    ("side", "capacity", "kept"),
    [
        ("head", 5, (0, 3)),
        ("tail", 3, (6, 7)),
        ("head", 3, (0, 3)),
        ("tail", 4, (3, 7)),
        ("head", 1, (0, 1)),
        ("head", 9, (0, 7)),
    ],
)
def test_truncation_leaves_out_the_word_at_the_border(side: str, capacity: int, kept: tuple[int, int]) -> None:
    window = truncate(7, capacity=capacity, side="tail" if side == "tail" else "head", words=WORDS)
    assert (window.start, window.stop) == kept == (window.keep_start, window.keep_stop)


def test_a_word_that_fills_the_window_is_cut() -> None:
    words = np.zeros(9, dtype=np.int64)
    assert len(truncate(9, capacity=4, side="head", words=words)) == len(truncate(9, capacity=4, side="tail", words=words)) == 4


@pytest.mark.parametrize(("tokens", "capacity", "overlap"), [(0, 5, 1), (9, 5, 5), (9, 5, -1)])
def test_what_cannot_be_planned_is_refused(tokens: int, capacity: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="token"):
        plan(tokens, capacity=capacity, overlap=overlap)


def test_a_token_outside_the_windows_has_no_centre() -> None:
    with pytest.raises(ValueError, match="10 lies outside 0:10"):
        centre(plan(10, capacity=6, overlap=2), 10)
    with pytest.raises(ValueError, match="-1 lies outside 0:14"):
        centre(plan(14, capacity=6, overlap=2), -1)
