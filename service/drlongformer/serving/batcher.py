"""The batching loop: documents in, batches through one or several engines, every document settled exactly once.

    submit -> admission -> queue -> the next engine that is idle -> (engine's answers, ledger) -> settled

A batch starts the moment an engine is idle, with what is there then; nobody waits for company, and engines that are idle
together share what is there. A batch is chosen that late, so that a short note is never behind one that was put together before
it came. A document is settled, once, by success, engine error, departure of its caller, deadline or shutdown (`ledger.py`).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf

from drlongformer.errors import Cancelled, DeadlineExceeded, DeviceLost, EngineFailed, NotReady, ServiceError
from drlongformer.packing import blocks_of
from drlongformer.serving.admission import Wish, require_room, require_space
from drlongformer.serving.engine import Digest
from drlongformer.serving.figures import Figures
from drlongformer.serving.ledger import Ledger, Outcome
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.queue import Taken, Terms, Ticket, TicketQueue, tickets_of
from drlongformer.serving.requests import Priority
from drlongformer.serving.runner import Runner, Station
from drlongformer.serving.speed import Speed
from drlongformer.types import WindowInput, WindowOutput

logger = logging.getLogger(__name__)

MAX_BATCH_VALUES = 1 << 24
"""Most numbers in a batch's answers (64 MiB): what many mask positions times a vocabulary would otherwise take."""

RESERVED_PART = 8
"""One of so many parts of the queue is kept for callers who hold no more than that."""

LONGEST_BATCH_SECONDS = 0.25
"""While people wait, a batch of more than one full window is not to take longer: what is gained by it is a few per cent of the
engine's time, and what comes just after it was taken waits for the whole of it ..."""

ALONE_SECONDS = 10.0
"""... and when nothing interactive has come for so long, batches are as large as is fastest."""

STOP_GRACE_SECONDS = 5.0
"""How long a shutdown waits for the engines to notice that they were stopped."""


