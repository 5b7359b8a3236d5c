r"""French signs that were written as UTF-8 and read as Windows-1252 or Latin-1, and those of Windows-1252 read as Latin-1.

    é -> Ã©      ’ -> â€™      œ -> Å“      ° -> Â°      and as C1 controls:  ’ -> \x92     œ -> \x9c

Only sequences that give a sign of French texts are told; other results of decoding again are chance (`É»` in capitals). Each
byte may have been read either way, because Windows-1252 has none for some (`”` is `â€` and `\x9d`). `\x85` stays: it is `…`
in Windows-1252, and the line end of mainframes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

FRENCH: Final = frozenset("àâäçéèêëîïôöùûüÿœæÀÂÄÇÉÈÊËÎÏÔÖÙÛÜŸŒÆ«»’‘“”…–—€°µ²³·\u00a0\u202f")
LINE_END: Final = "\x85"


@dataclass(frozen=True, slots=True, kw_only=True)
class Misread:
    """The range of a sign that was read wrong, and what it is."""

    start: int
    stop: int
    sign: str


def misread(text: str) -> Iterator[Misread]:
    """Signs of a text that were read wrong, in order."""
    for found in _ANY.finditer(text):
        yield Misread(start=found.start(), stop=found.end(), sign=_SIGNS[found.group()])


def _readings(byte: int) -> set[str]:
    """What a byte looks like in either encoding."""
    single = bytes([byte])
    return {single.decode("latin-1"), single.decode("cp1252", "ignore") or single.decode("latin-1")}


def _signs() -> dict[str, str]:
    """From what stands in a text to what was meant."""
    double = {"".join(each): sign for sign in FRENCH for each in product(*map(_readings, sign.encode()))}
    controls = {chr(byte): bytes([byte]).decode("cp1252", "ignore") for byte in range(0x80, 0xA0)}
    return {control: sign for control, sign in controls.items() if sign and control != LINE_END} | double


def _tree(sequences: Iterable[str]) -> str:
    """A pattern for these, none the beginning of another; it looks at a character once."""
    firsts: dict[str, set[str]] = {}
    for sequence in sequences:
        firsts.setdefault(sequence[0], set()).add(sequence[1:])
    branches = (re.escape(first) + (_tree(rests) if any(rests) else "") for first, rests in sorted(firsts.items()))
    return f"(?:{'|'.join(branches)})"


_SIGNS: Final = _signs()
_ANY: Final = re.compile(_tree(_SIGNS))
