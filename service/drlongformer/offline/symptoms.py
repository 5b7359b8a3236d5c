r"""What is often wrong with exported texts, told from the text alone: no model, no dictionary, and no word of it passed on.

mojibake      UTF-8 that was read as Windows-1252 or Latin-1 (`Ã©`), replacement characters, C1 controls (`\x92` for ’)
wrapped       lines broken at a width, not at the end of a paragraph; words hyphenated across lines
repeated      the same line, numbers aside, three times and more: headers and footers of pages
edges         the first and the last lines of a document, by which an archive's common header shows
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Final

from drlongformer.text.mojibake import misread
from drlongformer.text.normalisation import HYPHENATED
from drlongformer.text.words import has_visible

C1: Final = re.compile("[\x80-\x9f\ufffd]")
LINE_ENDS: Final = re.compile("\r\n|[\r\n]")
DIGITS: Final = re.compile(r"\d+")
SENTENCE_END: Final = tuple(".!?:;…»")
LEAST_LINES: Final = 8
"""Fewer lines say nothing about a width."""
WIDTHS: Final = range(40, 141)
NEAR_WIDTH: Final = 16
REPEATS: Final = 3
LEAST_LETTERS: Final = 8
"""Letters of a repeated line; shorter ones (`Non.`) repeat for good reasons."""
EDGE_LINES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptoms:
    """What one document shows. edges: hashes of the forms of its first and last lines, each once."""

    empty: bool
    mojibake: bool
    wrapped: bool
    hyphenated: bool
    repeated: bool
    edges: frozenset[int]


def symptoms(text: str) -> Symptoms:
    """Look at one text."""
    lines = [line.strip() for line in LINE_ENDS.split(text.replace("\f", "\n"))]
    written = [line for line in lines if line]
    return Symptoms(
        empty=not has_visible(text),
        mojibake=C1.search(text) is not None or any(True for _ in misread(text)),
        wrapped=_wrapped(lines),
        hyphenated=HYPHENATED.search(text) is not None,
        repeated=_repeated(written),
        edges=frozenset(_hash(line) for line in (*written[:EDGE_LINES], *written[-EDGE_LINES:]) if _letters(line)),
    )


def _wrapped(lines: list[str]) -> bool:
    """Whether most lines that another line follows end near the longest, and not where a sentence does."""
    followed = [line for line, after in pairwise(lines) if line and after]
    longest = max(map(len, lines), default=0)
    if len(followed) < LEAST_LINES or longest not in WIDTHS:
        return False
    broken = [line for line in followed if len(line) > longest - NEAR_WIDTH and not line.endswith(SENTENCE_END)]
    return 2 * len(broken) > len(followed)


def _repeated(written: list[str]) -> bool:
    forms = Counter(_form(line) for line in written if _letters(line))
    return any(count >= REPEATS for count in forms.values())


def _letters(line: str) -> bool:
    return sum(letter.isalpha() for letter in line) >= LEAST_LETTERS


def _form(line: str) -> str:
    """A line, its numbers and spaces aside: `Page 2/3` and `Page 3/3` are one."""
    return DIGITS.sub("#", " ".join(line.split()))


def _hash(line: str) -> int:
    return int.from_bytes(blake2b(_form(line).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
