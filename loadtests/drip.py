"""Slow peers, in a process of their own so that their work does not delay the good callers' clock.

    python -m loadtests.drip PORT CONNECTIONS SECONDS SPREAD_SECONDS

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


async def peer(port: int, kind: str, *, seconds: float, wait_seconds: float) -> float | None:
    """Wait, drip until closed; after how many seconds that was, None if it never was. Raises OSError if it cannot connect."""
    clock = asyncio.get_running_loop().time
    await asyncio.sleep(wait_seconds)
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


async def storm(port: int, connections: int, *, seconds: float, spread_seconds: float) -> list[float | None]:
    """All peers, opened evenly over `spread_seconds`."""
    kinds, step = ("head", "body"), spread_seconds / connections
    peers = (peer(port, kinds[place % 2], seconds=seconds, wait_seconds=place * step) for place in range(connections))
    return await asyncio.gather(*peers)


if __name__ == "__main__":
    closed = uvloop.run(
        storm(int(sys.argv[1]), int(sys.argv[2]), seconds=float(sys.argv[3]), spread_seconds=float(sys.argv[4]))
    )
    print(json.dumps(closed))
