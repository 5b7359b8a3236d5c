"""Every way a document can end, and that it ends once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from drlongformer.errors import (
    Cancelled,
    DeadlineExceeded,
    DocumentTooLong,
    DrLongformerError,
    EngineFailed,
    NotReady,
    Overloaded,
)
from drlongformer.packing import EngineOutput, PackedBatch, pack, unpack
from drlongformer.serving.batcher import Batcher
from drlongformer.serving.budget import Budget
from drlongformer.serving.engine import FakeEngine, Stop
from drlongformer.serving.ledger import Computed, Outcome
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.queue import Terms
from drlongformer.serving.requests import Priority
from drlongformer.serving.runner import HANG_FACTOR, Station
from drlongformer.types import HIDDEN, WindowInput, WindowOutput
from tests.serving.factories import BLOCK, batcher, count, started, stations, window

POISON = 666


def fake(**told: object) -> FakeEngine:
    return FakeEngine({}, block=BLOCK, **told)  # type: ignore[arg-type]


class Now:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def alone(*windows: WindowInput) -> list[np.ndarray]:
    """What the engine answers about each window by itself."""
    engine = fake()
    answers = []
    for each in windows:
        batch = pack([each], block=BLOCK, heads=engine.heads)
        answers.append(unpack(batch, engine.run(batch))[0].rows[HIDDEN])
    return answers


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until a condition holds, which no event announces."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def outcomes(work: Batcher, *documents: WindowInput) -> list[Outcome]:
    return await work.submit_all([[document] for document in documents])


def assert_idle(metrics: Metrics) -> None:
    for lane in ("interactive", "bulk"):
        assert count(metrics, "queue_tokens", priority=lane) == count(metrics, "queue_documents", priority=lane) == 0


# The ways a document ends


async def test_success_settles_a_document_with_its_own_windows_in_order() -> None:
    windows = [window(1, 2, 3), window(4, 5, 6, 7, 8), window(9)]
    async with started(fake()) as work:
        outputs = await work.submit(windows)
    for output, expected in zip(outputs, alone(*windows), strict=True):
        np.testing.assert_array_equal(output.rows[HIDDEN], expected)


async def test_of_a_windows_answer_its_digest_is_kept() -> None:
    windows = [window(1, 2, 3), window(4)]
    async with started(fake()) as work:
        [outcome] = await work.submit_all([windows], digest=lambda output: output.rows[HIDDEN].sum())
    assert isinstance(outcome, Computed)
    assert outcome.windows == tuple(answer.sum() for answer in alone(*windows))


async def test_a_digest_that_breaks_settles_the_document_with_an_engine_error() -> None:
    def broken(_: WindowOutput) -> None:
        raise KeyError("a mistake")

    async with started(fake()) as work:
        [outcome] = await work.submit_all([[window(1), window(2)]], digest=broken)
        assert isinstance(outcome, EngineFailed)
        assert len(await work.submit([window(1)])) == 1


async def test_an_engine_error_settles_the_document_with_that_error() -> None:
    metrics = Metrics.create()
    async with started(fake(fail_on=POISON), metrics) as work:
        with pytest.raises(EngineFailed):
            await work.submit([window(POISON)])
        assert len(await work.submit([window(1)])) == 1
    assert count(metrics, "engine_failures_total", reason="engine_failed") == 1


async def test_a_caller_that_leaves_while_it_waits_is_dropped_before_the_engine() -> None:
    metrics, engine = Metrics.create(), fake(hang=True)
    async with started(engine, metrics) as work:
        first = asyncio.create_task(work.submit([window(1)]))
        await until(lambda: engine.batches)
        second = asyncio.create_task(work.submit([window(2), window(3)]))
        await until(lambda: count(metrics, "queue_tokens", priority="interactive") == 2)
        second.cancel()
        await asyncio.wait([second])
        assert second.cancelled()
        assert_idle(metrics)
        assert count(metrics, "cancelled_total", stage="queue") == 1
        first.cancel()
        await asyncio.wait([first])
    assert [batch.tokens for batch in engine.batches] == [1]


async def test_a_batch_that_nobody_waits_for_is_stopped_in_the_engine() -> None:
    metrics, engine = Metrics.create(), fake(hang=True)
    async with started(engine, metrics) as work:
        both = [asyncio.create_task(work.submit([window(1)])), asyncio.create_task(work.submit([window(2)]))]
        await until(lambda: engine.batches)
        await asyncio.sleep(0)
        for task in both:
            task.cancel()
        await asyncio.wait(both)
        engine.hang = False
        assert len(await work.submit([window(3)])) == 1
    assert count(metrics, "cancelled_total", stage="compute") >= 1


async def test_a_batch_that_somebody_still_waits_for_goes_on() -> None:
    engine = fake(delay_seconds=0.02)
    async with started(engine) as work:
        await work.submit([window(9)])
        leaves, stays = (asyncio.create_task(work.submit([window(n)])) for n in (1, 2))
        await until(lambda: len(engine.batches) == 2)
        leaves.cancel()
        assert len(await stays) == 1
    assert [len(batch.shares) for batch in engine.batches] == [1, 2]


async def test_a_deadline_settles_a_document_that_waits_and_one_that_is_computed() -> None:
    metrics, engine = Metrics.create(), fake(hang=True)
    async with started(engine, metrics) as work:
        now = asyncio.get_running_loop().time()
        running = asyncio.create_task(work.submit([window(1)], deadline=now + 2.0))
        await until(lambda: engine.batches)
        waiting = asyncio.create_task(work.submit([window(2)], deadline=now + 1.0))
        for task in (waiting, running):
            with pytest.raises(DeadlineExceeded):
                await task
        assert_idle(metrics)
    assert count(metrics, "deadline_exceeded_total", stage="compute") == 1
    assert count(metrics, "deadline_exceeded_total", stage="queue") == 1


async def test_a_deadline_is_a_time_of_the_batchers_clock() -> None:
    engine, now = fake(hang=True), Now()
    now.seconds = 1e6
    work = Batcher(stations(engine, budget=Budget.fixed(BLOCK)), metrics=Metrics.create(), max_queue_tokens=64, clock=now)
    await work.start()
    with pytest.raises(DeadlineExceeded, match=r"^the deadline passed before the document was computed$"):
        await asyncio.wait_for(work.submit([window(1)], deadline=1e6 + 0.05), timeout=5)
    assert len(engine.batches) == 1
    await work.stop()


async def test_a_deadline_that_has_passed_costs_the_engine_nothing() -> None:
    engine = fake()
    async with started(engine) as work:
        with pytest.raises(DeadlineExceeded):
            await work.submit([window(1)], deadline=asyncio.get_running_loop().time() - 1)
    assert not engine.batches


async def test_draining_answers_what_was_admitted_and_refuses_the_rest() -> None:
    engine = fake(delay_seconds=0.005)
    async with started(engine, batch=BLOCK) as work:
        admitted = [asyncio.create_task(work.submit([window(n)])) for n in range(3)]
        await until(lambda: engine.batches)
        drained = asyncio.create_task(work.drain())
        await asyncio.sleep(0)
        with pytest.raises(NotReady, match=r"^the service is draining$"):
            await work.submit([window(9)])
        await drained
        assert [len(await task) for task in admitted] == [1, 1, 1]


async def test_draining_ends_when_all_that_still_waited_came_too_late() -> None:
    engine, now = fake(delay_seconds=0.02), Now()
    work = Batcher(stations(engine, budget=Budget.fixed(BLOCK)), metrics=Metrics.create(), max_queue_tokens=64, clock=now)
    await work.start()
    first = asyncio.create_task(work.submit([window(1)]))
    late = asyncio.create_task(work.submit([window(2)], deadline=100.0))
    await until(lambda: engine.batches)
    now.seconds = 100.0
    await asyncio.wait_for(work.drain(), timeout=5)
    assert len(await first) == 1
    with pytest.raises(DeadlineExceeded, match=r"^the deadline passed while the document waited$"):
        await late
    assert len(engine.batches) == 1
    await work.stop()


async def test_shutdown_settles_what_runs_and_what_waits_and_stops_the_engine() -> None:
    metrics, engine = Metrics.create(), fake(hang=True)
    work = batcher(engine, metrics, batch=BLOCK)
    await work.start()
    tasks = [asyncio.create_task(work.submit([window(n)])) for n in range(3)]
    await until(lambda: engine.batches)
    await work.stop()
    for task in tasks:
        with pytest.raises(NotReady, match=r"^the service is shutting down$"):
            await task
    assert len(engine.batches) == 1
    assert_idle(metrics)
    with pytest.raises(NotReady, match=r"^the service is shutting down$"):
        await work.submit([window(1)])


async def test_before_it_is_started_work_is_refused() -> None:
    with pytest.raises(NotReady, match=r"^the engine has not started$"):
        await batcher(fake()).submit([window(1)])


async def test_if_the_loop_itself_ends_nobody_is_left_waiting() -> None:
    engine = fake(hang=True)
    work = batcher(engine, batch=BLOCK)
    await work.start()
    tasks = [asyncio.create_task(work.submit([window(n)])) for n in range(2)]
    await until(lambda: engine.batches)
    [loop] = work._loops
    loop.cancel()
    for task in tasks:
        with pytest.raises(EngineFailed, match=r"^the batching loop ended before this document was computed$"):
            await task
    with pytest.raises(EngineFailed, match=r"^a batching loop has ended by itself$"):
        work.require_alive()
    with pytest.raises(NotReady, match=r"^an engine is lost$"):
        await work.submit([window(1)])
    await work.stop()


# Failures stay with the document at fault


@pytest.mark.parametrize("place", range(5))
async def test_a_poisonous_document_fails_alone(place: int) -> None:
    engine = fake(fail_on=POISON)
    windows = [window(n + 1, POISON if n == place else 2) for n in range(5)]
    async with started(engine) as work:
        results = await outcomes(work, *windows)
    assert [isinstance(result, EngineFailed) for result in results] == [n == place for n in range(5)]
    for n, (result, expected) in enumerate(zip(results, alone(*windows), strict=True)):
        if n != place:
            assert isinstance(result, Computed)
            np.testing.assert_array_equal(result.windows[0].rows[HIDDEN], expected)


async def test_the_other_windows_of_a_failed_document_are_not_computed() -> None:
    engine = fake(fail_on=POISON)
    async with started(engine, batch=BLOCK) as work:
        with pytest.raises(EngineFailed):
            await work.submit([window(POISON), window(2), window(3)])
    assert len(engine.batches) == 1


async def test_a_window_that_asks_for_nothing_fails_alone() -> None:
    async with started(fake()) as work:
        results = await outcomes(work, window(1), replace(window(2), rows={}))
    assert [type(result) for result in results] == [Computed, EngineFailed]


class Diverging(FakeEngine):
    """Answers NaN about windows that hold the poison."""

    def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
        output = super().run(batch, stop)
        poisoned = (batch.input_ids == POISON).any(axis=1)[batch.query_blocks][batch.rows[HIDDEN] // self.block]
        return replace(output, rows={HIDDEN: np.where(poisoned[:, None], np.nan, output.rows[HIDDEN])})


async def test_numbers_that_are_not_finite_fail_their_document_alone() -> None:
    metrics = Metrics.create()
    async with started(Diverging({}, block=BLOCK), metrics) as work:
        results = await outcomes(work, window(1), window(POISON), window(3))
    assert [type(result) for result in results] == [Computed, EngineFailed, Computed]
    assert count(metrics, "engine_failures_total", reason="not_finite") == 1


class Quitting(FakeEngine):
    """Says it was stopped though nobody stopped it."""

    def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
        raise Cancelled(f"{len(batch.shares)} windows, {stop}")


async def test_an_engine_that_stops_by_itself_leaves_nobody_waiting() -> None:
    async with started(Quitting({}, block=BLOCK)) as work:
        with pytest.raises(Cancelled):
            await work.submit([window(1)])


# Admission


async def test_a_request_is_admitted_whole_or_refused_whole() -> None:
    metrics, engine = Metrics.create(), fake(hang=True)
    async with started(engine, metrics, batch=BLOCK, queue=3 * BLOCK) as work:
        running = asyncio.create_task(work.submit([window(0)]))
        await until(lambda: engine.batches)
        two = asyncio.create_task(outcomes(work, window(1), window(2)))
        await until(lambda: count(metrics, "queue_documents", priority="interactive") == 2)
        with pytest.raises(Overloaded) as refused:
            await outcomes(work, window(3), window(4))
        assert refused.value.retry_after_seconds is not None
        assert count(metrics, "queue_documents", priority="interactive") == 2
        for task in (running, two):
            task.cancel()
        await asyncio.wait([running, two])


async def test_retry_after_is_the_time_until_there_is_room() -> None:
    engine = fake(hang=True)
    work = Batcher(
        stations(engine, budget=Budget.fixed(BLOCK)),
        metrics=Metrics.create(),
        max_queue_tokens=2 * BLOCK,
        seconds_per_slot=10.0,
        clock=lambda: 0.0,
    )
    await work.start()
    tasks = [asyncio.create_task(outcomes(work, window(0)))]
    await until(lambda: engine.batches)
    tasks.append(asyncio.create_task(outcomes(work, window(1), window(2))))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await work.submit([window(3)])
    assert refused.value.retry_after_seconds == 2 * BLOCK * 10.0
    await work.stop()
    await asyncio.wait(tasks)


async def test_asking_for_room_tells_what_submitting_would() -> None:
    engine = fake(hang=True)
    async with started(engine, batch=BLOCK, queue=3 * BLOCK) as work:
        running = asyncio.create_task(work.submit([window(0)]))
        await until(lambda: engine.batches)
        waiting = asyncio.create_task(work.submit([window(1)]))
        await asyncio.sleep(0)
        assert work.slots_of([1, BLOCK + 1]) == 3 * BLOCK
        work.require_space(2 * BLOCK, Terms())
        assert work.has_space(2 * BLOCK, Terms())
        assert not work.has_space(2 * BLOCK + 1, Terms())
        with pytest.raises(Overloaded):
            work.require_space(2 * BLOCK + 1, Terms())
        with pytest.raises(DocumentTooLong):
            work.require_space(3 * BLOCK + 1, Terms())
        for task in (running, waiting):
            task.cancel()
        await asyncio.wait([running, waiting])


async def test_a_deadline_that_cannot_be_met_is_refused_at_once_and_counted() -> None:
    metrics, engine, now = Metrics.create(), fake(), Now()
    work = Batcher(stations(engine, budget=Budget.fixed(BLOCK)), metrics=metrics, max_queue_tokens=64, clock=now)
    await work.start()
    with pytest.raises(DeadlineExceeded, match=r"at least 0\.0 seconds to compute"):
        await work.submit_all([[window(1)], [window(2)]], deadline=-1.0)
    assert count(metrics, "deadline_exceeded_total", stage="admission") == 2
    assert not engine.batches
    await work.stop()


async def test_a_deadline_that_its_callers_own_work_makes_impossible_is_refused_and_others_with_the_same_are_not() -> None:
    """Four seconds are left of what is computed, eight more of the caller's own work wait."""
    engine, now = fake(hang=True), Now()
    now.seconds = 100.0
    station, metrics = stations(engine, budget=Budget.fixed(BLOCK)), Metrics.create()
    work = Batcher(station, metrics=metrics, max_queue_tokens=256, seconds_per_slot=1.0, clock=now)
    await work.start()
    asked = [asyncio.create_task(work.submit_all([[window(0)]]))]
    await until(lambda: engine.batches)
    asked.append(asyncio.create_task(work.submit_all([[window(1)], [window(2)]], caller="own")))
    await until(lambda: work.queued_slots == 2 * BLOCK)
    with pytest.raises(Overloaded, match=r"would miss its deadline in 5\.0 seconds"):
        await asyncio.wait_for(work.submit_all([[window(3)]], caller="own", deadline=105.0), timeout=4)
    asked.append(asyncio.create_task(work.submit_all([[window(3)]], caller="other", deadline=105.0)))
    await until(lambda: work.queued_slots == 3 * BLOCK)
    await work.stop()
    await asyncio.wait(asked)


