"""Notes as hospitals export them: without accents, in capitals, in hard lines; every span moves with its characters.

A rewriting says for each character of the old text where its rendering begins and ends in the new one; a span goes from the
beginning of its first character to the end of its last. A rendering is never empty, so neither is a span.

    old      c œ u r   l é s é                      accents: œ becomes two characters, é loses its accent
             0 1 2 3 4 5 6 7 8
    new      c o e u r   l e s e
             0 1 2 3 4 5 6 7 8 9                    span 1:4 becomes 1:5, span 5:9 becomes 6:10

Shapes: n characters of the old text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from drlongformer.errors import TrainingError
from drlongformer.training.records.nested import outermost
from drlongformer.training.records.record import ChoiceRecord, PairRecord, Record, SpanRecord, TextRecord
from drlongformer.training.spans import Span
from drlongformer.types import IntArray

LIGATURES = {"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE"}
FIRST_ACCENT, LAST_ACCENT = "\u0300", "\u036f"
WIDTH = 80
HYPHEN = "-\n"
KEPT_LETTERS = 3
"""Letters of a hyphenated word that stay on each line, at least."""

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """A new text, and where each character of the old one is rendered in it: half-open ranges `begin:end`, each `[n]`."""

    text: str
    begin: IntArray
    end: IntArray

    def span(self, span: Span) -> Span:
        """Where a span of the old text lies in the new one."""
        return Span(start=int(self.begin[span.start]), end=int(self.end[span.end - 1]), label=span.label)


def accents(text: str) -> Rewritten:
    """Letters without their accents, œ and æ as two letters; an accent written as a character of its own goes too."""
    pieces: list[str] = []
    for place, letter in enumerate(text):
        pieces.append("" if FIRST_ACCENT <= letter <= LAST_ACCENT and place and _lettered(text, place) else _plain(letter))
    return _rendered(pieces)


def case(text: str) -> Rewritten:
    """Capitals, accents kept."""
    return _rendered([letter.upper() for letter in text])


def wrap(text: str, *, width: int = WIDTH) -> Rewritten:
    """Hard lines of at most `width` characters, long words hyphenated at the margin; lines that were there stay.

    A word is cut between letters only, so figures and doses stay whole; what cannot be cut runs over the margin.
    """
    if width < 2 * KEPT_LETTERS + 1:
        raise TrainingError(f"lines of {width} characters cannot be wrapped; {2 * KEPT_LETTERS + 1} is the least")
    pieces = list(text)
    start = 0
    for end in [*(place for place, letter in enumerate(text) if letter == "\n"), len(text)]:
        _wrap_line(pieces, text, start, end, width)
        start = end + 1
    return _rendered(pieces, inserted=len(HYPHEN))


def _wrap_line(pieces: list[str], text: str, start: int, end: int, width: int) -> None:
    """Break the line `start:end` of the text: a blank becomes the end of a line, or a hyphen goes before a letter."""
    while end - start > width:
        cut = _cut(text, start, end, start + width - 1)  # one place is left for the hyphen
        space = text.rfind(" ", start, start + width + 1)
        if cut is not None:
            pieces[cut] = HYPHEN + text[cut]
            start = cut
        elif space > start:
            pieces[space] = "\n"
            start = space + 1
        else:
            later = text.find(" ", start + width, end)
            if later < 0:
                return
            pieces[later] = "\n"
            start = later + 1


def _cut(text: str, start: int, end: int, margin: int) -> int | None:
    """The place of a cut at the margin, if a word crosses it there that leaves enough letters on both sides."""
    around = text[max(start, margin - KEPT_LETTERS) : min(end, margin + KEPT_LETTERS)]
    return margin if len(around) == 2 * KEPT_LETTERS and around.isalpha() else None


AUGMENTATIONS: Mapping[str, Callable[[str], Rewritten]] = {"accents": accents, "case": case, "wrap": wrap}


def rewriting(name: str) -> Callable[[str], Rewritten]:
    """The augmentation of that name; raises TrainingError where none has it."""
    if name not in AUGMENTATIONS:
        raise TrainingError(f"no augmentation {name!r}; there are {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[name]


def augmented(record: R, names: Iterable[str]) -> R:
    """The record rewritten by each augmentation in turn; raises TrainingError for a name that is none."""
    for name in names:
        record = rewritten(record, rewriting(name))
    return record


def rewritten(record: R, rewrite: Callable[[str], Rewritten]) -> R:
    """The record with all of its texts rewritten; its spans move with their characters."""
    match record:
        case SpanRecord():
            new = rewrite(record.text)
            flat = outermost(map(new.span, record.spans))  # a letter and its accent may have been annotated apart
            nested = (*map(new.span, record.nested), *flat.dropped)
            return replace(record, text=new.text, spans=flat.kept, nested=tuple(sorted(nested)))
        case TextRecord():
            return replace(record, text=rewrite(record.text).text)
        case PairRecord():
            return replace(record, first=rewrite(record.first).text, second=rewrite(record.second).text)
        case ChoiceRecord():
            return replace(
                record,
                question=rewrite(record.question).text,
                options={letter: rewrite(option).text for letter, option in record.options.items()},
                context=None if record.context is None else rewrite(record.context).text,
            )


def _rendered(pieces: Sequence[str], *, inserted: int = 0) -> Rewritten:
    """What each character became, joined; an empty piece is rendered by the one before it.

    A piece longer than `inserted` characters begins with that many that belong to no character, where `inserted` is not 0.
    """
    length = np.array([len(piece) for piece in pieces], dtype=np.int64)
    end = np.cumsum(length)
    begin = end - length
    if inserted:
        begin = np.where(length > inserted, begin + inserted, begin)
    for place in np.flatnonzero(length == 0):
        begin[place] = begin[place - 1]
    return Rewritten(text="".join(pieces), begin=begin, end=end)


def _plain(letter: str) -> str:
    """A letter without its accents; signs such as ≠, which are written like accented ones, stay."""
    if letter in LIGATURES:
        return LIGATURES[letter]
    if not letter.isalpha():
        return letter
    bare = "".join(part for part in unicodedata.normalize("NFD", letter) if not FIRST_ACCENT <= part <= LAST_ACCENT)
    return unicodedata.normalize("NFC", bare)


def _lettered(text: str, place: int) -> bool:
    """Whether the accents up to `place` sit on a letter."""
    while place and FIRST_ACCENT <= text[place] <= LAST_ACCENT:
        place -= 1
    return text[place].isalpha()
