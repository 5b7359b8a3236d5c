"""How generated requests are framed: rightly, or in the ways that a proxy and a server are known to read differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

Lines = list[tuple[bytes, bytes]]

CANARY: Final = "canari1931"
SMUGGLED: Final = b"GET /models/canari1931 HTTP/1.1\r\nHost: localhost\r\n\r\n"
LENGTH: Final = b"Content-Length"
CODING: Final = b"Transfer-Encoding"

_NO_LENGTHS: Final = (b"-1", b"+5", b"0x10", b"1e3", b"", b"five", b"1_0", b"\xb2", b"3 1", b"9" * 40)
_LARGE_LENGTHS: Final = (b"8388609", b"9" * 19, b"18446744073709551616")
_CODINGS: Final = (b"gzip", b"chunked, chunked", b"gzip, chunked", b"identity", b"xchunked", b"chunked;q=1", b"\x0bchunked")
_NAMES_OF_CODING: Final = (b"Transfer-Encoding ", b" Transfer-Encoding", b"Transfer\x00-Encoding", b"transfer_encoding")
_CHUNKS: Final = (
    b"zz\r\nabc\r\n",
    b"-1\r\nabc\r\n",
    b"0x5\r\nabcde\r\n0\r\n\r\n",
    b"5\nabcde\n0\n\n",
    b"5\r\nabcdeXX0\r\n\r\n",
    b"5 \r\nabcde\r\n0\r\n\r\n",
    b"5;" + CANARY.encode() * 300 + b"\r\nabcde\r\n0\r\n\r\n",
    b"F" * 30 + b"\r\nabc",
    b"ffffffffff\r\nabc",
    b"5\r\nabcde\r\n",
    b"5\r\nabcde\r\n0\r\nContent-Length: 5\r\nHost: canari1931\r\n\r\n",
    b"1\r\nx\r\n" * 3000,
)


def framed(framing: str, content: bytes, random: Random) -> tuple[Lines, bytes]:
    """The headers that tell a body's length, and the bytes that go out as the body."""
    if framing == "length":
        return [(LENGTH, _size(content))], content
    return FRAMINGS[framing](content, random)


def chunked(content: bytes, random: Random) -> bytes:
    """A body in chunks of some sizes."""
    pieces, place = [], 0
    while place < len(content):
        piece = content[place : place + random.choice((1, 7, 64, 4096))]
        pieces.append(b"%x\r\n%b\r\n" % (len(piece), piece))
        place += len(piece)
    return b"".join(pieces) + b"0\r\n\r\n"


def _size(content: bytes) -> bytes:
    return b"%d" % len(content)


def _nothing(content: bytes, _: Random) -> tuple[Lines, bytes]:
    return [], content


def _in_chunks(content: bytes, random: Random) -> tuple[Lines, bytes]:
    return [(CODING, b"chunked")], chunked(content, random)


def _both(content: bytes, random: Random) -> tuple[Lines, bytes]:
    lines = [(LENGTH, random.choice((_size(content), b"4"))), (CODING, b"chunked")]
    return random.sample(lines, 2), chunked(content, random) + SMUGGLED


def _two_lengths(content: bytes, random: Random) -> tuple[Lines, bytes]:
    return [(LENGTH, _size(content)), (LENGTH, random.choice((_size(content), b"0", b"1")))], content + SMUGGLED


def _a_list_of_lengths(content: bytes, _: Random) -> tuple[Lines, bytes]:
    return [(LENGTH, _size(content) + b", " + _size(content))], content


def _no_length(content: bytes, random: Random) -> tuple[Lines, bytes]:
    return [(LENGTH, random.choice(_NO_LENGTHS))], content


def _a_large_length(content: bytes, random: Random) -> tuple[Lines, bytes]:
    return [(LENGTH, random.choice(_LARGE_LENGTHS))], content


def _another_length(content: bytes, random: Random) -> tuple[Lines, bytes]:
    return [(LENGTH, b"%d" % random.choice((len(content) + 1, len(content) + 100, len(content) // 2)))], content


def _another_coding(content: bytes, random: Random) -> tuple[Lines, bytes]:
    return [(CODING, random.choice(_CODINGS))], chunked(content, random)


def _a_coding_spelt_otherwise(content: bytes, random: Random) -> tuple[Lines, bytes]:
    return [(random.choice(_NAMES_OF_CODING), b"chunked")], chunked(content, random)


def _broken_chunks(_: bytes, random: Random) -> tuple[Lines, bytes]:
    return [(CODING, b"chunked")], random.choice(_CHUNKS)


def _requests_behind(content: bytes, random: Random) -> tuple[Lines, bytes]:
    return [(LENGTH, _size(content))], content + SMUGGLED * random.choice((1, 3))


FRAMINGS: Final[Mapping[str, Callable[[bytes, Random], tuple[Lines, bytes]]]] = {
    way.__name__.lstrip("_").replace("_", " "): way
    for way in (
        _nothing,
        _in_chunks,
        _both,
        _two_lengths,
        _a_list_of_lengths,
        _no_length,
        _a_large_length,
        _another_length,
        _another_coding,
        _a_coding_spelt_otherwise,
        _broken_chunks,
        _requests_behind,
    )
}