async def test_who_holds_much_of_the_queue_leaves_its_last_eighth_to_others() -> None:
    engine = fake(hang=True)
    async with started(engine, batch=BLOCK, queue=17 * BLOCK) as work:
        asked = [asyncio.create_task(work.submit_all([[window(0)]]))]
        await until(lambda: engine.batches)
        asked.append(asyncio.create_task(work.submit_all([[window(1)]] * 15, caller="greedy")))
        await until(lambda: work.queued_slots == 15 * BLOCK)
        with pytest.raises(Overloaded):
            await asyncio.wait_for(work.submit_all([[window(2)]], caller="greedy"), timeout=5)
        asked.append(asyncio.create_task(work.submit_all([[window(3)]] * 2, caller="modest")))
        await until(lambda: work.queued_slots == 17 * BLOCK)
    await asyncio.wait(asked)


async def test_a_queue_that_holds_one_batch_only_keeps_nothing_back() -> None:
    async with started(fake(), batch=16 * BLOCK, queue=16 * BLOCK) as work:
        outcomes = await work.submit_all([[window(1)]] * 16, caller="greedy")
    assert [type(outcome) for outcome in outcomes] == [Computed] * 16


class Elsewhere(FakeEngine):
    """Is on a device of another name."""

    device = "cuda:0"