class Batcher:
    """One queue, and a loop for each engine; all engines compute the same graph.

    seconds_per_slot: the speed of an engine to believe in before the first batch, e.g. from warming up.
    """

    def __init__(
        self,
        stations: Sequence[Station],
        *,
        metrics: Metrics,
        max_queue_tokens: int,
        seconds_per_slot: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        largest = max(station.budget.most for station in stations)
        if max_queue_tokens < largest:
            raise ValueError(f"a queue of {max_queue_tokens} tokens cannot hold one batch of {largest}")
        engine = stations[0].engine
        self._block, self._widths = engine.block, engine.widths
        reserve = min(max_queue_tokens // RESERVED_PART, max_queue_tokens - largest)
        self._queue = TicketQueue(max_slots=max_queue_tokens, reserved_slots=reserve)
        self._last_interactive = -inf
        self._figures = Figures(metrics)
        self._speed = Speed(seconds_per_slot)
        self._clock = clock
        self._keys = itertools.count()
        self._ledger = Ledger()
        self._runners = [
            Runner(
                station,
                name=name,
                ledger=self._ledger,
                speed=self._speed,
                figures=self._figures,
                clock=clock,
                give_up=self._give_up,
            )
            for name, station in zip(_names(stations), stations, strict=True)
        ]
        self._refusal: str | None = "the engine has not started"
        self._fault: EngineFailed | None = None
        self._wake = asyncio.Event()
        self._loops: dict[asyncio.Task[None], Runner] = {}

    # The callers' side

    async def submit(
        self, windows: Sequence[WindowInput], *, deadline: float | None = None, priority: Priority = "interactive"
    ) -> list[WindowOutput]:
        """The answers to one document's windows, in order. Raises what `submit_all` returns or raises."""
        [outcome] = await self.submit_all([windows], deadline=deadline, priority=priority)
        if isinstance(outcome, ServiceError):
            raise outcome
        return list(outcome.windows)

    async def submit_all(
        self,
        documents: Sequence[Sequence[WindowInput]],
        *,
        deadline: float | None = None,
        priority: Priority = "interactive",
        caller: str = "",
        weight: float = 1.0,
        digest: Digest | None = None,
    ) -> list[Outcome]:
        """One outcome per document; all are admitted or none. deadline: on the batcher's clock.

        caller: whose turn it takes in its lane, with that weight. digest: what is kept of each window's answer, see
        `engine.compute`. Raises NotReady, and what `admission.require_room` does: Overloaded (with the time after which the
        request would be admitted), DeadlineExceeded and DocumentTooLong. Cancelling the caller takes its documents back, even
        out of the engine.
        """
        if not documents:
            return []
        terms = Terms(deadline=deadline, priority=priority, caller=caller, weight=weight)
        settled = self._admit(documents, terms, digest)
        try:
            await asyncio.wait(settled.values(), timeout=None if deadline is None else max(0.0, deadline - self._clock()))
            self._give_up(settled, DeadlineExceeded("the deadline passed before the document was computed"))
        finally:
            self._give_up(settled, Cancelled("the caller left"))
        return [each.result() for each in settled.values()]

    def require_open(self) -> None:
        """Raise NotReady unless work is taken."""
        if self._refusal is not None:
            raise NotReady(self._refusal)

    @property
    def queued_slots(self) -> int:
        """Token slots that wait for the engines."""
        return self._queue.slots

    def slots_of(self, lengths: Iterable[int]) -> int:
        """What windows of so many tokens each take of the queue."""
        return sum(blocks_of(length, self._block) for length in lengths) * self._block

    def has_space(self, slots: int, terms: Terms) -> bool:
        """Whether there is room for so many slots now; for fewer there is then too."""
        return self._queue.slots + slots <= self._queue.limit(slots, terms)

    def require_space(self, slots: int, terms: Terms, *, most: int = 0) -> None:
        """Raise what a request of at least so many slots would be refused with now for want of room; any thread may ask.

        most: how many slots it may turn out to take, where that is not known; when it is told to return there is room for them.
        """
        self.require_open()
        now = self._clock()
        least, returning = self._wish(slots, terms, now), self._wish(max(slots, most), terms, now) if most else None
        require_space(self._queue, least, returning=returning, busy_seconds=self._busy_seconds(), speed=self._speed)

    # The life of the service

    async def start(self) -> None:
        """Begin to take work."""
        self._refusal = None
        self._loops = {asyncio.create_task(self._serve(runner), name=runner.name): runner for runner in self._runners}
        for loop in self._loops:
            loop.add_done_callback(self._end)

    async def drain(self) -> None:
        """Refuse new work and finish what was admitted."""
        self._close("the service is draining")
        if self._loops:
            await asyncio.wait(self._loops)

    async def stop(self) -> None:
        """Refuse new work, give up what was admitted, stop the engines."""
        self._close("the service is shutting down")
        self._give_up(self._ledger.documents(), NotReady("the service is shutting down"))
        if self._loops:
            _, pending = await asyncio.wait(self._loops, timeout=STOP_GRACE_SECONDS)
            for loop in pending:
                logger.error("%s did not stop within %s seconds", loop.get_name(), STOP_GRACE_SECONDS)
                loop.cancel()
        for runner in self._runners:
            runner.close()
        self._loops, self._runners = {}, []  # they know this object: an engine is freed as soon as nobody uses it

    def require_alive(self) -> None:
        """Raise DeviceLost if a device is lost, EngineFailed if an engine hangs in a batch or a loop has ended by itself."""
        if self._fault is not None:
            raise self._fault
        for runner in self._runners:
            runner.require_alive()

    # Admission and departure

    def _admit(
        self, documents: Sequence[Sequence[WindowInput]], terms: Terms, digest: Digest | None
    ) -> dict[int, asyncio.Future[Outcome]]:
        """Let a request in; the outcome to come of each of its documents."""
        self.require_open()
        now = self._clock()
        admitted = {next(self._keys): windows for windows in documents}
        tickets = [ticket for key, windows in admitted.items() for ticket in self._tickets(key, windows, terms, now)]
        self._require_room(tickets, terms, now)
        self._queue.offer(tickets)
        if terms.priority == "interactive":
            self._last_interactive = now
        settled: dict[int, asyncio.Future[Outcome]] = {}
        for key, windows in admitted.items():
            settled[key] = asyncio.get_running_loop().create_future()
            self._ledger.add(key, windows=len(windows), admitted=now, digest=digest, settle=settled[key].set_result)
        self._figures.queue(self._queue)
        self._wake.set()
        return settled

    def _tickets(self, key: int, windows: Sequence[WindowInput], terms: Terms, now: float) -> tuple[Ticket, ...]:
        if not windows:
            raise ValueError("a document has at least one window")
        return tickets_of(
            key,
            windows,
            block=self._block,
            widths=self._widths,
            arrival=now,
            terms=terms,
            seconds_per_slot=self._speed.seconds_per_slot,
        )

    def _require_room(self, tickets: Sequence[Ticket], terms: Terms, now: float) -> None:
        """Raise what `admission.require_room` does; documents that come too late are counted."""
        before = self._queue.slots_before(max(tickets, key=lambda ticket: ticket.order))
        wish = replace(self._wish(sum(ticket.slots for ticket in tickets), terms, now), slots_before=before)
        try:
            require_room(self._queue, wish, busy_seconds=self._busy_seconds(), speed=self._speed)
        except DeadlineExceeded as error:
            for _ in {ticket.document for ticket in tickets}:
                self._figures.departure(error, stage="admission")
            raise

    def _wish(self, slots: int, terms: Terms, now: float) -> Wish:
        patience = None if terms.deadline is None else terms.deadline - now
        return Wish(slots=slots, limit=self._queue.limit(slots, terms), patience_seconds=patience)

    def _busy_seconds(self) -> list[float]:
        """How long each engine that works is still expected to be busy."""
        return [runner.remaining_seconds for runner in self._working()] or [0.0]

    def _give_up(self, documents: Collection[int], error: ServiceError) -> None:
        """Settle those of the documents that are not settled yet with an error, and stop working on them."""
        unsettled = self._ledger.awaited(documents)
        if not unsettled:
            return
        for document in unsettled:
            self._figures.departure(error, stage="compute" if self._ledger.is_computed(document) else "queue")
            self._ledger.settle(document, error)
        self._queue.drop(unsettled)
        self._figures.queue(self._queue)
        for runner in self._runners:
            runner.stop_unless_awaited()

    def _close(self, refusal: str) -> None:
        self._refusal = refusal
        self._wake.set()

    # The loops

    def _working(self) -> list[Runner]:
        """Those whose loops go on."""
        return [runner for loop, runner in self._loops.items() if not loop.done()]

    async def _serve(self, runner: Runner) -> None:
        """Batch after batch, until closed and empty. Raises DeviceLost."""
        while self._queue or self._refusal is None:
            taken = self._take(runner)
            self._figures.queue(self._queue)
            late = {ticket.document for ticket in taken.expired}
            self._give_up(late, DeadlineExceeded("the deadline passed while the document waited"))
            if taken.batch:
                await runner.compute(taken.batch)
            elif self._refusal is None:
                self._wake.clear()
                await self._wake.wait()

    def _take(self, runner: Runner) -> Taken:
        """The next batch of an engine that is idle: what its budget holds, or its share of what waits if others idle too."""
        idle = sum(each.is_idle for each in self._working())
        share = -(-self._queue.slots // idle)
        budget = max(1, min(runner.budget.next(share, most=self._most_slots()), share))
        turn = max(each.budget.slots for each in self._runners)
        return self._queue.take(max_slots=budget, max_values=MAX_BATCH_VALUES, now=self._clock(), turn_slots=turn)

    def _most_slots(self) -> float:
        """How many slots a batch may hold so that whoever comes next does not wait too long."""
        is_alone = not self._queue.backlog("interactive").documents and self._clock() - self._last_interactive > ALONE_SECONDS
        seconds = self._speed.seconds_per_slot
        return inf if is_alone or not seconds else LONGEST_BATCH_SECONDS / seconds

    def _end(self, loop: asyncio.Task[None]) -> None:
        """Whatever ended a loop, nobody is left waiting; a loop that ends by itself is the end of the service."""
        error = None if loop.cancelled() else loop.exception()
        if error is not None or self._refusal is None:
            self._fault = error if isinstance(error, DeviceLost) else EngineFailed("a batching loop has ended by itself")
            if loop.cancelled():  # the event loop itself is ending
                logger.info("the batching loop of %s was ended", loop.get_name())
            else:
                logger.error("the batching loop of %s ended by itself", loop.get_name(), exc_info=error)
            self._close("an engine is lost")
        elif not loop.cancelled() and self._working():
            return  # closed, and nothing waits: the others finish what they have
        if not (isinstance(error, DeviceLost) and self._working()):  # after a device is lost, the others do its work
            self._give_up(self._ledger.documents(), EngineFailed("the batching loop ended before this document was computed"))


def _names(stations: Sequence[Station]) -> Iterator[str]:
    """The devices' names for the metrics; where several engines are on one device, with a number each: `cpu:0`, `cpu:1`."""
    devices = Counter(station.engine.device for station in stations)
    seen: Counter[str] = Counter()
    for station in stations:
        device = station.engine.device
        yield device if devices[device] == 1 else f"{device}:{seen[device]}"
        seen[device] += 1
