"""A text as it is read by a model that wants it clean, and from every character of it the way back into the untouched text.

    text            l   e       c   Ã   ´   -   ⏎   l   o   n
    place           0   1   2   3   4   5   6   7   8   9   10
    normalised      l   e       c   ô               l   o   n
    starts          0   1   2   3   4               8   9   10
    stops           1   2   3   4   6               9   10  11

The token `côlon` is 3..8 of what is read and 3..11 of the text. Rules, applied in this order however they are
named:

encoding      signs that were read in the wrong encoding are mended (`mojibake.py`)
pages         headers and footers that come again are left out (`pages.py`)
hyphens       a word that was parted at a line's end is one again; `sous-⏎cutané` keeps its hyphen
lines         lines that were only wrapped are joined, as `sentences.py` judges

Each rule is a list of edits; time and memory are linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import numpy as np

from drlongformer.text.mojibake import misread
from drlongformer.text.pages import repeated
from drlongformer.text.sentences import wraps
from drlongformer.types import Edit, IntArray, Rule

HYPHENATED: Final = re.compile(r"(?<=[a-zß-öø-ÿœ])-[ \t]*+(?:\r\n|[\r\n])[ \t]*+(?=[a-zß-öø-ÿœ])")
"""A hyphen at a line's end between small letters, with the line break."""
_COMPOUND: Final = frozenset(
    ("arrière", "au", "avant", "ci", "compte", "demi", "grand", "là", "mi", "non", "peut", "rendez", "semi", "sous")
)
"""Words whose hyphen belongs to the word that they begin."""
_WORD_AT_END: Final = re.compile(r"[\w-]*\Z")
_BEFORE: Final = 32
"""Characters looked at before a hyphen."""
STEP: Final = 1_000
"""Lines, hyphens or signs after which a step ends: some 10 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalised:
    """A text of n characters made from an untouched one; character i stands for `starts[i]:stops[i]` of that, `[n]` each.

    length: characters of the untouched text.
    """

    text: str
    starts: IntArray
    stops: IntArray
    length: int

    def place(self, place: int) -> int:
        """Where the character that begins at a place, or the end, stands in the untouched text."""
        return int(self.starts[place]) if place < len(self.starts) else self.length

    def restore(self, spans: IntArray) -> IntArray:
        """Ranges `[T, 2]` of the untouched text: from the first to the last character that stands behind each range.

        An empty range stays one, where the character after it begins.
        """
        places = np.append(self.starts, self.length)
        start, stop = spans.T
        last = np.append(self.stops, self.length)[np.maximum(stop, 1) - 1]
        return np.stack([places[start], np.where(start < stop, last, places[start])], axis=1)


def normalise(text: str, rules: Sequence[Rule], *, keep: str = "") -> Normalised:
    """The text under these rules; `keep` is a string that is never left out."""
    steps = normalising(text, rules, keep=keep)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: Normalised = end.value
            return made


def normalising(text: str, rules: Sequence[Rule], *, keep: str = "") -> Generator[None, None, Normalised]:
    """What `normalise` gives, in short steps."""
    places = np.arange(len(text), dtype=np.int64)
    made = Normalised(text=text, starts=places, stops=places + 1, length=len(text))
    stages: list[Callable[[str], Iterator[Edit | None]]] = []
    if "encoding" in rules:
        stages.append(_mended)
    if "pages" in rules:
        stages.append(lambda before: repeated(before, keep=keep))
    if "hyphens" in rules or "lines" in rules:
        stages.append(lambda before: _joined(before, rules))
    for stage in stages:
        edits: list[Edit] = []
        for number, edit in enumerate(stage(made.text), start=1):
            if edit is not None:
                edits.append(edit)
            if number % STEP == 0:
                yield
        if edits:
            yield
            made = yield from _edited(made, edits)
        yield
    return made


def _mended(text: str) -> Iterator[Edit]:
    return (Edit(start=found.start, stop=found.stop, replacement=found.sign) for found in misread(text))


def _joined(text: str, rules: Sequence[Rule]) -> Iterator[Edit | None]:
    """Line breaks inside words and sentences; one inside a word is never a space, whether or not it is mended."""
    inside: dict[int, Edit] = {}
    for found in HYPHENATED.finditer(text):
        inside[found.end()] = _unhyphenated(text, found)
        yield None
    edits = list(inside.values()) if "hyphens" in rules else []
    for start, stop in wraps(text) if "lines" in rules else ():
        if stop not in inside:
            edits.append(Edit(start=start, stop=stop, replacement=" "))
        yield None
    yield from sorted(edits, key=attrgetter("start"))


def _unhyphenated(text: str, found: re.Match[str]) -> Edit:
    """The word in one, with its hyphen where that belongs to it: `vis-à-⏎vis`, `sous-⏎cutané`."""
    ending = _WORD_AT_END.search(text, max(0, found.start() - _BEFORE), found.start())
    before = ending.group().lower() if ending else ""
    compound = before in _COMPOUND or "-" in before
    return Edit(start=found.start() + compound, stop=found.end(), replacement="")


def _edited(made: Normalised, edits: Sequence[Edit]) -> Generator[None, None, Normalised]:
    """The text with edits, in order and apart, that were told of it; what they put in stands for all that they take out."""
    size = len(made.text)
    begin = np.array([edit.start for edit in edits], dtype=np.int64)
    end = np.array([edit.stop for edit in edits], dtype=np.int64)
    yield
    kept = np.append(begin, size) - np.concatenate([[0], end])
    lengths = np.empty(2 * len(edits) + 1, dtype=np.int64)
    lengths[::2], lengths[1::2] = kept, [len(edit.replacement) for edit in edits]
    first, last = np.zeros_like(lengths), np.zeros_like(lengths)
    first[2::2], first[1::2], last[1::2] = end, begin, end
    moving = np.repeat(np.arange(len(lengths)) % 2 == 0, lengths)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    yield
    start = np.repeat(first, lengths) + np.where(moving, within, 0)
    stop = np.where(moving, start + 1, np.repeat(last, lengths))
    return Normalised(
        text=_spliced(made.text, edits), starts=made.starts[start], stops=made.stops[stop - 1], length=made.length
    )


def _spliced(text: str, edits: Sequence[Edit]) -> str:
    parts: list[str] = []
    place = 0
    for edit in edits:
        parts += (text[place : edit.start], edit.replacement)
        place = edit.stop
    return "".join([*parts, text[place:]])