@pytest.mark.parametrize(
    ("engines", "names"),
    [([FakeEngine], ["cpu"]), ([FakeEngine, Elsewhere, FakeEngine, FakeEngine], ["cpu:0", "cuda:0", "cpu:1", "cpu:2"])],
)
def test_each_engine_is_in_the_metrics_by_its_device_numbered_where_there_are_several(
    engines: list[type[FakeEngine]], names: list[str]
) -> None:
    metrics = Metrics.create()
    on = [Station(engine=engine({}, block=BLOCK), budget=Budget.fixed(BLOCK)) for engine in engines]
    Batcher(on, metrics=metrics, max_queue_tokens=64)
    [busy] = [each for each in metrics.registry.collect() if each.name == "drlongformer_engine_busy_seconds"]
    assert [sample.labels["device"] for sample in busy.samples] == names


async def test_a_caller_behind_another_with_much_work_has_its_turn() -> None:
    engine = fake(delay_seconds=0.002)
    ended: list[str] = []

    async def call(work: Batcher, caller: str) -> None:
        await work.submit_all([[window(1)]], caller=caller)
        ended.append(caller)

    async with started(engine, batch=BLOCK) as work:
        greedy = [asyncio.create_task(call(work, "greedy")) for _ in range(20)]
        await until(lambda: engine.batches)
        modest = asyncio.create_task(call(work, "modest"))
        await asyncio.gather(*greedy, modest)
    assert ended.index("modest") < 5


