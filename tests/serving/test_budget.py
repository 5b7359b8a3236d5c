"""The smallest batch that is nearly as fast as the best is found from the batches themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drlongformer.serving.budget import ENOUGH, STALE, WITHIN, Budget

LOTS = 1 << 20


def seconds(*, startup: float = 0.0, slow_beyond: float = LOTS) -> Callable[[int], float]:
    """An engine that takes a second per 1000 slots, and `startup` for each batch; twice as long beyond a size."""
    return lambda slots: startup + slots / 1000 * (2 if slots > slow_beyond else 1)


def work(budget: Budget, engine: Callable[[int], float], *, waiting: int = LOTS, batches: int = 200) -> list[int]:
    """Full batches, one after the other; their sizes."""
    sizes = []
    for _ in range(batches):
        sizes.append(min(waiting, budget.next(waiting)))
        budget.add(slots=sizes[-1], seconds=engine(sizes[-1]))
    return sizes


def refined(windows: int = 4, most: int = 64) -> Budget:
    return Budget.refined(window=100, windows=windows, most_windows=most)


def test_an_engine_that_is_equally_fast_with_any_batch_gets_the_smallest() -> None:
    budget = refined()
    sizes = work(budget, seconds())
    assert budget.slots == 100
    assert max(sizes) == 800  # the next larger one was tried, and no more


@pytest.mark.parametrize("startup", [0.01, 0.1, 0.3])
def test_an_engine_with_a_cost_per_batch_gets_the_smallest_within_five_percent_of_the_best(startup: float) -> None:
    budget, engine = refined(windows=1), seconds(startup=startup)
    work(budget, engine)
    ladder = [100 << power for power in range(7)]
    tried = [slots for slots in ladder if slots <= 4 * budget.slots]
    peak = max(slots / engine(slots) for slots in tried)
    assert budget.slots == next(slots for slots in tried if slots / engine(slots) >= (1 - WITHIN) * peak)
    assert budget.slots > 100


def test_an_engine_that_slows_down_with_large_batches_stays_below() -> None:
    budget = refined(windows=1)
    sizes = work(budget, seconds(startup=0.3, slow_beyond=400))
    assert budget.slots == 400
    assert sizes.count(800) == ENOUGH + 1


def test_larger_batches_are_tried_only_while_enough_waits_for_them() -> None:
    budget = refined(windows=1)
    assert set(work(budget, seconds(startup=1.0), waiting=150)) == {100}


def test_half_empty_batches_say_nothing() -> None:
    budget = refined(windows=4)
    for size, slots_per_second in ((200, 1000), (400, 2000)) * 10:
        budget.add(slots=size, seconds=size / slots_per_second)
    for _ in range(100):
        budget.add(slots=250, seconds=1000.0)
    assert budget.slots == 400


def test_a_size_that_fails_is_left_with_all_above_it() -> None:
    budget = refined(windows=1, most=4)
    while budget.next(LOTS) == 100:
        budget.add(slots=100, seconds=1.0)
    assert budget.fail(slots=200)
    assert budget.most == 100
    assert set(work(budget, seconds(startup=1.0))) == {100}


def test_a_failure_of_a_usual_batch_says_nothing_of_its_size() -> None:
    budget = refined(windows=4)
    assert not budget.fail(slots=400)
    assert budget.most == 6400


def test_what_changed_is_noticed_after_a_while() -> None:
    budget = refined(windows=1, most=8)
    work(budget, seconds())
    assert budget.slots == 100
    work(budget, seconds(startup=1.0), batches=STALE + 200)
    assert budget.slots == 800


def test_it_says_when_another_budget_is_chosen() -> None:
    budget, told, changed = refined(windows=4), [], []
    for _ in range(50):
        before = budget.slots
        size = budget.next(LOTS)
        told.append(budget.add(slots=size, seconds=seconds()(size)))
        changed.append(budget.slots != before)
    assert told == changed
    assert sum(told) == 2  # from 400 to 200 to 100


def test_a_fixed_budget_stays() -> None:
    budget = Budget.fixed(300)
    assert set(work(budget, seconds(startup=1.0))) == {300}
    assert (budget.slots, budget.most) == (300, 300)


@pytest.mark.parametrize(("ladder", "start"), [([], 1), ([2, 1], 1), ([1, 1], 1), ([0, 1], 1), ([1, 2], 3)])
def test_a_ladder_that_is_none_is_refused(ladder: list[int], start: int) -> None:
    with pytest.raises(ValueError, match="budgets rise"):
        Budget(ladder, start=start)


def test_what_did_not_fit_in_memory_is_left_with_all_above_it_even_if_it_was_chosen() -> None:
    budget = Budget([4, 8, 16, 32], start=16)
    budget.shrink(below=16)
    assert (budget.slots, budget.most) == (8, 8)
    budget.shrink(below=16)
    assert (budget.slots, budget.most) == (8, 8)


def test_a_budget_that_is_small_enough_stays_when_memory_runs_short() -> None:
    budget = Budget([4, 8, 16, 32], start=4)
    budget.shrink(below=17)
    assert (budget.slots, budget.most) == (4, 16)


def test_the_smallest_budget_stays_whatever_does_not_fit() -> None:
    budget = Budget([4, 8], start=8)
    budget.shrink(below=3)
    assert (budget.slots, budget.most) == (4, 4)


def test_no_batch_is_larger_than_what_others_can_wait_for_unless_nothing_smaller_is_there() -> None:
    budget = refined(windows=1)
    work(budget, seconds(startup=0.3))
    assert budget.slots > 400
    assert [budget.next(LOTS, most=most) for most in (LOTS, 450, 400, 399, 99)] == [budget.slots, 400, 400, 200, 100]


def test_what_others_cannot_wait_for_is_not_tried_either() -> None:
    budget = refined(windows=1)
    for _ in range(50):
        slots = budget.next(LOTS, most=250)
        budget.add(slots=slots, seconds=seconds(startup=1.0)(slots))
        assert slots <= 200
    assert budget.slots == 200
