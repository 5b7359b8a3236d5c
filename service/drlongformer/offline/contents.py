"""What may stand in the fields of a record; what may not is a ValueError that tells its kind and figures, no word of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from drlongformer.offline.encodings import UNREADABLE
from drlongformer.tasks.multiple_choice import MAX_OPTION_NAME, MAX_OPTIONS

MAX_ID_CHARACTERS: Final = 256


def text(value: Any, *, called: str = "the text") -> str:
    """A text as it stands."""
    if not isinstance(value, str):
        raise ValueError(f"{called} is {kind(value)}")  # noqa: TRY004 - told of a record, not of a program
    if (unreadable := UNREADABLE.search(value)) is not None:
        raise ValueError(f"{called} has a byte that the file's encoding does not have, at character {unreadable.start()}")
    return value


def identity(value: Any) -> str | None:
    """An id as a string; whole numbers as they are written, those of tables that hold them as floats or decimals too."""
    if value is None or value == "":
        return None
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"the id is {kind(value)}")  # noqa: TRY004 - the same
    name = str(value)
    if len(name) > MAX_ID_CHARACTERS:
        raise ValueError(f"the id has {len(name)} characters, the limit is {MAX_ID_CHARACTERS}")
    if any(0xD800 <= ord(letter) < 0xE000 for letter in name):
        raise ValueError("the id has a character that no encoding has")
    return name


def options(fields: Mapping[str, Any]) -> dict[str, str]:
    """Options by their names, in their order; fields of options by name, or under "" one that holds all.

    Options that a table leaves empty are not there. Raises ValueError.
    """
    there = _all_in_one(fields[""]) if "" in fields else {name: value for name, value in fields.items() if value != ""}
    given = {name: value for name, value in there.items() if value is not None}
    if not 2 <= len(given) <= MAX_OPTIONS:
        raise ValueError(f"{len(given)} options, from 2 to {MAX_OPTIONS} are accepted")
    for place, name in enumerate(given):
        if not 1 <= len(name) <= MAX_OPTION_NAME or name.isspace():
            raise ValueError(f"option {place} has a name of {len(name)} characters; 1 to {MAX_OPTION_NAME} are accepted")
    return {name: text(value, called=f"option {place}") for place, (name, value) in enumerate(given.items())}


def _all_in_one(value: Any) -> dict[str, Any]:
    """An object of JSON, as itself or written in a cell; a struct or a map of Parquet."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (RecursionError, ValueError):
            raise ValueError("the options are no JSON object") from None
    if isinstance(value, list) and all(isinstance(each, tuple) and len(each) == 2 for each in value):
        value = dict(value)
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"the options are {kind(value)} and not an object of texts by their names")
    return dict(value)


def kind(value: Any) -> str:
    """What a value is, in words."""
    kinds: dict[type, str] = {bool: "true or false", str: "a string", list: "a list", dict: "an object"}
    kinds |= dict.fromkeys((int, float, Decimal), "a number")
    return "missing (null)" if value is None else kinds.get(type(value), f"of type {type(value).__name__}")