async def test_a_request_that_no_empty_queue_could_hold_is_too_long() -> None:
    async with started(fake(), queue=64) as work:
        with pytest.raises(DocumentTooLong, match=r"takes 68 token slots, the whole queue holds 64.*cannot be admitted"):
            await work.submit([window(length=65)])


async def test_a_document_without_windows_is_a_mistake_of_its_caller() -> None:
    async with started(fake()) as work:
        with pytest.raises(ValueError, match=r"^a document has at least one window$"):
            await work.submit([])
        assert work.queued_slots == 0


async def test_a_document_waits_in_the_lane_it_was_sent_to() -> None:
    metrics, engine = Metrics.create(), fake(hang=True)
    async with started(engine, metrics) as work:
        asked = [asyncio.create_task(work.submit([window(1)]))]
        await until(lambda: engine.batches)
        asked.append(asyncio.create_task(work.submit([window(2, 3)], priority="bulk")))
        await until(lambda: work.queued_slots)
        waiting = [count(metrics, "queue_tokens", priority=lane) for lane in ("interactive", "bulk")]
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
    assert waiting == [0, 2]


async def test_a_turn_is_worth_the_largest_budget_of_all_engines_whichever_computes_it() -> None:
    """The engine of four blocks hangs; the one of a single block gives the first caller four batches, then the second."""
    engines, budgets = [fake(hang=True), fake()], [Budget.fixed(4 * BLOCK), Budget.fixed(BLOCK)]
    work = Batcher(
        [Station(engine=engine, budget=budget) for engine, budget in zip(engines, budgets, strict=True)],
        metrics=Metrics.create(),
        max_queue_tokens=256,
    )
    await work.start()
    held = asyncio.create_task(work.submit([window(9)]))
    await until(lambda: engines[0].batches)
    documents = {caller: [[window(number)]] * 5 for number, caller in enumerate(("one", "other"), start=1)}
    await asyncio.gather(*(work.submit_all(sent, caller=caller) for caller, sent in documents.items()))
    await work.stop()
    await asyncio.wait([held])
    assert [int(batch.input_ids[0, 0]) for batch in engines[1].batches] == [1] * 4 + [2] * 4 + [1, 2]


