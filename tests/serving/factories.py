"""Windows, tickets and batchers for the tests of serving."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from drlongformer.serving.batcher import Batcher
from drlongformer.serving.budget import Budget
from drlongformer.serving.engine import FakeEngine
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.queue import Terms, Ticket, tickets_of
from drlongformer.serving.requests import Priority
from drlongformer.serving.runner import Station
from drlongformer.types import HIDDEN, WindowInput

BLOCK = 4


def window(*ids: int, length: int | None = None) -> WindowInput:
    """A window of these ids, or of `length` ones, whose first token's hidden state is read."""
    tokens = np.array(ids, dtype=np.int64) if length is None else np.ones(length, dtype=np.int64)
    return WindowInput(ids=tokens, rows={HIDDEN: np.zeros(1, dtype=np.int64)})


def tickets(
    document: int,
    *lengths: int,
    arrival: float = 0.0,
    deadline: float | None = None,
    priority: Priority = "interactive",
    caller: str = "",
    weight: float = 1.0,
    seconds_per_slot: float = 0.0,
) -> tuple[Ticket, ...]:
    """The tickets of a document whose windows have these lengths."""
    return tickets_of(
        document,
        [window(length=length) for length in lengths],
        block=BLOCK,
        widths={HIDDEN: 8},
        arrival=arrival,
        terms=Terms(deadline=deadline, priority=priority, caller=caller, weight=weight),
        seconds_per_slot=seconds_per_slot,
    )


def stations(engine: FakeEngine, *, budget: Budget) -> list[Station]:
    """One station."""
    return [Station(engine=engine, budget=budget)]


def batcher(engine: FakeEngine, metrics: Metrics | None = None, *, batch: int = 64, queue: int = 256) -> Batcher:
    """A batcher that was not started."""
    return Batcher(stations(engine, budget=Budget.fixed(batch)), metrics=metrics or Metrics.create(), max_queue_tokens=queue)


@asynccontextmanager
async def started(
    engine: FakeEngine, metrics: Metrics | None = None, *, batch: int = 64, queue: int = 256
) -> AsyncIterator[Batcher]:
    """A batcher at work."""
    it = batcher(engine, metrics, batch=batch, queue=queue)
    await it.start()
    try:
        yield it
    finally:
        await it.stop()


def count(metrics: Metrics, name: str, /, **labels: str) -> float:
    """The value of a sample; 0 where nothing was counted yet."""
    return metrics.registry.get_sample_value(f"drlongformer_{name}", labels) or 0.0
