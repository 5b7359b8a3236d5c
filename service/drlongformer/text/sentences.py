"""Sentences and paragraphs of French clinical text, as character ranges of the untouched text.

A line break ends a sentence unless the line was wrapped: the line then ends in a comma or a small word, the next one begins in
small letters, or its first word would not have fitted on a line as wide as the paragraph's widest. Titles, items of lists and
rows of tables stand alone.

    ANTÉCÉDENTS :            [ANTÉCÉDENTS :]
    - HTA                    [- HTA]
    Vu par le Dr. A. Petit   [Vu par le Dr. A. Petit
    à 8 h 30. Bien toléré.   à 8 h 30.] [Bien toléré.]

A full stop ends one where blank space follows and then anything but a small letter, unless it belongs to an abbreviation, an
initial, or the number of an item. Every visible character lies in exactly one sentence. The time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


ABBREVIATIONS: Final = _words("""
    m mm mr mme mmes mlle mlles dr drs pr prs me st ste art chap fig figs tab réf ref cf ex env approx vol éd ed p pp n no num
    tél tel av apr bd hab resp dir chir méd med hôp hop serv obs vs inf sup lat post ant nb min max
    janv févr fév avr juil sept oct nov déc c.-à-d p.ex p.o i.v s.c i.m e.v
""")
"""Words whose full stop ends no sentence, in small letters and without that stop."""

_BEFORE_NAMES: Final = _words("m mr mme mlle dr pr drs prs docteur professeur par de du des le la et à chez avec pour")
"""What stands before a person's initial; before a capital that ends a sentence stands another word: « hépatite C. »."""

_GO_ON: Final = _words("""
    à au aux avec ce ces chez d dans de des du en et l la le les ou par pour que qui sans son sa sous sur un une
""")
"""Words that end no sentence: a line that ends in one was wrapped."""

_PARAGRAPH_END: Final = re.compile(r"(?:\r\n?|\n)[^\S\r\n]*(?:\r\n?|\n)\s*|\f\s*")
_LINE: Final = re.compile(r"[^\n\r\u2028\x0b\x85]+")
_ITEM: Final = re.compile(r"\s*(?:[-–—•*◦▪·→>✓☐]\s*\S|(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,4})\s*[.)°]\s)")
_ITEM_NUMBER: Final = re.compile(r"\s*(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,4})\s*\.")
_STOP: Final = re.compile(r"(?<![.!?…])(?P<mark>[.!?…]++)(?P<closing>(?:[ \u00a0\u202f]?»|[\"”’)\]])*+)\s++(?P<next>\S)")
_WORD_AT_END: Final = re.compile(r"[^\s(«\"“\['’]*\Z")
_BEFORE: Final = 40
"""Characters looked at before a full stop; no abbreviation is longer."""


Span = tuple[int, int]


def sentences(text: str) -> Iterator[Span]:
    """The sentences of a text, half-open ranges in order, without blank space at their ends; found as they are asked for."""
    for start, stop in paragraphs(text):
        for unit in _units(text, start, stop):
            for sentence in _cut(text, *unit):
                yield from _trimmed(text, *sentence)


def paragraphs(text: str) -> Iterator[Span]:
    """The parts of a text between blank lines, half-open ranges in order, without blank space at their ends."""
    start = 0
    for found in _PARAGRAPH_END.finditer(text):
        yield from _trimmed(text, start, found.start())
        start = found.end()
    yield from _trimmed(text, start, len(text))


def wraps(text: str) -> Iterator[Span]:
    """The blank space at every line break that is only a wrapping, half-open ranges in order."""
    for start, stop in paragraphs(text):
        lines, width = _lines(text, start, stop)
        for (begin, end), (after, last) in pairwise(lines):
            line, following = text[begin:end], text[after:last]
            if _goes_on(line, following, width):
                yield begin + len(line.rstrip()), last - len(following.lstrip())


def _lines(text: str, start: int, stop: int) -> tuple[list[Span], int]:
    """The written lines of a paragraph, and how wide the widest is."""
    lines = [found.span() for found in _LINE.finditer(text, start, stop) if not found.group().isspace()]
    return lines, max((len(text[begin:end].rstrip()) for begin, end in lines), default=0)


def _units(text: str, start: int, stop: int) -> Iterator[Span]:
    """The lines of a paragraph, those that were wrapped joined again."""
    lines, width = _lines(text, start, stop)
    first = 0
    for number in range(1, len(lines) + 1):
        if number == len(lines) or not _goes_on(text[slice(*lines[number - 1])], text[slice(*lines[number])], width):
            yield lines[first][0], lines[number - 1][1]
            first = number


def _goes_on(line: str, following: str, width: int) -> bool:
    """Whether a line was only wrapped, and the following one goes on with its sentence."""
    line, following = line.rstrip(), following.lstrip()
    title = line.endswith(":") or (line.isupper() and not following.isupper())
    if title or _is_row(line) or _is_row(following) or _ITEM.match(following):
        return False
    if following[0].islower() or line.endswith(",") or _last_word(line).lower() in _GO_ON:
        return True
    return len(line) + 1 + len(following.split(maxsplit=1)[0]) > width and not line.endswith((".", "!", "?", "…"))


def _is_row(line: str) -> bool:
    return "\t" in line.strip() or "|" in line


def _cut(text: str, start: int, stop: int) -> Iterator[Span]:
    begin = start
    for found in _STOP.finditer(text, start, stop):
        if _ends_a_sentence(text, begin, found):
            yield begin, found.end("closing")
            begin = found.start("next")
    yield begin, stop


def _ends_a_sentence(text: str, begin: int, found: re.Match[str]) -> bool:
    following, at = found["next"], found.start()
    if following.islower() or following in ",;:.!?…%":
        return False
    if found["mark"] != "." or found["closing"]:
        return True
    if _ITEM_NUMBER.fullmatch(text, begin, at + 1):
        return False
    before = text[max(begin, at - _BEFORE) : at]
    word = _last_word(before)
    if word.lower() in ABBREVIATIONS or (word.isdecimal() and following.isdecimal()):
        return False
    return not (_is_initial(word) and _may_precede_a_name(before.removesuffix(word).rstrip()))


def _last_word(before: str) -> str:
    found = _WORD_AT_END.search(before[-_BEFORE:])
    return found.group() if found else ""


def _is_initial(word: str) -> bool:
    """A, J.-B or J.B: capitals that stand for first names."""
    return all(len(part) == 1 and part.isupper() for part in re.split(r"[.-]+", word))


def _may_precede_a_name(before: str) -> bool:
    """Whether a lone capital behind this stands for a first name (« par A. Petit »), and not for a kind (« hépatite C. »)."""
    word = _last_word(before)
    within = len(word) < len(before)
    return not word or word.lower().rstrip(".") in _BEFORE_NAMES or (within and word[0].isupper())


def _trimmed(text: str, start: int, stop: int) -> Iterator[Span]:
    """The range without blank space at its ends, unless nothing else is in it."""
    part = text[start:stop]
    left = len(part) - len(part.lstrip())
    if left < len(part):
        yield start + left, start + len(part.rstrip())