async def test_callers_have_turns_by_their_weights_which_are_alike_unless_told() -> None:
    engine = fake()
    async with started(engine, batch=BLOCK) as work:
        told: list[dict[str, Any]] = [{"caller": "one", "weight": 2.0}, {"caller": "other", "weight": 1.0}, {"caller": "third"}]
        await asyncio.gather(*(work.submit_all([[window(n)]] * 4, **each) for n, each in enumerate(told, start=1)))
    assert [int(batch.input_ids[0, 0]) for batch in engine.batches][:8] == [1, 1, 2, 3] * 2


def test_a_queue_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="a queue of 32 tokens cannot hold one batch of 64"):
        batcher(fake(), batch=64, queue=32)


# Batches


async def test_what_waits_while_the_engine_works_goes_together_next() -> None:
    metrics, engine = Metrics.create(), fake(delay_seconds=0.02)
    async with started(engine, metrics) as work:
        first = asyncio.create_task(work.submit([window(1)]))
        await until(lambda: engine.batches)
        rest = [asyncio.create_task(work.submit([window(n, n)])) for n in range(2, 7)]
        await asyncio.gather(first, *rest)
    assert [len(batch.shares) for batch in engine.batches] == [1, 5]
    assert count(metrics, "token_slots_total") == 6 * BLOCK
    assert count(metrics, "padding_slots_total") == 6 * BLOCK - 11
    assert count(metrics, "batch_documents_count") == 2
    assert count(metrics, "cold_shapes_total") == 2


