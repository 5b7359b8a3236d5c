r"""The strings of a JSON body: found one by one, and the long ones read apart, piece by piece.

Python's parser reads a body in one call, in which no other thread runs: megabytes of escapes would hold up every other request
for a tenth of a second. So long strings, and all of them once the rest is long, are lifted out first, and the parser sees a
name in the place of each:

    body     {"id": "a", "text": "Le patient \"va bien\" ... "}
    rest     {"id": "a", "text": "5f0c1:0"}                         lifted   5f0c1:0 -> Le patient "va bien" ...

A name begins with random digits that no caller knows. What stands outside of strings is counted and bounded on the way, before
anything is built.
"""

from __future__ import annotations

import re
import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]  # public in CPython, unknown to typeshed
from typing import Final

from drlongformer.errors import BodyTooLarge, MalformedBody
from drlongformer.serving.reading import Steps

MAX_VALUES: Final = 100_000
MAX_OUTSIDE_BYTES: Final = 1024 * 1024
"""Bytes outside of strings: numbers, names of constants, brackets, commas, blanks."""
PIECE_BYTES: Final = 64 * 1024
STEP_BYTES: Final = 64 * 1024
LONG_BYTES: Final = 4096
REST_BYTES: Final = 1024 * 1024
"""Once the rest is so long, short strings are lifted too."""

# Letters, escapes of six bytes, escapes of two; possessive, so that no body makes it look twice at a byte.
_INSIDE = re.compile(rb'(?:[^"\\]++|\\u[0-9a-fA-F]{4}|\\[^u])*+', re.DOTALL)
_WHOLE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_ESCAPE_BYTES: Final = 6
_EMPTY = re.compile(rb"[\[{][ \t\r\n]*+[\]}]")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_HIGH: Final = range(0xD800, 0xDC00)


@dataclass(slots=True)
class Lifted:
    """What is left of a body, and the strings that were taken out of it, by the names that stand in their places.

    escapes: whether the rest holds an escaped surrogate. places: where in the rest, and where in the body, what follows each
    lifted string begins.
    """

    rest: bytearray = field(default_factory=bytearray)
    strings: dict[str, str] = field(default_factory=dict)
    places: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    prefix: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def escapes(self) -> bool:
        """Whether some string of the rest may hold a lone surrogate."""
        return _SURROGATE_ESCAPE.search(self.rest) is not None

    def place(self, offset: int) -> int:
        """Where in the body an offset of the rest lies."""
        known = self.places[bisect_right(self.places, offset, key=lambda place: place[0]) - 1]
        return offset - known[0] + known[1]

    def lift(self, string: str, behind: int) -> None:
        """Put a name in the place of a string that ends before `behind`."""
        name = f"{self.prefix}:{len(self.strings)}"
        self.strings[name] = string
        self.rest += f'"{name}"'.encode()
        self.places.append((len(self.rest), behind))


def lift(body: bytes) -> Steps[Lifted]:
    """Take the long strings out of a body, in steps. Raises MalformedBody for strings that are none, and BodyTooLarge."""
    lifted, count, end, pause = Lifted(), _Count(), 0, STEP_BYTES
    while (start := body.find(b'"', end)) >= 0:
        gap = body[end:start]
        count.add(gap)
        lifted.rest += gap
        short = _WHOLE.match(body, start, start + LONG_BYTES) if len(lifted.rest) <= REST_BYTES else None
        if short is None:
            end = yield from _lift(lifted, body, start)
        else:
            lifted.rest += short[0]
            end = short.end()
        if end >= pause:
            pause = end + STEP_BYTES
            yield
    count.add(body[end:])
    lifted.rest += body[end:]
    return lifted


class _Count:
    """What stands outside of strings, counted gap by gap; most gaps of a body are alike."""

    def __init__(self) -> None:
        self._outside = self._strings = 0
        self._values = 1
        self._known: dict[bytes, int] = {}

    def add(self, gap: bytes) -> None:
        """The gap before a string, or behind the last. Raises BodyTooLarge."""
        marks = self._known.get(gap)
        if marks is None:
            marks = _marks(gap[:MAX_OUTSIDE_BYTES])
            if len(gap) <= 8 and len(self._known) < 64:
                self._known[gap] = marks
        self._values += marks
        self._strings += 1
        self._outside += len(gap)
        if self._values > MAX_VALUES or self._strings > 2 * MAX_VALUES:  # a value has at most two: its name and itself
            raise BodyTooLarge(f"the body holds more than {MAX_VALUES} JSON values, the limit")
        if self._outside > MAX_OUTSIDE_BYTES:
            raise BodyTooLarge(
                f"{self._outside} bytes or more of the body stand outside of strings, the limit is {MAX_OUTSIDE_BYTES}"
            )


