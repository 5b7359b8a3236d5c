r"""Bodies: read whole before anything else happens, bounded to the byte and in time; a caller who leaves stops the work.

Pure ASGI, because Starlette's own middleware base hides `http.disconnect`. First read, then work and watch:

    receive -> body (413, 408) -> room for any of it? (429) -> app(replayed body) -> answer
                                                                              \-> http.disconnect -> app cancelled, Cancelled

A body that is too large is refused as soon as that is known, and then still read, up to a bound (`discard`): a peer that is cut
off while it writes never sees the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drlongformer.api.record import LEFT, record_of
from drlongformer.api.room import Room
from drlongformer.api.unpacking import content_coding, unpacked
from drlongformer.errors import BodyTooLarge, BodyTooSlow, Cancelled, Overloaded
from drlongformer.settings import Limits

SMALL_BYTES: Final = 64 * 1024
DISCARD_BYTES: Final = 64 * 1024 * 1024


class BodyGate:
    """Middleware that hands the app one whole body within the limits, and cancels the app when the caller has gone."""

    def __init__(self, app: ASGIApp, *, limits: Limits, room: Room | None = None) -> None:
        """room: asked before a body is handed on, and before one that waits for `100 Continue` is sent."""
        self._app = app
        self._limits = limits
        self._room = room
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, then run the app under watch. Raises BodyTooLarge, BodyTooSlow, Overloaded and Cancelled."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            await self._read(scope, receive, body)
            await self._unpack(scope, body)
            if self._room is not None:
                self._room.require(scope, body_bytes=len(body))
            await _run_watched(self._app, scope, receive, send, bytes(body))
        finally:
            self._held_bytes -= len(body)

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        limits, record, headers = self._limits, record_of(scope), Headers(scope=scope)
        declared = headers.get("content-length", "")
        length = int(declared) if declared.isdecimal() else 0  # the server has bounded its digits
        waits = headers.get("expect", "").lower() == "100-continue"  # it has sent nothing, and shall not in vain
        if waits and self._room is not None:
            self._room.require(scope, body_bytes=length)
        inflow = _Inflow(receive)
        try:
            async with asyncio.timeout(limits.body_seconds):
                fits = length <= limits.max_body_bytes and await self._collect(inflow, body)
        except TimeoutError:
            raise BodyTooSlow(
                f"the body did not arrive within {limits.body_seconds:g} seconds; {len(body)} bytes came"
            ) from None
        record.body_bytes = max(length, len(body))
        record.body_complete = inflow.complete
        if not fits:
            record.linger_seconds = 0.0 if waits or inflow.complete else limits.body_seconds
            actual = length if length > limits.max_body_bytes else f"more than {limits.max_body_bytes}"
            raise BodyTooLarge(f"the body has {actual} bytes, the limit is {limits.max_body_bytes}")

    async def _unpack(self, scope: Scope, body: bytearray) -> None:
        """Put what a gzip body holds in its place. Raises BodyTooLarge, MalformedBody and Overloaded."""
        if not body or content_coding(Headers(scope=scope)) != "gzip":
            return
        packed = bytes(body)
        self._held_bytes -= len(body)
        body.clear()
        async for piece in unpacked(packed, max_bytes=self._limits.max_body_bytes):
            self._hold(body, piece)

    async def _collect(self, inflow: _Inflow, body: bytearray) -> bool:
        """Fill `body`; whether it fits. Raises Overloaded where all bodies together take too much memory."""
        async for chunk in inflow:
            if len(body) + len(chunk) > self._limits.max_body_bytes:
                return False
            self._hold(body, chunk)
        return True

    def _hold(self, body: bytearray, chunk: bytes) -> None:
        """Add to a body. Some room is kept for small ones, so that a few large ones that come slowly lock nobody else out."""
        small = len(body) + len(chunk) <= SMALL_BYTES
        limit = self._limits.max_held_bytes if small else self._limits.max_held_bytes * 7 // 8
        if self._held_bytes + len(chunk) > limit:
            raise Overloaded(f"the requests in progress hold {self._held_bytes} bytes, the limit is {limit}")
        body += chunk
        self._held_bytes += len(chunk)


class _Inflow:
    """A body as it comes in, chunk by chunk. Raises Cancelled when the caller leaves before its end."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.complete = False

    def __aiter__(self) -> _Inflow:
        return self

    async def __anext__(self) -> bytes:
        if self.complete:
            raise StopAsyncIteration
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Cancelled("the caller left before the body was complete")
        self.complete = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk


async def discard(receive: Receive, *, seconds: float) -> None:
    """Read on without keeping anything, to a bound or the body's end; also returns when the caller or the server stops."""
    discarded = 0
    with contextlib.suppress(TimeoutError, Cancelled, asyncio.CancelledError):
        async with asyncio.timeout(seconds):
            async for chunk in _Inflow(receive):
                discarded += len(chunk)
                if discarded > DISCARD_BYTES:
                    return


async def _run_watched(app: ASGIApp, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
    gone = asyncio.ensure_future(_disconnected(receive))
    await asyncio.sleep(0)  # a caller who sent a request and left at once is known to have left before it is answered

    async def answer(message: Message) -> None:
        if (gone.done() or LEFT in scope) and message["type"] == "http.response.start":
            raise Cancelled("the caller left before the answer was ready")
        await send(message)

    work = asyncio.ensure_future(_start(app, scope, _replay(body, gone), answer))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if work.done() or record_of(scope).status is not None:
            await work
        if record_of(scope).status is None and gone.done():
            raise Cancelled("the caller left before the answer was ready")
    finally:
        pending = [task for task in (work, gone) if task.cancel()]
        if pending:
            await asyncio.wait(pending)


async def _start(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _replay(body: bytes, gone: asyncio.Future[None]) -> Receive:
    """A `receive` that gives the whole body once, and after it only the caller's leaving."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.shield(gone)
        return {"type": "http.disconnect"}

    return receive
