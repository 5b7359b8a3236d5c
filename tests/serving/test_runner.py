"""One engine at work: where it computes, and what becomes of the parts of a batch that failed."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from drlongformer.errors import DeadlineExceeded, DeviceOutOfMemory, EngineFailed
from drlongformer.packing import EngineOutput, PackedBatch
from drlongformer.serving.batcher import Batcher
from drlongformer.serving.budget import Budget
from drlongformer.serving.engine import FakeEngine, Stop
from drlongformer.serving.figures import Figures
from drlongformer.serving.ledger import Computed, Ledger
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.runner import Runner, Station
from drlongformer.serving.speed import Speed
from tests.serving.factories import BLOCK, count, window


class Timed(FakeEngine):
    """Each batch takes a second on the batcher's clock, which stands still otherwise. threads: where it ran."""

    def __init__(self, *failures: EngineFailed | None) -> None:
        super().__init__({}, block=BLOCK, failures=failures)
        self.now = 0.0
        self.threads: set[int] = set()

    def clock(self) -> float:
        return self.now

    def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
        self.now += 1
        self.threads.add(threading.get_ident())
        return super().run(batch, stop)


def batcher(engine: Timed, *, budget: Budget, metrics: Metrics | None = None) -> Batcher:
    return Batcher(
        [Station(engine=engine, budget=budget)],
        metrics=metrics or Metrics.create(),
        max_queue_tokens=64 * BLOCK,
        clock=engine.clock,
    )


async def test_an_engine_computes_in_the_thread_of_its_station() -> None:
    own: list[int] = []
    with ThreadPoolExecutor(max_workers=1, initializer=lambda: own.append(threading.get_ident())) as thread:
        engine = Timed()
        station = Station(engine=engine, budget=Budget.fixed(BLOCK), thread=thread)
        work = Batcher([station], metrics=Metrics.create(), max_queue_tokens=64)
        await work.start()
        await work.submit([window(n) for n in range(1, 6)])
        await work.stop()
    assert [*engine.threads] == own


def test_a_station_has_a_thread_of_its_own_that_does_one_thing_at_a_time() -> None:
    thread, end = Station(engine=Timed(), budget=Budget.fixed(BLOCK)).thread, threading.Event()
    thread.submit(end.wait)
    second = thread.submit(lambda: threading.current_thread().name)
    try:
        with pytest.raises(TimeoutError):
            second.result(timeout=0.05)
    finally:
        end.set()
    assert second.result(timeout=5).startswith("engine")
    thread.shutdown()


async def test_closing_waits_for_nothing_and_begins_nothing() -> None:
    station, end, metrics = Station(engine=Timed(), budget=Budget.fixed(BLOCK)), threading.Event(), Metrics.create()
    runner = Runner(
        station,
        name="cpu",
        ledger=Ledger(),
        speed=Speed(),
        figures=Figures(metrics),
        clock=station.engine.clock,  # type: ignore[attr-defined]
        give_up=lambda _documents, _error: None,
    )
    assert metrics.registry.get_sample_value("drlongformer_engine_busy_seconds_total", {"device": "cpu"}) == 0.0
    stuck, waiting = station.thread.submit(end.wait), station.thread.submit(int)
    try:
        await asyncio.wait_for(asyncio.to_thread(runner.close), timeout=5)
        assert waiting.cancelled()
        assert not stuck.done()
    finally:
        end.set()


@pytest.mark.parametrize("late", [0, 3])
async def test_what_becomes_late_while_a_batch_is_tried_in_parts_is_told_so_and_not_computed(late: int) -> None:
    """A batch of four fails at 1 s; the document whose deadline passed by then is left out of its half, the others are not."""
    engine = Timed(EngineFailed("told to fail"))
    work = batcher(engine, budget=Budget.fixed(64))
    await work.start()
    asked = [asyncio.create_task(work.submit_all([[window(n + 1)]], deadline=0.5 if n == late else 1000.0)) for n in range(4)]
    outcomes = [outcome for [outcome] in await asyncio.wait_for(asyncio.gather(*asked), timeout=5)]
    await work.stop()
    assert [type(outcome) for outcome in outcomes] == [DeadlineExceeded if n == late else Computed for n in range(4)]
    assert str(outcomes[late]) == "the deadline passed while the document waited"
    assert sorted(len(batch.shares) for batch in engine.batches) == [1, 2, 4]


async def test_a_half_of_which_nobody_waits_for_anything_does_not_keep_the_other_half_waiting() -> None:
    engine = Timed(EngineFailed("told to fail"))
    work = batcher(engine, budget=Budget.fixed(64))
    await work.start()
    late = asyncio.create_task(work.submit_all([[window(1)], [window(2)]], deadline=0.5))
    rest = asyncio.create_task(work.submit_all([[window(3)], [window(4)]]))
    outcomes = await asyncio.wait_for(asyncio.gather(late, rest), timeout=5)
    await work.stop()
    assert [[type(outcome) for outcome in each] for each in outcomes] == [[DeadlineExceeded] * 2, [Computed] * 2]
    assert [len(batch.shares) for batch in engine.batches] == [4, 2]


async def test_too_little_memory_is_counted_as_such_and_the_budget_stays_below_what_did_not_fit() -> None:
    engine, metrics = Timed(DeviceOutOfMemory("told to have none")), Metrics.create()
    budget = Budget([BLOCK, 2 * BLOCK, 4 * BLOCK, 8 * BLOCK], start=8 * BLOCK)
    work = batcher(engine, budget=budget, metrics=metrics)
    await work.start()
    outcomes = await work.submit_all([[window(n)] for n in range(1, 9)])
    await work.stop()
    assert [type(outcome) for outcome in outcomes] == [Computed] * 8
    failed, *rest = (len(batch.shares) for batch in engine.batches)
    assert all(windows <= failed // 2 for windows in rest)
    assert budget.most == failed // 2 * BLOCK
    assert count(metrics, "engine_failures_total", reason="device_out_of_memory") == 1


async def test_a_lone_window_without_memory_ends_its_document_with_that_error() -> None:
    engine = Timed(DeviceOutOfMemory("told to have none"))
    work = batcher(engine, budget=Budget.fixed(64))
    await work.start()
    [outcome] = await work.submit_all([[window(1)]])
    await work.stop()
    assert isinstance(outcome, DeviceOutOfMemory)
    assert len(engine.batches) == 1


async def test_a_size_is_new_to_each_engine_that_computes_it_first() -> None:
    metrics, engines = Metrics.create(), [Timed(), Timed()]
    work = Batcher(
        [Station(engine=engine, budget=Budget.fixed(64)) for engine in engines], metrics=metrics, max_queue_tokens=256
    )
    await work.start()
    for _ in range(2):
        await work.submit([window(1), window(2)])
    await work.stop()
    assert [len(engine.batches) for engine in engines] == [2, 2]
    assert count(metrics, "cold_shapes_total") == 2
