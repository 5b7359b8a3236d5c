"""Entities in brat's standoff form, a line each: `T1<TAB>LABEL 10 25<TAB>text`.

A mention that crosses the end of a line is written in pieces, one a line, as brat has it:

    douleur du          T1<TAB>SYMPTOM 0 10;11 16<TAB>douleur du genou
    genou
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from drlongformer.tasks.ner import Entity


def standoff(text: str, entities: Sequence[Entity]) -> str:
    """The content of a document's `.ann`; offsets count characters of the text, line ends as they stand."""
    return "".join(_line(number, text, entity) for number, entity in enumerate(entities, start=1))


def _line(number: int, text: str, entity: Entity) -> str:
    pieces = list(_pieces(text, entity.start, entity.end))
    offsets = ";".join(f"{start} {end}" for start, end in pieces)
    shown = " ".join(" ".join(text[start:end].split()) for start, end in pieces)
    return f"T{number}\t{'_'.join(entity.label.split())} {offsets}\t{shown}\n"


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span cut at the ends of lines, without the blank space around each piece."""
    at = start
    for line in text[start:end].split("\n"):
        visible = line.strip()
        if visible:
            first = at + line.index(visible)
            yield first, first + len(visible)
        at += len(line) + 1
