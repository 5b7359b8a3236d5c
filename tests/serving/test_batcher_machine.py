"""A batcher on a clock and engines of the test's own, through anything that can happen, against a plain model of it.

QUEUE_RUNS=10000 makes a long check of it; the default is a short one.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from drlongformer.errors import (
    Cancelled,
    DeadlineExceeded,
    DeviceLost,
    DeviceOutOfMemory,
    DocumentTooLong,
    EngineFailed,
    NotReady,
    Overloaded,
)
from drlongformer.packing import blocks_of, pack, unpack
from drlongformer.serving.batcher import Batcher
from drlongformer.serving.budget import Budget
from drlongformer.serving.engine import FakeEngine, Stop
from drlongformer.serving.ledger import Computed, Outcome
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.queue import OVERTAKING
from drlongformer.serving.requests import PRIORITIES, Priority
from drlongformer.serving.runner import Station
from drlongformer.types import HIDDEN, WindowInput
from tests.serving.factories import BLOCK, count, window

RUNS = int(os.environ.get("QUEUE_RUNS", "40"))
BATCH = 8 * BLOCK
QUEUE = 40 * BLOCK
RESERVE = 5 * BLOCK
POISON = 666
SECONDS_PER_SLOT = 0.25
SETTLING_STEPS = 12
REFUSALS = (Overloaded, DocumentTooLong, DeadlineExceeded, NotReady)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when it is told."""

    now = 1000.0

    def time(self) -> float:
        return self.now


class Bench(Executor):
    """An engine's thread that computes when it is told, in the caller's own; `order` of its batch among those of all."""

    def __init__(self, orders: Iterator[int]) -> None:
        self.orders = orders
        self.order = 0
        self.future: Future[Any] | None = None
        self.call: Callable[[], Any] = lambda: None
        self.windows: list[WindowInput] = []
        self.stop = Stop()
        self.batch: list[WindowInput] = []
        self.hangs = self.lost = False
        self.begun = self.seen = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        assert self.future is None, "two batches at a time"
        self.future, self.call, self.windows, self.stop = Future(), lambda: fn(*args, **kwargs), args[1], args[3]
        self.begun += 1
        self.order = next(self.orders)
        return self.future

    def finish(self, error: EngineFailed | Cancelled | None = None) -> EngineFailed | Cancelled | None:
        """End the batch as it ends by itself, or with this error; what it ended with."""
        assert self.future is not None
        future, self.future, self.hangs = self.future, None, False
        answers = None
        try:
            answers = self.call()
        except (EngineFailed, Cancelled) as raised:
            error = error or raised
        if error is None:
            future.set_result(answers)
        else:
            future.set_exception(error)
        return error


@dataclass(frozen=True, kw_only=True)
class Place:
    """A window, as the model of the queue knows it."""

    call: int
    document: int
    caller: tuple[Priority, str]
    arrival: float
    rank: float
    slots: int
    tokens: int


@dataclass(kw_only=True)
class Call:
    """A request, as its caller knows it."""

    task: asyncio.Task[list[Outcome]]
    documents: list[list[WindowInput]]
    deadline: float | None
    left: bool = False
    failed: set[int] = field(default_factory=set)


def slots_of(window: WindowInput) -> int:
    return blocks_of(len(window), BLOCK) * BLOCK


