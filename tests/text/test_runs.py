"""Runs hold everything once and in order, and each ends as soon as it is full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drlongformer.text.runs import runs


def test_the_example_of_the_docstring() -> None:
    assert list(runs([4, 4, 12, 1, 1, 1, 2], int, most=3, most_characters=10)) == [[4, 4, 12], [1, 1, 1], [2]]


@given(st.lists(st.integers(0, 20)), st.integers(1, 5), st.integers(1, 30))
def test_runs_hold_everything_once_and_only_the_last_is_not_full(sizes: list[int], most: int, most_characters: int) -> None:
    found = list(runs(sizes, int, most=most, most_characters=most_characters))
    assert [size for run in found for size in run] == sizes
    for run in found:
        assert 1 <= len(run) <= most
        assert sum(run[:-1]) < most_characters
    for run in found[:-1]:
        assert len(run) == most or sum(run) >= most_characters