async def test_no_batch_exceeds_the_budget() -> None:
    engine = fake()
    async with started(engine, batch=2 * BLOCK) as work:
        await outcomes(work, *(window(length=n) for n in (1, 5, 4, 8, 3)))
    assert all(batch.slots <= 2 * BLOCK for batch in engine.batches)


class Small(FakeEngine):
    """Has memory for one block only."""

    def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
        if batch.slots > BLOCK:
            self.batches.append(batch)
            raise EngineFailed(f"no memory for {batch.slots} slots")
        return super().run(batch, stop)


async def test_a_batch_too_large_for_the_device_is_computed_in_parts_and_not_tried_again() -> None:
    engine, budget = Small({}, block=BLOCK), Budget([BLOCK, 2 * BLOCK], start=BLOCK)
    work = Batcher(stations(engine, budget=budget), metrics=Metrics.create(), max_queue_tokens=64 * BLOCK)
    await work.start()
    results = await outcomes(work, *(window(n) for n in range(1, 41)))
    await work.stop()
    assert all(isinstance(result, Computed) for result in results)
    assert [batch.slots for batch in engine.batches].count(2 * BLOCK) == 1
    assert budget.most == BLOCK


async def test_the_budget_is_learnt_from_the_batches() -> None:
    engine, budget = fake(delay_seconds=0.002), Budget([BLOCK, 2 * BLOCK, 4 * BLOCK], start=BLOCK)
    work = Batcher(stations(engine, budget=budget), metrics=Metrics.create(), max_queue_tokens=256 * BLOCK)
    await work.start()
    await work.submit_all([[window(n)] for n in range(1, 129)], priority="bulk")
    await work.stop()
    assert budget.slots == 4 * BLOCK  # every batch takes as long


class Ticking(FakeEngine):
    """An engine that takes a second of the test's clock for each slot."""

    def __init__(self, now: Now) -> None:
        super().__init__({}, block=BLOCK)
        self._now = now

    def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
        self._now.seconds += batch.slots
        return super().run(batch, stop)


@pytest.mark.parametrize(("lane", "later", "largest"), [("interactive", 4.0, 1), ("interactive", 30.0, 3), ("bulk", 4.0, 3)])
async def test_a_batch_is_short_while_people_ask_and_as_large_as_is_fastest_when_bulk_is_alone(
    lane: Priority, later: float, largest: int
) -> None:
    now, ladder = Now(), Budget([BLOCK, 2 * BLOCK, 4 * BLOCK], start=4 * BLOCK)
    engine = Ticking(now)
    work = Batcher(stations(engine, budget=ladder), metrics=Metrics.create(), max_queue_tokens=256, clock=now)
    await work.start()
    await work.submit([window(1)], priority=lane)
    now.seconds = later
    await work.submit_all([[window(n)] for n in range(3)], priority="bulk")
    await work.stop()
    assert max(batch.slots for batch in engine.batches) == largest * BLOCK


