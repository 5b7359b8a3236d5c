"""What is read from files: a record with its place, or a place and what is wrong there, never a word of what stands there.

What a record is about is what its task asks of: a document's text, the two texts of a pair, or a question with its options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["line", "row", "file"]
"""What a place counts: lines of a file, rows of a table, or nothing, where the file is the record."""

Kind = Literal["document", "pair", "question"]
"""What the records of an input are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a record stands: in a file, at a line (the first one it takes) or row, counted from 1."""

    file: str
    unit: Unit = "file"
    at: int | None = None

    def __str__(self) -> str:
        return self.file if self.at is None else f"{self.file}, {self.unit} {self.at}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoTexts:
    """The texts of a pair; its length is that of both."""

    first: str
    second: str

    def __len__(self) -> int:
        return len(self.first) + len(self.second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posed:
    """A question, its options by their names, and the text it is asked about, if any; its length is that of all texts."""

    question: str
    options: Mapping[str, str]
    context: str | None = None

    def __len__(self) -> int:
        return len(self.question) + sum(map(len, self.options.values())) + len(self.context or "")


Content = str | TwoTexts | Posed
"""What a record is about; its length is in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record as it was read; id is its own name, if it has one."""

    place: Place
    id: str | None
    text: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRecord:
    """A place where no record could be read; `reason` is a sentence with figures, without text."""

    place: Place
    reason: str


Found = Record | BadRecord


def strings(content: Content) -> Iterator[str]:
    """Every string that a record's answer depends on, in an order of their own."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, TwoTexts):
        yield from (content.first, content.second)
    else:
        yield from (content.question, content.context or "")
        for option in content.options.items():
            yield from option
