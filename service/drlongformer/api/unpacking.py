"""Bodies sent with `Content-Encoding: gzip`: unpacked piece by piece, bounded to the byte and in how far they may grow.

A few kilobytes can unpack to gigabytes, so at most `PIECE_BYTES` are made at a time, and the first byte too many ends it. What
grows more than `MAX_RATIO` times is refused before it comes to that: no clinical text does, and it would cost time for nothing.
Megabytes can also unpack to nothing at all (empty blocks, each with a table of its own, take a hundred times as long as text),
so at most `PACKED_BYTES` are looked at in one call.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Final

from starlette.datastructures import Headers

from drlongformer.errors import BodyTooLarge, MalformedBody

PIECE_BYTES: Final = 256 * 1024
PACKED_BYTES: Final = 32 * 1024
MAX_RATIO: Final = 200
FREE_BYTES: Final = 64 * 1024
"""Bytes to which anything may grow, whatever the ratio."""

_GZIP: Final = 16 + zlib.MAX_WBITS


def content_coding(headers: Headers) -> str:
    """How a body is packed: `identity`, `gzip`, or in lower case what was sent, which is not understood."""
    sent = ",".join(headers.getlist("content-encoding")).strip().lower()
    return {"": "identity", "x-gzip": "gzip"}.get(sent, sent)


async def unpacked(packed: bytes, *, max_bytes: int) -> AsyncIterator[bytes]:
    """What a gzip body holds; the event loop runs between pieces. Raises BodyTooLarge and MalformedBody."""
    reader, rest, place, total = zlib.decompressobj(_GZIP), b"", 0, 0
    while not reader.eof:
        if not rest:
            rest, place = packed[place : place + PACKED_BYTES], place + PACKED_BYTES
        try:
            piece = reader.decompress(rest, PIECE_BYTES)
        except zlib.error:
            raise MalformedBody(f"the body is not gzip; {total} bytes of it could be unpacked") from None
        rest, total = reader.unconsumed_tail, total + len(piece)
        if total > max_bytes:
            raise BodyTooLarge(f"the body unpacks to more than {max_bytes} bytes, the limit; it has {len(packed)} packed")
        if total > max(FREE_BYTES, MAX_RATIO * len(packed)):
            raise BodyTooLarge(f"the body unpacks to more than {MAX_RATIO} times its {len(packed)} bytes, the limit")
        if not piece and not rest and place >= len(packed) and not reader.eof:
            raise MalformedBody(f"the gzip body ends early, after {total} unpacked bytes")
        yield piece
        await asyncio.sleep(0)
    behind = len(reader.unused_data) + max(0, len(packed) - place)
    if behind:
        raise MalformedBody(f"{behind} bytes follow the end of the gzip body")
