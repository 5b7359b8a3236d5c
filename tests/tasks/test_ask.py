"""Several tasks' questions about one window, as one."""

from __future__ import annotations

import numpy as np
import pytest

from drlongformer.tasks.ask import Ask, joined

FIRST = np.zeros(1, dtype=np.int64)


def test_joined_asks_hold_what_each_asked() -> None:
    sums = np.zeros(4, dtype=np.int64)
    both = joined([Ask(rows={"ner": np.arange(4)}), Ask(rows={"classify": FIRST}), Ask(segments=sums)])
    assert {name: rows.tolist() for name, rows in both.rows.items()} == {"ner": [0, 1, 2, 3], "classify": [0]}
    assert both.segments is sums


def test_two_tasks_cannot_read_one_output_differently() -> None:
    with pytest.raises(ValueError, match="ner"):
        joined([Ask(rows={"ner": np.arange(4)}), Ask(rows={"ner": FIRST})])


def test_two_tasks_cannot_both_number_the_sums() -> None:
    with pytest.raises(ValueError, match="2 tasks ask for sums"):
        joined([Ask(segments=FIRST), Ask(segments=FIRST)])
