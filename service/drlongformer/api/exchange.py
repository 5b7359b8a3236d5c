"""One request's frame, outermost: its id, its headers, its errors, its line in the log and its place in the metrics.

Every exception ends here and becomes a problem, so none reaches the server, which would log it with its message and close the
connection. Every request that has headers is counted once, whatever came of it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drlongformer import logs
from drlongformer.api.audit import AuditLog
from drlongformer.api.compat.errors import respond
from drlongformer.api.lifecycle import Lifecycle
from drlongformer.api.limits import discard
from drlongformer.api.problems import describe, is_expected, slug
from drlongformer.api.record import BROKEN, Record, begin, size_class
from drlongformer.api.slow import Slow
from drlongformer.errors import Cancelled, InputError, NotReady
from drlongformer.serving.metrics import Metrics

if TYPE_CHECKING:  # the extra `otel`, where it is asked for
    from drlongformer.api.tracing import Tracing

OTHER: Final = "other"
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})

logger = logs.get("api")


def account(metrics: Metrics, record: Record, *, route: str, method: str) -> None:
    """Count one answered request, and write its line."""
    status, seconds, timings = record.status or 500, record.elapsed_seconds, record.timings
    metrics.http_requests_total.labels(route, method, str(status)).inc()
    metrics.http_request_duration_seconds.labels(route).observe(seconds)
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
            "tokens": None if record.tokens is None else size_class(record.tokens),
            "body_bytes": size_class(record.body_bytes),
            "model": record.model,
        },
    )


def account_refused(metrics: Metrics, record: Record, error: InputError) -> None:
    """Count a request that was refused before it had a route or a method, and write its line."""
    record.problem, record.status = slug(error), describe(error, instance=record.request_id).status
    _count_refusal(metrics, record.problem)
    account(metrics, record, route=OTHER, method=OTHER)


def frame(record: Record) -> dict[str, str]:
    """The headers of every answer that does not set them itself."""
    return {
        "X-Request-Id": record.request_id,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Server-Timing": _server_timing(record),
    }


def _count_refusal(metrics: Metrics, problem: str) -> None:
    metrics.rejected_total.labels(problem.replace("-", "_")).inc()


class Exchange:
    """The outermost middleware."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        lifecycle: Lifecycle,
        paths: frozenset[str] = frozenset(),
        audit: AuditLog | None = None,
        slow: Slow | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """`paths` are those that name their route even where a request is refused before it is routed."""
        self._audit = audit
        self._slow = slow
        self._tracing = tracing
        self._app = app
        self._paths = frozenset(path for path in paths if "{" not in path)
        self._patterns = [(compile_path(path)[0], path) for path in sorted(paths) if "{" in path]
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
            await self._refuse(scope.get(BROKEN, error), record, scope, receive, sender)
        finally:
            self._account(scope, record)
        if record.linger_seconds:  # the answer is with the peer, but is not ended, so that the connection stays open
            await discard(receive, seconds=record.linger_seconds)
            await send({"type": "http.response.body", "body": b""})

    def _sender(self, record: Record, send: Send) -> Send:
        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                self._add_headers(MutableHeaders(scope=message), record)
            await send(message)

        return sender

    def _add_headers(self, headers: MutableHeaders, record: Record) -> None:
        for name, value in frame(record).items():  # a shipped file says itself how long it may be kept
            headers.setdefault(name, value)
        # A peer must not go on using a connection that this process will close, or whose body was not read to its end.
        if self._lifecycle.phase == "draining" or not record.body_complete:
            headers["Connection"] = "close"

    async def _refuse(self, error: Exception, record: Record, scope: Scope, receive: Receive, sender: Send) -> None:
        record.problem = slug(error)
        if isinstance(error, Cancelled):
            if not record.admitted:  # else the pipeline has counted its documents
                self._metrics.cancelled_total.labels(stage="receive").inc()
        elif not record.admitted:
            _count_refusal(self._metrics, record.problem)
        if not is_expected(error):
            logger.error("unexpected error", extra={"request_id": record.request_id, **logs.origin(error)})
        if record.status is None:
            last = partial(_unended, sender) if record.linger_seconds else sender
            await respond(error, instance=record.request_id, path=scope["path"])(scope, receive, last)

    def _account(self, scope: Scope, record: Record) -> None:
        route: str = getattr(scope.get("route"), "path", None) or self._unrouted(scope["path"])
        method = scope["method"] if scope["method"] in METHODS else OTHER
        account(self._metrics, record, route=route, method=method)
        if self._slow is not None:
            self._slow.keep(record, route=route)
        if self._audit is not None:
            self._audit.write(scope, record, route=route, method=method)
        if self._tracing is not None:
            self._tracing.write(scope, record, route=route, method=method)

    def _unrouted(self, path: str) -> str:
        """The route that a request was on its way to when it was refused."""
        if path in self._paths:
            return path
        return next((route for pattern, route in self._patterns if pattern.match(path)), OTHER)


async def _unended(send: Send, message: Message) -> None:
    """Send an answer whole, without saying that it is."""
    await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)


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