class BatcherMachine(RuleBasedStateMachine):
    """Rules are what callers, the engine and time do; `waiting` is what should be in the queue."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.benches: list[Bench] = []
        self.metrics = Metrics.create()
        self.calls: list[Call] = []
        self.places: dict[int, Place] = {}
        self.waiting: dict[int, Place] = {}
        self.lost = 0
        self.words = 1000
        self.drained: asyncio.Task[None] | None = None
        self.left_early: Counter[str] = Counter()

    # What happens

    @initialize(engines=st.sampled_from([1, 1, 2, 3]))
    def start(self, engines: int) -> None:
        orders = itertools.count()
        self.benches = [Bench(orders) for _ in range(engines)]
        self.work = Batcher(
            [
                Station(engine=FakeEngine({}, block=BLOCK, fail_on=POISON), budget=Budget.fixed(BATCH), thread=bench)
                for bench in self.benches
            ],
            metrics=self.metrics,
            max_queue_tokens=QUEUE,
            seconds_per_slot=SECONDS_PER_SLOT,
            clock=self.loop.time,
        )
        self.loop.run_until_complete(self.work.start())

    @rule(
        documents=st.lists(st.lists(st.integers(1, BATCH), min_size=1, max_size=3), min_size=1, max_size=3),
        poisoned=st.sets(st.integers(0, 2), max_size=1),
        patience=st.none() | st.floats(-0.5, 40, allow_subnormal=False),
        priority=st.sampled_from(PRIORITIES),
        caller=st.sampled_from(["", "a", "b"]),
    )
    def submit(
        self, documents: list[list[int]], poisoned: set[int], patience: float | None, priority: Priority, caller: str
    ) -> None:
        windows = [[self.fresh(length, poison=place in poisoned) for length in each] for place, each in enumerate(documents)]
        deadline = None if patience is None else self.loop.now + patience
        told = self.work.submit_all(windows, deadline=deadline, priority=priority, caller=caller)
        call = Call(task=self.loop.create_task(told), documents=windows, deadline=deadline)
        slots = sum(slots_of(window) for each in windows for window in each)
        room = self.room(slots, (priority, caller))
        self.calls.append(call)
        self.turn(1)
        if self.refused(call):
            event("refused")
            if self.drained is None and not self.lost and patience is None:
                assert slots > room
        else:
            assert slots <= room
            assert not self.lost
            for document, each in enumerate(windows):
                self.expect(len(self.calls) - 1, document, each, (priority, caller))
        self.settle()

    @rule(length=st.integers(1, BLOCK))
    def submit_a_note(self, length: int) -> None:
        """A short document, which may overtake long ones that wait."""
        self.submit([[length]], set(), None, "interactive", "")

    @precondition(lambda self: self.going())
    @rule(which=st.integers(0, 1000))
    def leave(self, which: int) -> None:
        call = self.going()[which % len(self.going())]
        call.left = True
        call.task.cancel()
        self.settle()

    @rule(seconds=st.floats(0, 10, allow_subnormal=False))
    def wait(self, seconds: float) -> None:
        self.loop.now += seconds
        self.settle()

    @precondition(lambda self: self.busy(hanging=False))
    @rule(which=st.integers(0, 2))
    def finish(self, which: int) -> None:
        bench = self.one_of(self.busy(hanging=False), which)
        self.loop.now += SECONDS_PER_SLOT * sum(map(slots_of, bench.windows))
        self.end_batch(bench)

    @precondition(lambda self: self.busy(hanging=False))
    @rule(which=st.integers(0, 2), failure=st.sampled_from([EngineFailed, DeviceOutOfMemory]))
    def fail(self, which: int, failure: type[EngineFailed]) -> None:
        bench = self.one_of(self.busy(hanging=False), which)
        event("a failure of many" if len(bench.windows) > 1 else "a failure of one")
        self.end_batch(bench, failure("told to fail"))

    @precondition(lambda self: len(self.calls) > 3 and self.busy(hanging=False))
    @rule(which=st.integers(0, 2))
    def lose(self, which: int) -> None:
        """A device is lost: the documents of its batch end with it, and no new ones come."""
        bench = self.one_of(self.busy(hanging=False), which)
        event(f"a device is lost, {len(self.benches) - self.lost - 1} work on")
        self.lost += 1
        bench.lost = True
        ended = {(place.call, place.document) for place in map(self.place, bench.batch)}
        if self.lost == len(self.benches):  # nobody is left to do the others' work
            ended |= {(place.call, place.document) for place in self.waiting.values()}
        for call, document in ended:
            self.calls[call].failed.add(document)
        self.end_batch(bench, DeviceLost("told to be lost"))

    @precondition(lambda self: self.busy())
    @rule(which=st.integers(0, 2))
    def hang(self, which: int) -> None:
        self.one_of(self.busy(), which).hangs = True

    @precondition(lambda self: self.drained is None and len(self.calls) > 3)
    @rule()
    def drain(self) -> None:
        self.drained = self.loop.create_task(self.work.drain())
        self.settle()

    # What must hold

    @invariant()
    def the_gauges_equal_the_model(self) -> None:
        for priority in PRIORITIES:
            lane = [place for place in self.waiting.values() if place.caller[0] == priority]
            assert count(self.metrics, "queue_tokens", priority=priority) == sum(place.tokens for place in lane)
            documents = len({(place.call, place.document) for place in lane})
            assert count(self.metrics, "queue_documents", priority=priority) == documents
        assert self.work._queue.slots == sum(place.slots for place in self.waiting.values()) <= QUEUE

    @invariant()
    def nobody_waits_longer_than_asked(self) -> None:
        assert not [call for call in self.going() if call.deadline is not None and call.deadline < self.loop.now]

    @invariant()
    def an_engine_is_idle_only_when_nothing_waits(self) -> None:
        assert not self.waiting or all(bench.future or bench.lost for bench in self.benches)

    @invariant()
    def a_lost_device_is_told_and_nothing_else_is(self) -> None:
        told: EngineFailed | None = None
        try:
            self.work.require_alive()
        except EngineFailed as error:
            told = error
        assert isinstance(told, DeviceLost) == (self.lost > 0)
        if told and not self.lost:  # time passed while it computed or hung
            assert "a batch has run for" in str(told)

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.turn(SETTLING_STEPS)
            self.loop.close()

    def end(self) -> None:
        """After what is left was computed, nothing is left."""
        drained = self.drained or self.loop.create_task(self.work.drain())
        self.turn(1)
        self.settle()
        while busy := self.busy():
            self.end_batch(busy[0])
        self.settle()
        assert drained.done()
        assert not self.going()
        assert not self.waiting
        assert not self.work._ledger
        self.the_gauges_equal_the_model()
        for call in self.calls:
            self.check_outcome(call)
        stopped = self.loop.create_task(self.work.stop())
        self.settle()
        assert stopped.done()

    # The model

    def turn(self, steps: int) -> None:
        """Let the event loop run, but no time pass."""

        async def idle() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)

        self.loop.run_until_complete(idle())

    def fresh(self, length: int, *, poison: bool) -> WindowInput:
        """A window unlike any other."""
        self.words += 1
        return window(*[POISON if poison else self.words] * length)

    def going(self) -> list[Call]:
        return [call for call in self.calls if not call.task.done()]

    @staticmethod
    def refused(call: Call) -> bool:
        return call.task.done() and isinstance(call.task.exception(), REFUSALS)

    def room(self, slots: int, caller: tuple[Priority, str]) -> int:
        """Slots that may come in: the last part of the queue is for those who hold little."""
        held = slots + sum(place.slots for place in self.waiting.values() if place.caller == caller)
        limit = QUEUE - (RESERVE if held > RESERVE and caller != ("interactive", "") else 0)
        return limit - sum(place.slots for place in self.waiting.values())

    def expect(self, call: int, document: int, windows: list[WindowInput], caller: tuple[Priority, str]) -> None:
        """Put an admitted document's windows where they should wait."""
        predicted = 0.0
        for each in windows:
            predicted += slots_of(each) * self.work._speed.seconds_per_slot
            self.places[id(each)] = self.waiting[id(each)] = Place(
                call=call,
                document=document,
                caller=caller,
                arrival=self.loop.now,
                rank=self.loop.now + OVERTAKING * predicted,
                slots=slots_of(each),
                tokens=len(each),
            )

    def busy(self, *, hanging: bool = True) -> list[Bench]:
        """The engines with a batch; those that hang end by a stop alone."""
        return [bench for bench in self.benches if bench.future and (hanging or not bench.hangs)]

    @staticmethod
    def one_of(benches: list[Bench], which: int) -> Bench:
        return benches[which % len(benches)]

    def place(self, window: WindowInput) -> Place:
        return self.places[id(window)]

    def end_batch(self, bench: Bench, error: EngineFailed | None = None) -> None:
        """End a batch, and tell the model whose document it was the end of."""
        windows = bench.windows
        ended = bench.finish(error)
        if isinstance(ended, EngineFailed) and len(windows) == 1:
            place = self.place(windows[0])
            self.calls[place.call].failed.add(place.document)
        self.settle()

    def settle(self) -> None:
        """Let everything happen that does not need time, and follow it."""
        for _ in range(SETTLING_STEPS):
            self.turn(2)
            for bench in sorted(self.busy(), key=lambda bench: bench.order):
                if bench.begun > bench.seen:
                    self.check_batch(bench)
            for bench in self.benches:
                if bench.future and bench.stop.is_set():
                    event("stopped in the engine")
                    assert isinstance(bench.finish(), Cancelled)
        self.waiting = {key: place for key, place in self.waiting.items() if not self.gone(place)}

    def gone(self, place: Place) -> bool:
        """Whether nobody waits for this window any more."""
        call = self.calls[place.call]
        late = call.deadline is not None and call.deadline <= self.loop.now
        return call.left or late or call.task.done() or place.document in call.failed

    def check_batch(self, bench: Bench) -> None:
        """A batch keeps to the budget, holds nobody's windows who is gone, and is led by one that may go first."""
        bench.seen = bench.begun
        windows = bench.windows
        assert not bench.lost
        assert sum(map(slots_of, windows)) <= BATCH
        assert len(set(map(id, windows))) == len(windows)
        for each in windows:
            assert not self.gone(self.place(each))
        taken = [self.waiting.pop(id(window)) for window in windows if id(window) in self.waiting]
        if len(taken) < len(windows):
            assert not taken, "part of a failed batch and new windows together"
            assert {id(window) for window in windows} <= {id(window) for window in bench.batch}, "another engine's windows"
            return
        bench.batch = windows
        lead = taken[0]
        for place in self.waiting.values():
            if place.caller == lead.caller and not self.gone(place):
                if lead.arrival > place.arrival:
                    event("a window was overtaken")
                assert lead.arrival < place.rank, "overtaken by one that came after its rank"
                assert (lead.rank, lead.call) <= (place.rank, place.call)

    def check_outcome(self, call: Call) -> None:
        """How a request may have ended, and that each answer is its own document's."""
        if call.task.cancelled():
            assert call.left
            return
        if (error := call.task.exception()) is not None:
            assert self.refused(call), error
            return
        for document, (windows, outcome) in enumerate(zip(call.documents, call.task.result(), strict=True)):
            if isinstance(outcome, Computed):
                assert document not in call.failed
                assert [len(answer.rows[HIDDEN]) for answer in outcome.windows] == [1] * len(windows)
                for answer, expected in zip(outcome.windows, self.alone(windows), strict=True):
                    np.testing.assert_array_equal(answer.rows[HIDDEN], expected)
            elif isinstance(outcome, DeadlineExceeded):
                assert call.deadline is not None
                assert call.deadline <= self.loop.now
            else:
                assert isinstance(outcome, EngineFailed)
                assert document in call.failed

    @staticmethod
    def alone(windows: list[WindowInput]) -> list[np.ndarray]:
        """What the engine answers about each window by itself."""
        engine = FakeEngine({}, block=BLOCK)
        batches = [pack([window], block=BLOCK, heads=engine.heads) for window in windows]
        return [unpack(batch, engine.run(batch))[0].rows[HIDDEN] for batch in batches]


BatcherMachine.TestCase.settings = settings(max_examples=RUNS, stateful_step_count=40, deadline=None)
test_each_document_admitted_ends_once_whatever_happens = BatcherMachine.TestCase