def _lift(lifted: Lifted, body: bytes, start: int) -> Steps[int]:
    """Lift the string that begins at `start`; the place behind it."""
    parts: list[str] = []
    behind = start + 1
    for piece, stop in _pieces(body, start):
        if parts:
            yield
        parts.append(piece)
        behind = stop
    lifted.lift("".join(parts), behind)
    return behind


def _pieces(body: bytes, start: int) -> Iterator[tuple[str, int]]:
    """A string read piece by piece; each with the place behind it, the last one's behind the closing quote."""
    place = start + 1
    while True:
        limit = min(place + PIECE_BYTES, len(body))
        stop = _end_of_match(body, place, limit)
        if body[stop : stop + 1] == b'"':
            yield _read(body, place, stop, last=True), stop + 1
            return
        if limit == len(body) or limit - stop >= _ESCAPE_BYTES:  # it ends there for another reason than the limit
            if stop >= len(body) - 1:
                raise not_json(body, start, "Unterminated string starting at")
            raise not_json(body, stop + 1, "Invalid \\uXXXX escape")
        stop = _before_a_letter(body, stop)
        piece = _read(body, place, stop, last=False)
        if ord(piece[-1]) in _HIGH:  # the other half of the letter may follow
            piece, stop = piece[:-1], stop - _ESCAPE_BYTES
        yield piece, stop
        place = stop


def _end_of_match(body: bytes, start: int, stop: int) -> int:
    """How far the inside of a string goes on, up to `stop`."""
    found = _INSIDE.match(body, start, stop)
    return start if found is None else found.end()


def _before_a_letter(body: bytes, place: int) -> int:
    """The place itself, or the beginning of the letter that it lies in."""
    for begin in range(place, place - 4, -1):
        if body[begin] & 0xC0 != 0x80:
            return begin
    return place


def _read(body: bytes, start: int, stop: int, *, last: bool) -> str:
    """A piece of the inside of a string; one that is not the last may end with half a letter. Raises MalformedBody."""
    content = body[start:stop]
    text = decode(content, lambda offset: start + offset)
    try:
        string: str = scanstring(f'{text}"', 0, True)[0]
    except JSONDecodeError as error:
        raise not_json(body, start + len(text[: error.pos].encode()), error.msg) from None
    if _SURROGATE_ESCAPE.search(content):
        require_characters(string if last or ord(string[-1]) not in _HIGH else string[:-1])
    return string


def require_characters(string: str) -> None:
    """Raise MalformedBody for a lone surrogate."""
    try:
        string.encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedBody("a string holds a lone surrogate, which is no character") from None


def decode(content: bytes | bytearray, place: Callable[[int], int]) -> str:
    """UTF-8 as text; `place` tells where in the body an offset lies. Raises MalformedBody."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the body is not UTF-8 at byte {place(error.start)}") from None


def not_json(body: bytes, place: int, told: str) -> MalformedBody:
    """The refusal of what is no JSON at this place of the body; `told` quotes nothing of it."""
    line = body.count(b"\n", 0, place) + 1
    column = len(body[body.rfind(b"\n", 0, place) + 1 : place].decode("utf-8", "replace")) + 1
    return MalformedBody(f"the body is not JSON: line {line}, column {column}: {told}")


def _marks(gap: bytes) -> int:
    """Values that begin in what stands between two strings: one after each comma, one inside of each list that is not empty."""
    commas, opened = gap.count(b","), gap.count(b"[") + gap.count(b"{")
    least = commas + opened - min(opened, gap.count(b"]") + gap.count(b"}"))
    if not opened or least > MAX_VALUES:  # a search through a million brackets would be one long call, and tell nothing new
        return least
    return commas + opened - sum(1 for _ in _EMPTY.finditer(gap))
