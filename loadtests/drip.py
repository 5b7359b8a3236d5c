"""Slow peers, in a process of their own so that their work does not delay the good callers' clock.

    python -m loadtests.drip PORT CONNECTIONS SECONDS

Half of the connections drip a head that never ends, half a body after a whole head. Prints one JSON line: how many were
closed by the service, and when, in seconds after each was opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

import uvloop

EVERY_SECONDS = 2.0
HEAD = b"POST /embed HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
WHOLE = b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


async def peer(port: int, kind: str, seconds: float) -> float | None:
    """Drip until closed; after how many seconds that was, None if it never was. Raises OSError if it cannot connect."""
    clock = asyncio.get_running_loop().time
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begin = clock()
    closed = asyncio.ensure_future(_closed(reader))
    try:
        writer.write(HEAD if kind == "head" else WHOLE)
        while not closed.done() and clock() - begin < seconds:
            writer.write(b"a")
            await asyncio.wait([closed], timeout=EVERY_SECONDS)
        return clock() - begin if closed.done() else None
    finally:
        closed.cancel()
        writer.transport.abort()


async def _closed(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(65536):
            pass


async def storm(port: int, connections: int, seconds: float) -> list[float | None]:
    """All peers at once."""
    kinds = ("head", "body")
    return await asyncio.gather(*(peer(port, kinds[number % 2], seconds) for number in range(connections)))


if __name__ == "__main__":
    closed = uvloop.run(storm(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
    print(json.dumps(closed))
