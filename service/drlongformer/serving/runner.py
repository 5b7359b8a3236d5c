"""One engine at work: a batch at a time in a thread of its own, every ticket answered or given up, whatever the engine does.

A batch that fails is halved until the document at fault stands alone; one that does not fit in the device's memory also shrinks
the budget. Both stay with their documents. The end of the device does not: nothing is tried again, and DeviceLost is raised.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from drlongformer.errors import Cancelled, DeadlineExceeded, DeviceLost, DeviceOutOfMemory, EngineFailed, ServiceError
from drlongformer.serving.budget import Budget
from drlongformer.serving.engine import Engine, Stop, compute
from drlongformer.serving.figures import Figures
from drlongformer.serving.ledger import Ledger
from drlongformer.serving.metrics import reason
from drlongformer.serving.queue import Ticket
from drlongformer.serving.speed import Speed

logger = logging.getLogger(__name__)

HANG_FACTOR = 20.0
"""A batch that takes so many times what was predicted hangs ..."""

LEAST_HANG_SECONDS = 30.0
"""... but not before this: a first batch of a shape, or a machine that is busy otherwise, may take long."""


def _own_thread() -> Executor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """An engine, what its batches may hold, and the thread that it computes in, one batch at a time."""

    engine: Engine
    budget: Budget
    thread: Executor = field(default_factory=_own_thread)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """The batch that is in the engine."""

    tickets: tuple[Ticket, ...]
    stop: Stop
    started: float


class Runner:
    """What computes the batches of one station.

    name: of its device in the metrics. give_up: settles documents with an error and drops their tickets, wherever they are.
    """

    def __init__(
        self,
        station: Station,
        *,
        name: str,
        ledger: Ledger,
        speed: Speed,
        figures: Figures,
        clock: Callable[[], float],
        give_up: Callable[[Collection[int], ServiceError], None],
    ) -> None:
        self._engine, self.budget, self._thread = station.engine, station.budget, station.thread
        self.name = name
        self._ledger = ledger
        self._speed = speed
        self._figures = figures
        self._clock = clock
        self._give_up = give_up
        self._running: _Running | None = None
        figures.busy(0.0, device=name)

    @property
    def is_idle(self) -> bool:
        """Whether it could begin a batch at once."""
        return self._running is None

    @property
    def busy_seconds(self) -> float:
        """How long the batch in the engine has been there; 0 when the engine is idle."""
        return self._clock() - self._running.started if self._running else 0.0

    @property
    def expected_seconds(self) -> float:
        """How long the batch in the engine was expected to take; 0 when the engine is idle."""
        running = self._running
        return sum(ticket.slots for ticket in running.tickets) * self._speed.seconds_per_slot if running else 0.0

    @property
    def remaining_seconds(self) -> float:
        """How long the batch in the engine is still expected to take; 0 if it is late."""
        return max(0.0, self.expected_seconds - self.busy_seconds)

    def require_alive(self) -> None:
        """Raise EngineFailed if the engine hangs in a batch."""
        limit = max(LEAST_HANG_SECONDS, HANG_FACTOR * self.expected_seconds)
        if self.busy_seconds > limit:
            raise EngineFailed(f"a batch has run for {self.busy_seconds:.0f} seconds, the limit is {limit:.0f}")

    def stop_unless_awaited(self) -> None:
        """End the batch in the engine if nobody waits for any of it."""
        if self._running and not self._ledger.awaited({ticket.document for ticket in self._running.tickets}):
            self._running.stop.set()

    def close(self) -> None:
        """Let the thread go; it is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def compute(self, tickets: tuple[Ticket, ...]) -> None:
        """Compute a batch, in parts if it must be; then nobody waits for any of these tickets. Raises DeviceLost."""
        parts = [tickets]
        while parts:
            part = self._awaited(parts.pop())
            if not part:
                continue
            try:
                await self._run(part)
            except DeviceLost as error:
                self._figures.failure(reason(error))
                self._give_up({ticket.document for each in (part, *parts) for ticket in each}, error)
                raise
            except EngineFailed as error:
                parts += self._after_failure(part, error)
            except Cancelled as error:
                self._give_up({ticket.document for ticket in part}, error)  # nobody, unless the engine stopped by itself

    def _awaited(self, tickets: Sequence[Ticket]) -> tuple[Ticket, ...]:
        """Those that somebody waits for, once the late ones are given up."""
        now = self._clock()
        late = {ticket.document for ticket in tickets if ticket.is_late(now)}
        self._give_up(late, DeadlineExceeded("the deadline passed while the document waited"))
        return tuple(ticket for ticket in tickets if ticket.document in self._ledger)

    def _after_failure(self, tickets: tuple[Ticket, ...], error: EngineFailed) -> list[tuple[Ticket, ...]]:
        """What to try instead, the last first: the halves of the batch, or nothing if it was a single window."""
        slots = sum(ticket.slots for ticket in tickets)
        if isinstance(error, DeviceOutOfMemory):
            self._figures.failure(reason(error))
            self.budget.shrink(below=slots)
            logger.warning("no memory for %d token slots on %s; batches hold up to %d now", slots, self.name, self.budget.slots)
        else:
            self._figures.failure(reason(error.__cause__ or error))
            self.budget.fail(slots=slots)
        if len(tickets) == 1:
            self._give_up({tickets[0].document}, error)
            return []
        half = len(tickets) // 2
        return [tickets[half:], tickets[:half]]

    async def _run(self, tickets: tuple[Ticket, ...]) -> None:
        """Compute these tickets in the engine's thread and hand out the answers."""
        stop, windows, now = Stop(), [ticket.window for ticket in tickets], self._clock()
        digests = self._ledger.enter(tickets, now)
        self._running = _Running(tickets=tickets, stop=stop, started=now)
        loop = asyncio.get_running_loop()
        try:
            outputs = await loop.run_in_executor(self._thread, compute, self._engine, windows, digests, stop)
        finally:
            stop.set()  # if it was this loop that ended, the engine is not to go on
            seconds = self.busy_seconds
            self._running = None
            self._figures.busy(seconds, device=self.name)
            self._ledger.leave(tickets, self._clock())
        self._learn(tickets, seconds)
        for ticket, output in zip(tickets, outputs, strict=True):
            self._deliver(ticket, output)

    def _learn(self, tickets: Sequence[Ticket], seconds: float) -> None:
        """What a computed batch says of speed and budget."""
        slots, tokens = sum(ticket.slots for ticket in tickets), sum(len(ticket.window) for ticket in tickets)
        self._speed.add(slots=slots, tokens=tokens, seconds=seconds)
        if self.budget.add(slots=slots, seconds=seconds):
            logger.info("batches of %s hold up to %d token slots now", self.name, self.budget.slots)
        self._figures.batch(tickets, seconds, device=self.name, tokens_per_second=self._speed.tokens_per_second)

    def _deliver(self, ticket: Ticket, output: object) -> None:
        if isinstance(output, EngineFailed) and ticket.document in self._ledger:
            self._figures.failure("not_finite")
            self._give_up({ticket.document}, output)
        else:
            self._ledger.keep(ticket, output, self._clock())
