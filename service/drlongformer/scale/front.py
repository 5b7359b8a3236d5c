"""What stands in Ray's HTTP proxies before their router: nothing is lost with a replica, and every refusal is ours.

Ray hands a request to a replica and answers a bare 500 if that replica dies under it. Every request of this service is a pure
function of its body, so here it is sent again, once, to another replica. What Ray itself refuses (its queue is full, no replica
is there) becomes a problem of the contract, with `Retry-After`. Ray's proxies take this in by the name of a function:

    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=drlongformer.scale.front:middlewares

    caller -> Front (notes the body, holds a good answer until it is whole) -> Ray's router -> replica -> Front -> caller
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drlongformer import logs, settings
from drlongformer.api.compat.errors import respond
from drlongformer.api.exchange import frame
from drlongformer.api.record import Record, begin
from drlongformer.errors import DeadlineExceeded, NotReady, Overloaded, ServiceError

ATTEMPTS: Final = 2
"""A document that kills its replica must not go round."""

RETRY_SECONDS: Final = 1.0
"""When to come back, where nobody knows better."""

_OWN_PATHS: Final = "/-/"
"""Ray's own routes, for its health checks."""

_OURS: Final = "server-timing"
"""A header of every answer of a replica, and of none of Ray's."""

logger = logs.get("scale.front")


def middlewares() -> list[Middleware]:
    """What Ray calls for. Raises SettingsError."""
    return [Middleware(Front, limits=settings.load().limits)]


class Front:
    """The outermost middleware of a proxy."""

    def __init__(self, app: ASGIApp, *, limits: settings.Limits) -> None:
        self._app = app
        self._limits = limits
        self._noted_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, if need be by a second replica."""
        if scope["type"] != "http" or scope["path"].startswith(_OWN_PATHS):
            await self._app(scope, receive, send)
            return
        record = begin(dict(scope))
        inflow = _Inflow(receive, self._room)
        try:
            await self._answer(_identified(scope, record), record, inflow, send)
        finally:
            self._noted_bytes -= inflow.noted_bytes

    def _room(self, size: int, noted: int) -> bool:
        """Whether so many bytes more of a body may be noted; else the request cannot be sent again, and goes on."""
        fits = noted + size <= self._limits.max_body_bytes and self._noted_bytes + size <= self._limits.max_held_bytes
        self._noted_bytes += size if fits else 0
        return fits

    async def _answer(self, scope: Scope, record: Record, inflow: _Inflow, send: Send) -> None:
        attempt, outflow = 0, _Outflow(send, record)
        while attempt < ATTEMPTS and outflow.status is None and inflow.repeatable:
            attempt, outflow = attempt + 1, _Outflow(send, record)
            await self._app(dict(scope), inflow.from_the_start(), outflow)
            if outflow.passed or inflow.caller_left:
                return
            if outflow.status is None:
                logger.warning("a replica ended under a request; attempt %d of %d", attempt, ATTEMPTS)
        error = _refusal(outflow.status, outflow.retry_after)
        response = respond(error, instance=record.request_id, path=scope["path"])
        response.headers.update(frame(record))
        await response(scope, inflow.from_the_start(), send)


def _identified(scope: Scope, record: Record) -> Scope:
    """The request under its id; one that the caller wrote as a text of any kind would stand in Ray's logs."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"x-request-id"]
    return {**scope, "headers": [*headers, (b"x-request-id", record.request_id.encode())]}


def _refusal(status: int | None, retry_after: float | None) -> ServiceError:
    """What Ray's answer of this status says, in our words; None: it gave none, for the replica ended."""
    if status == 429:
        return Overloaded("too many requests wait for a replica", retry_after_seconds=retry_after or RETRY_SECONDS)
    if status == 408:
        return DeadlineExceeded("the time that the cluster gives a request passed before it was answered")
    said = "the replica that had the request ended" if status is None else "no replica takes requests"
    return NotReady(said, retry_after_seconds=retry_after or RETRY_SECONDS)


class _Inflow:
    """The body as it comes in, noted while there is room for it, so that it can be given once more."""

    def __init__(self, receive: Receive, room: Callable[[int, int], bool]) -> None:
        self._receive = receive
        self._room = room
        self._noted: list[Message] = []
        self.noted_bytes = 0
        self.repeatable = True
        self.caller_left = False

    def from_the_start(self) -> Receive:
        """A `receive` that begins with what was noted."""
        again = iter(tuple(self._noted))

        async def receive() -> Message:
            for message in again:
                return message
            return await self._next()

        return receive

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.caller_left = True
        elif self.repeatable:
            self._note(message)
        return message

    def _note(self, message: Message) -> None:
        size = len(message.get("body", b""))
        if self._room(size, self.noted_bytes):
            self._noted.append(message)
            self.noted_bytes += size
        else:
            self.repeatable = False
            self._noted.clear()


class _Outflow:
    """One attempt's answer: a good one goes on when it is whole, a refusal of the service's own at once, Ray's never."""

    def __init__(self, send: Send, record: Record) -> None:
        self._send = send
        self._record = record
        self._held: list[Message] = []
        self.status: int | None = None
        self.retry_after: float | None = None
        self.passed = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._start(message)
        elif self.passed:
            await self._send(message)
        elif self._held:
            self._held.append(message)
            if not message.get("more_body", False):
                await self._pass_on()

    async def _start(self, message: Message) -> None:
        headers = Headers(raw=message["headers"])
        if _OURS not in headers:
            self.status = message["status"]
            self.retry_after = float(headers.get("retry-after", 0)) or None
            return
        raw = [(name, value) for name, value in message["headers"] if name.lower() != b"x-request-id"]
        self._held = [{**message, "headers": [*raw, (b"x-request-id", self._record.request_id.encode())]}]
        if message["status"] >= 400:
            await self._pass_on()

    async def _pass_on(self) -> None:
        self.passed = True
        for message in self._held:
            await self._send(message)
        self._held = []
