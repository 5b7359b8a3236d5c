"""A client that costs little: HTTP/1.1 over kept connections, written and read by hand, because it shares the service's cores.

A request is counted in `tally` when its outcome is known, by route and status (or the transport error's name), so that a
scenario can hold `/metrics` against what was really sent. Nothing is retried: a request that a closed connection swallowed
is lost.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

IDLE_SECONDS = 5.0
"""Connections that lay idle longer are not used again: the service closes them after 15 seconds, nginx after 15."""

LEFT = "499"
"""What a request is counted as whose caller left, here and in the service."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def retry_after_seconds(self) -> float | None:
        """What `Retry-After` says."""
        said = self.headers.get("retry-after")
        return None if said is None else float(said)

    @property
    def timings(self) -> dict[str, float]:
        """`Server-Timing` in milliseconds, by stage."""
        stages = (part.split(";dur=") for part in self.headers.get("server-timing", "").split(", ") if part)
        return {name: float(milliseconds) for name, milliseconds in stages}


@dataclass(slots=True, kw_only=True)
class Client:
    """Callers of one address. `key` is an API key, `tls` a context that trusts the address's certificate."""

    host: str
    port: int
    key: str | None = None
    tls: ssl.SSLContext | None = None
    timeout_seconds: float = 300.0
    tally: Counter[tuple[str, str]] = field(default_factory=Counter)
    _idle: list[tuple[float, Connection]] = field(default_factory=list)

    def message(self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
        """A whole request, as it goes over the wire; GET without a body."""
        lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if self.key is not None:
            lines.append(f"Authorization: Bearer {self.key}")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")

    async def ask(self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send one request and read its answer. Raises ConnectionError, IncompleteReadError and TimeoutError."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                reply = await self._exchange(self.message(path, body, headers))
        except (OSError, EOFError, TimeoutError) as error:
            self.tally[path, type(error).__name__] += 1
            raise
        self.tally[path, str(reply.status)] += 1
        return reply

    async def get(self, path: str) -> Reply:
        """Ask for something that is not a task."""
        return await self.ask(path)

    async def page(self) -> str:
        """The metrics, as text."""
        return (await self.get("/metrics")).body.decode()

    @asynccontextmanager
    async def leaving(self, path: str, body: bytes) -> AsyncIterator[None]:
        """Send a request and leave when the block ends, without having read a byte."""
        _, writer = await self.connect()
        try:
            writer.write(self.message(path, body))
            await writer.drain()
            yield
        finally:
            self.tally[path, LEFT] += 1
            writer.close()

    async def connect(self) -> Connection:
        """A new connection."""
        return await asyncio.open_connection(self.host, self.port, ssl=self.tls, limit=1 << 20)

    async def close(self) -> None:
        """Close the connections that are kept."""
        for _, (_, writer) in self._idle:
            writer.close()
        self._idle.clear()

    async def _exchange(self, message: bytes) -> Reply:
        reader, writer = await self._connection()
        try:
            writer.write(message)
            reply = await read_reply(reader)
        except BaseException:
            writer.transport.abort()
            raise
        if reply.headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((time.monotonic(), (reader, writer)))
        return reply

    async def _connection(self) -> Connection:
        while self._idle:
            since, (reader, writer) = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS and not reader.at_eof():
                return reader, writer
            writer.close()
        return await self.connect()


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """One answer from a connection. Raises IncompleteReadError if it ends before."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if headers.get("transfer-encoding") == "chunked":
        body = await _chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Reply(status=int(head[0].split(" ", 2)[1]), headers=headers, body=body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body
