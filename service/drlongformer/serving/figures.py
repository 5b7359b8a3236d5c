"""What one batcher tells the metrics: its batches, its queue, its engines, and who left."""

from __future__ import annotations

from collections.abc import Sequence

from drlongformer.errors import Cancelled, DeadlineExceeded, ServiceError
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.queue import Backlog, Ticket, TicketQueue
from drlongformer.serving.requests import PRIORITIES


class Figures:
    """The figures of one batcher and all its engines, each known by its `device`; several batchers may share the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._shapes_run: set[tuple[str, int]] = set()
        self._backlog = {priority: Backlog() for priority in PRIORITIES}

    def batch(self, tickets: Sequence[Ticket], seconds: float, *, device: str, tokens_per_second: float) -> None:
        """A batch that was computed; tokens_per_second: an engine's speed of late, this batch included."""
        slots = sum(ticket.slots for ticket in tickets)
        tokens = sum(len(ticket.window) for ticket in tickets)
        metrics = self._metrics
        metrics.batch_tokens.observe(tokens)
        metrics.batch_documents.observe(len({ticket.document for ticket in tickets}))
        metrics.batch_compute_seconds.observe(seconds)
        metrics.token_slots_total.inc(slots)
        metrics.padding_slots_total.inc(slots - tokens)
        metrics.engine_tokens_per_second.set(tokens_per_second)
        if (device, slots) not in self._shapes_run:
            self._shapes_run.add((device, slots))
            metrics.cold_shapes_total.inc()

    def queue(self, queue: TicketQueue) -> None:
        """Add what changed in the queue since the last call to the gauges."""
        for priority, before in self._backlog.items():
            now = self._backlog[priority] = queue.backlog(priority)
            self._metrics.queue_tokens.labels(priority=priority).inc(now.tokens - before.tokens)
            self._metrics.queue_documents.labels(priority=priority).inc(now.documents - before.documents)

    def busy(self, seconds: float, *, device: str) -> None:
        """Time that an engine computed, whatever came of it."""
        self._metrics.engine_busy_seconds_total.labels(device=device).inc(seconds)

    def failure(self, reason: str) -> None:
        """A batch, or a window of one, that the engine could not compute."""
        self._metrics.engine_failures_total.labels(reason=reason).inc()

    def departure(self, error: ServiceError, *, stage: str) -> None:
        """A document that left before its end: its caller went away, or its deadline passed."""
        if isinstance(error, Cancelled):
            self._metrics.cancelled_total.labels(stage=stage).inc()
        elif isinstance(error, DeadlineExceeded):
            self._metrics.deadline_exceeded_total.labels(stage=stage).inc()
