"""One request's frame, outermost: its id, its headers, its errors, its line in the log and its place in the metrics.

Every exception ends here and becomes a problem, so none reaches the server, which would log it with its message and close the
connection. Every request that has headers is counted once, whatever came of it.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drlongformer import logs
from drlongformer.api.lifecycle import Lifecycle
from drlongformer.api.problems import is_expected, respond, slug
from drlongformer.api.record import BROKEN, Record, begin
from drlongformer.errors import MalformedBody, NotReady
from drlongformer.serving.metrics import Metrics

OTHER: Final = "other"
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})

logger = logs.get("api")


def count(metrics: Metrics, *, route: str, method: str, status: int, seconds: float) -> None:
    """Count one answered request."""
    metrics.http_requests_total.labels(route, method, str(status)).inc()
    metrics.http_request_duration_seconds.labels(route).observe(seconds)


class Exchange:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, lifecycle: Lifecycle, paths: frozenset[str] = frozenset()) -> None:
        """`paths` are those that name their route even where a request is refused before it is routed."""
        self._app = app
        self._paths = paths
        self._metrics = metrics
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, in every case."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = begin(scope)
        sender = self._sender(record, send)
        try:
            await self._app(scope, receive, sender)
        except asyncio.CancelledError:  # the server stops and has waited long enough; its task ends here
            await self._refuse(NotReady("the service stopped before the answer was ready"), record, scope, receive, sender)
        except Exception as error:  # noqa: BLE001 - the one place where every error becomes an answer
            known = MalformedBody("the body breaks HTTP") if BROKEN in scope else error
            await self._refuse(known, record, scope, receive, sender)
        finally:
            self._account(scope, record)

    def _sender(self, record: Record, send: Send) -> Send:
        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                self._add_headers(MutableHeaders(scope=message), record)
            await send(message)

        return sender

    def _add_headers(self, headers: MutableHeaders, record: Record) -> None:
        headers["X-Request-Id"] = record.request_id
        headers["Cache-Control"] = "no-store"
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Server-Timing"] = _server_timing(record)
        # A peer must not go on using a connection that this process will close, or whose body was not read to its end.
        if self._lifecycle.phase == "draining" or not record.body_complete:
            headers["Connection"] = "close"

    async def _refuse(self, error: Exception, record: Record, scope: Scope, receive: Receive, sender: Send) -> None:
        record.problem = slug(error)
        if not record.admitted:
            self._metrics.rejected_total.labels(record.problem.replace("-", "_")).inc()
        if not is_expected(error):
            logger.error("unexpected error", extra={"request_id": record.request_id, **logs.origin(error)})
        if record.status is None:
            await respond(error, instance=record.request_id)(scope, receive, sender)

    def _account(self, scope: Scope, record: Record) -> None:
        unrouted: str = scope["path"] if scope["path"] in self._paths else OTHER
        route: str = getattr(scope.get("route"), "path", None) or unrouted
        method = scope["method"] if scope["method"] in METHODS else OTHER
        status, seconds = record.status or 500, record.elapsed_seconds
        count(self._metrics, route=route, method=method, status=status, seconds=seconds)
        timings = record.timings
        logger.info(
            "request",
            extra={
                "request_id": record.request_id,
                "method": method,
                "route": route,
                "status": status,
                "problem": record.problem,
                "duration_seconds": round(seconds, 6),
                "tokenize_seconds": timings and round(timings.tokenize_seconds, 6),
                "queue_seconds": timings and round(timings.queue_seconds, 6),
                "compute_seconds": timings and round(timings.compute_seconds, 6),
                "documents": record.documents,
                "tokens": record.tokens,
                "body_bytes": record.body_bytes,
                "model": record.model,
            },
        )


def _server_timing(record: Record) -> str:
    stages: dict[str, float] = {}
    if record.timings is not None:
        stages = {
            "tokenize": record.timings.tokenize_seconds,
            "queue": record.timings.queue_seconds,
            "compute": record.timings.compute_seconds,
        }
    return ", ".join(
        f"{stage};dur={seconds * 1000:.2f}" for stage, seconds in (stages | {"total": record.elapsed_seconds}).items()
    )
