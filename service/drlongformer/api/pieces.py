"""Answers that may be large, made and sent so that nobody else waits for them.

    event loop          thread                                      event loop
    pipeline answers -> piece, piece, piece, ... until complete  -> start (length known) -> piece -> piece -> ... -> end

The interpreter is shared: a thread gives it up between pieces, and after a millisecond inside of one. The threads are those
that read texts (`Pipeline.beside`), so that however many large answers are made, few threads want it at the same time. Pieces
are sent one by one, each when the connection has room for it, so a slow reader does not make the server copy what it holds.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

SEND_BYTES: Final = 64 * 1024
"""Pieces are joined until they are as long as this: many short writes cost more than they spare."""


def joined(pieces: Iterator[bytes]) -> Generator[None, None, list[bytes]]:
    """All pieces, as steps of a job; an error in one is raised before anything is sent."""
    made: list[bytes] = []
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= SEND_BYTES:
            made.append(bytes(held))
            held.clear()
        yield
    return [*made, bytes(held)]


class PiecewiseResponse(Response):
    """A JSON answer that was made as pieces, and is sent as such."""

    media_type = "application/json"

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__(headers={"Content-Length": str(sum(map(len, pieces)))})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the shape of an ASGI app
        """Send the pieces in order."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
