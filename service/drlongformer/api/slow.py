"""`GET /debug/slow`: the slowest requests lately, as figures: where their time went, what waited when they came, their batch.

Kept in memory, the last `KEPT` answers of the task routes, refusals among them. Never a text, a key or a caller's name; sizes
of one request in classes, as in the log, because an exact one could tell which document it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, ConfigDict

from drlongformer.api.record import Record, size_class

KEPT: Final = 2000
TOLD: Final = 50


class SlowRequest(BaseModel):
    """One request; seconds by stage, queue and compute of its last document, and the batch which that was computed in.

    queue_tokens: token slots that waited for the engine when it came. batch_tokens: token slots of the batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: datetime
    request_id: str
    route: str
    status: int
    problem: str | None
    model: str | None
    total_seconds: float
    tokenize_seconds: float | None
    queue_seconds: float | None
    compute_seconds: float | None
    queue_tokens: int | None
    batch_documents: int | None
    batch_windows: int | None
    batch_tokens: int | None
    documents: int | None
    tokens: str | None
    body_bytes: str


class SlowReport(BaseModel):
    """Answer of `GET /debug/slow`: the slowest first, of the `of` that were answered last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: int
    requests: list[SlowRequest]


class Slow:
    """The requests that were answered lately."""

    def __init__(self, routes: Iterable[str]) -> None:
        """`routes` are those whose requests are kept."""
        self._routes = frozenset(routes)
        self._lately: deque[SlowRequest] = deque(maxlen=KEPT)

    def keep(self, record: Record, *, route: str) -> None:
        """Note one answered request."""
        if route not in self._routes:
            return
        timings = record.timings
        batch = timings.batch if timings else None
        self._lately.append(
            SlowRequest(
                time=datetime.now(UTC),
                request_id=record.request_id,
                route=route,
                status=record.status or 500,
                problem=record.problem,
                model=record.model,
                total_seconds=round(record.elapsed_seconds, 6),
                tokenize_seconds=round(timings.tokenize_seconds, 6) if timings else None,
                queue_seconds=round(timings.queue_seconds, 6) if timings else None,
                compute_seconds=round(timings.compute_seconds, 6) if timings else None,
                queue_tokens=timings.queue_tokens if timings else None,
                batch_documents=batch.documents if batch else None,
                batch_windows=batch.windows if batch else None,
                batch_tokens=batch.slots if batch else None,
                documents=record.documents,
                tokens=None if record.tokens is None else size_class(record.tokens),
                body_bytes=size_class(record.body_bytes),
            )
        )

    def report(self) -> SlowReport:
        """The slowest of them."""
        slowest = sorted(self._lately, key=lambda each: each.total_seconds, reverse=True)[:TOLD]
        return SlowReport(of=len(self._lately), requests=slowest)
