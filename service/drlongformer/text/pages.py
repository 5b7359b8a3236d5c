"""Where a text was cut into pages: the lines of headers and footers that come again, to be left out when it is read.

A page ends at a form feed or shows by its number: a line with `Page 2/3`, `2/3` or `- 2 -` that comes again on the next page
with the next number. Lines that come again at a page's distance, in a short run of such lines at a page's end, are its header
and footer; the first of them stays, so that nothing is said in the text that is not read. Lines that hold a page's number and
nothing else all go. Anything less certain stays: numbers that change otherwise are findings, and long runs are copied notes.

    CHU de Brest          CHU de Brest
    Page 1/2
    ... fièvre et         ... fièvre et toux.
    CHU de Brest
    Page 2/2
    toux.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from drlongformer.types import Edit

PAGE_LINES: Final = 15
"""Written lines between two pages' headers, at least, where no form feed parts them."""
EDGE_LINES: Final = 8
"""Lines of a page's header and the footer before it together, at most."""
LONGEST: Final = 200
"""Characters of a line of a header, at most."""
LEAST_LETTERS: Final = 8
"""Letters of a line that comes again; shorter ones (`Non.`) come again for good reasons."""

_LINE: Final = re.compile(r"\S[^\n\r\f\x0b\x85\u2028]*")
_NUMBER: Final = re.compile(r"(?i:\bpage|\bp\.)\s{0,3}(?:n°\s?)?(?P<number>\d{1,4})(?!\d)")
_NUMBER_ALONE: Final = re.compile(
    r"(?:(?i:page|p\.)\s{0,3}(?:n°\s?)?)?(?P<number>\d{1,4})\s?(?:/|sur|de)\s?\d{1,4}"
    r"|[-–—]\s?(?:(?i:page|p\.)\s{0,3})?(?P<dashed>\d{1,4})(?:\s?/\s?\d{1,4})?\s?[-–—]|(?i:page|p\.)\s{0,3}(?P<bare>\d{1,4})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A written line. page: form feeds before it. form: what it shares with its like. number: of its page, if it has one."""

    start: int
    stop: int
    page: int
    form: str
    number: int | None
    alone: bool


def repeated(text: str, *, keep: str = "") -> Iterator[Edit | None]:
    """Edits that take the headers and footers out; a line that holds `keep` stays. None for every line that was looked at."""
    lines: list[_Line] = []
    for line in _lines(text, keep):
        lines.append(line)
        yield None
    first_ones = _of_pages(lines)
    dropped = [number for number in sorted(first_ones) if lines[number].alone or not first_ones[number]]
    if len(dropped) < len(lines):
        yield from _without(lines, dropped)


def _lines(text: str, keep: str) -> Iterator[_Line]:
    page = last = 0
    for found in _LINE.finditer(text):
        page += text.count("\f", last, found.start())
        last = found.end()
        line = found.group().rstrip()
        form, number, alone = ("", None, False) if len(line) > LONGEST or (keep and keep in line) else _form(line)
        yield _Line(start=found.start(), stop=found.start() + len(line), page=page, form=form, number=number, alone=alone)


def _form(line: str) -> tuple[str, int | None, bool]:
    """A line without its page's number, that number, and whether there is nothing else; no form if little is in it."""
    alone = _NUMBER_ALONE.fullmatch(line)
    found = alone or _NUMBER.search(line)
    plain = " ".join(line.split())
    if not found:
        return (plain if sum(map(str.isalpha, plain)) >= LEAST_LETTERS else ""), None, False
    group = next(name for name in ("number", "dashed", "bare") if found.groupdict().get(name))
    start, stop = found.span(group)
    return f"{line[:start]}\0{line[stop:]}", int(found[group]), alone is not None


def _of_pages(lines: list[_Line]) -> dict[int, bool]:
    """Numbers of the lines of headers and footers, and whether each is the first of its like."""
    forms: defaultdict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(lines):
        if line.form:
            forms[line.form].append(number)
    again: dict[int, bool] = {}
    for numbers in forms.values():
        if len(numbers) > 1 and all(_a_page_apart(lines, *each) for each in pairwise(numbers)):
            again |= {number: number == numbers[0] for number in numbers}
    runs = [run for run in _runs(sorted(again)) if len(run) <= EDGE_LINES]
    ends = [run for run in runs if _ends_a_page(lines, run)]
    known = {lines[number].form for run in ends for number in run}
    if (
        runs
        and runs[-1] not in ends
        and runs[-1][-1] == len(lines) - 1
        and {lines[number].form for number in runs[-1]} <= known
    ):
        ends.append(runs[-1])  # the last page's footer, which nothing follows
    return {number: again[number] for run in ends for number in run}


def _a_page_apart(lines: list[_Line], one: int, other: int) -> bool:
    first, second = lines[one], lines[other]
    follows = first.number is None or second.number in (1, first.number + 1)
    return follows and (second.page > first.page or other - one >= PAGE_LINES)


def _runs(numbers: list[int]) -> Iterator[list[int]]:
    """Numbers that follow one another, together."""
    run: list[int] = []
    for number in numbers:
        if run and number != run[-1] + 1:
            yield run
            run = []
        run.append(number)
    if run:
        yield run


def _ends_a_page(lines: list[_Line], run: list[int]) -> bool:
    """Whether a run of lines that come again shows that a page begins or ends there."""
    around = lines[max(run[0] - 1, 0) : run[-1] + 2]
    numbered = any(lines[number].number is not None for number in run)
    return numbered or around[0].page < around[-1].page


def _without(lines: list[_Line], dropped: list[int]) -> Iterator[Edit]:
    """What takes lines out, with the blank space around them: a line break is left between what stays."""
    for run in _runs(dropped):
        first, last = run[0] > 0, run[-1] + 1 < len(lines)
        start = lines[run[0] - 1].stop if first else lines[run[0]].start
        stop = lines[run[-1] + 1].start if last else lines[run[-1]].stop
        yield Edit(start=start, stop=stop, replacement="\n" if first and last else "")