async def test_queue_and_compute_add_up_to_the_time_in_the_batcher() -> None:
    engine = fake(delay_seconds=0.01)
    clock = asyncio.get_running_loop().time
    async with started(engine, batch=BLOCK) as work:
        began = clock()
        first, second = await outcomes(work, window(1), window(2))
        total = clock() - began
    assert isinstance(first, Computed)
    assert isinstance(second, Computed)
    assert second.queue_seconds >= first.compute_seconds >= 0.01
    assert second.queue_seconds + second.compute_seconds <= total


async def test_no_documents_cost_nothing() -> None:
    async with started(fake()) as work:
        assert await work.submit_all([]) == []


async def test_an_engine_that_hangs_is_told_once_the_limit_has_passed() -> None:
    engine, now = fake(hang=True), Now()
    work = Batcher(
        stations(engine, budget=Budget.fixed(BLOCK)),
        metrics=Metrics.create(),
        max_queue_tokens=64,
        seconds_per_slot=1.0,
        clock=now,
    )
    await work.start()
    task = asyncio.create_task(work.submit([window(1)]))
    await until(lambda: engine.batches)
    now.seconds = HANG_FACTOR * BLOCK
    work.require_alive()
    now.seconds += 0.6
    with pytest.raises(EngineFailed, match="a batch has run for 81 seconds, the limit is 80"):
        work.require_alive()
    await work.stop()
    work.require_alive()
    await asyncio.wait([task])


async def test_many_callers_that_come_leave_and_fail_are_each_settled_once() -> None:
    metrics = Metrics.create()
    random = np.random.default_rng(0)
    ends: list[str] = []

    async def call(work: Batcher, n: int) -> None:
        windows = [window(*random.integers(1, 9, random.integers(1, 9))) for _ in range(random.integers(1, 4))]
        if n % 7 == 0:
            windows.append(window(POISON))
        deadline = asyncio.get_running_loop().time() + 0.004 if n % 5 == 0 else None
        try:
            outputs = await work.submit(windows, deadline=deadline, priority="bulk" if n % 2 else "interactive")
            for output, expected in zip(outputs, alone(*windows), strict=True):
                np.testing.assert_array_equal(output.rows[HIDDEN], expected)
            ends.append("success")
        except DrLongformerError as error:
            ends.append(type(error).__name__)
        except asyncio.CancelledError:
            ends.append("cancelled")

    async with started(fake(fail_on=POISON, delay_seconds=0.001), metrics, batch=8 * BLOCK, queue=60 * BLOCK) as work:
        tasks = []
        for n in range(150):
            tasks.append(asyncio.create_task(call(work, n)))
            if n % 3 == 0:
                await asyncio.sleep(0.0005)
            if n % 11 == 0:
                tasks[n // 2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not work._ledger
    assert_idle(metrics)
    never_ran = len(tasks) - len(ends)
    assert never_ran <= 3  # cancelled before their first step
    assert {"success", "EngineFailed", "Overloaded"} <= set(ends)


async def test_after_a_thousand_callers_have_left_nothing_of_them_is_left() -> None:
    """They leave while they wait, while they are computed and after they were answered; others stay and are answered."""
    metrics, random = Metrics.create(), np.random.default_rng(0)
    engine = fake(delay_seconds=0.001)
    async with started(engine, metrics, batch=16 * BLOCK, queue=4000 * BLOCK) as work:

        async def call(n: int) -> int:
            return len(await work.submit([window(n % 9 + 1)] * (1 + n % 3), priority="bulk" if n % 2 else "interactive"))

        leaving = [asyncio.create_task(call(n)) for n in range(1000)]
        staying = [asyncio.create_task(call(n)) for n in range(50)]
        for place in random.permutation(1000):
            if place % 10 == 0:
                await asyncio.sleep(0.001)
            leaving[place].cancel()
        await asyncio.wait(leaving)
        assert [await task for task in staying] == [1 + n % 3 for n in range(50)]
        left = sum(task.cancelled() for task in leaving)
        at_stages = {stage: count(metrics, "cancelled_total", stage=stage) for stage in ("queue", "compute")}
        # Some left before they had asked, or once they were answered.
        assert sum(at_stages.values()) <= left <= sum(at_stages.values()) + 100
        assert min(at_stages.values()) > 0
        assert not work._ledger
        assert not work._queue
        assert_idle(metrics)
        computed = sum(len(batch.shares) for batch in engine.batches)
        assert computed < 2000, "work that waited for those who left was skipped"
