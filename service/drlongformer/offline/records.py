"""What is read from files: a record with its place, or a place and what is wrong there, never a word of what stands there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["line", "row", "file"]
"""What a place counts: lines of a file, rows of a table, or nothing, where the file is the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a record stands: in a file, at a line (the first one it takes) or row, counted from 1."""

    file: str
    unit: Unit = "file"
    at: int | None = None

    def __str__(self) -> str:
        return self.file if self.at is None else f"{self.file}, {self.unit} {self.at}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One document as it was read; id is its own name, if it has one."""

    place: Place
    id: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRecord:
    """A place where no document could be read; `reason` is a sentence with figures, without text."""

    place: Place
    reason: str


Found = Record | BadRecord
