"""Which fields of a record are its text and its id, and what may stand in them.

Without names given, `text` or OMOP's `note_text` is the text, and `id` or `note_id` the id, in capitals or not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drlongformer.offline.encodings import UNREADABLE
from drlongformer.offline.records import BadRecord, Found, Place, Record

TEXTS: Final = ("text", "note_text")
IDS: Final = ("id", "note_id")
MAX_ID_CHARACTERS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the fields; None for the usual ones."""

    text: str | None = None
    id: str | None = None

    def among(self, names: Iterable[str]) -> Chosen | str:
        """The fields of a record that has these; a sentence where a wanted one is missing."""
        there = list(names)
        text = _first(there, self.text, TEXTS)
        if text is None:
            wanted = f"{self.text!r}" if self.text else " or ".join(map(repr, TEXTS))
            return f"there is no {wanted} among {len(there)} fields; --text-column names the text's"
        id_ = _first(there, self.id, IDS)
        if id_ is None and self.id is not None:
            return f"there is no {self.id!r} among {len(there)} fields"
        return Chosen(text=text, id=id_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The fields that hold the text and, where there is one, the id."""

    text: str
    id: str | None


def record(place: Place, text: Any, id_: Any) -> Found:
    """The record of these values, or what is wrong with them."""
    try:
        return Record(place=place, id=_identity(id_), text=_text(text))
    except ValueError as error:
        return BadRecord(place=place, reason=str(error))


def from_json(place: Place, line: str, columns: Columns) -> Found:
    """The record of one line of JSON."""
    if (unreadable := UNREADABLE.search(line)) is not None:
        return BadRecord(
            place=place, reason=f"a byte that the file's encoding does not have, at character {unreadable.start()}"
        )
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        return BadRecord(place=place, reason=f"not JSON: {error.msg} at character {error.pos}")
    except (RecursionError, ValueError):
        return BadRecord(place=place, reason="JSON that is nested too deeply, or holds a number that is too long")
    if not isinstance(fields, Mapping):
        return BadRecord(place=place, reason=f"{_kind(fields)} and not an object")
    chosen = columns.among(fields)
    if isinstance(chosen, str):
        return BadRecord(place=place, reason=chosen)
    return record(place, fields[chosen.text], fields[chosen.id] if chosen.id else None)


def _first(there: list[str], wanted: str | None, usual: tuple[str, ...]) -> str | None:
    if wanted is not None:
        return wanted if wanted in there else None
    folded = {name.lower(): name for name in reversed(there)}
    return next((folded[name] for name in usual if name in folded), None)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the text is {_kind(value)}")  # noqa: TRY004 - told of a record, not of a program
    if (unreadable := UNREADABLE.search(value)) is not None:
        raise ValueError(f"the text has a byte that the file's encoding does not have, at character {unreadable.start()}")
    return value


def _identity(value: Any) -> str | None:
    """An id as a string; numbers as they are written, those of tables that hold them as floats too."""
    if value is None or value == "":
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"the id is {_kind(value)}")  # noqa: TRY004 - the same
    name = str(value)
    if len(name) > MAX_ID_CHARACTERS:
        raise ValueError(f"the id has {len(name)} characters, the limit is {MAX_ID_CHARACTERS}")
    if any(0xD800 <= ord(letter) < 0xE000 for letter in name):
        raise ValueError("the id has a character that no encoding has")
    return name


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return "missing (null)" if value is None else kinds.get(type(value), f"of type {type(value).__name__}")
