from __future__ import annotations

import pytest

from drlongformer.serving.speed import Speed


def test_the_first_belief_holds_until_a_batch_was_measured() -> None:
    speed = Speed(0.5)
    assert (speed.seconds_per_slot, speed.tokens_per_second) == (0.5, 0.0)
    speed.add(slots=100, tokens=80, seconds=2.0)
    assert (speed.seconds_per_slot, speed.tokens_per_second) == (0.02, 40.0)


def test_a_large_batch_counts_for_more_than_a_small_one() -> None:
    speed = Speed()
    speed.add(slots=1000, tokens=1000, seconds=1.0)
    speed.add(slots=1, tokens=1, seconds=0.1)
    assert speed.seconds_per_slot == pytest.approx(0.0011, rel=0.02)


def test_what_changed_is_learnt_within_a_few_batches() -> None:
    speed = Speed()
    for seconds in [1.0] * 50 + [2.0] * 30:
        speed.add(slots=1000, tokens=1000, seconds=seconds)
    assert speed.seconds_per_slot == pytest.approx(0.002, rel=0.05)
