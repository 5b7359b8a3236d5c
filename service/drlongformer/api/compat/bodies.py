"""Bodies in another surface's words as our own: names are translated before a request is read, and read as strictly as ours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError

from drlongformer.api.inputs import OWN

PIECE_BYTES: Final = 16 * 1024

COMMON: Final[Mapping[str, str]] = {name: name for name in ("model", "head", "overflow", "truncate_side", "priority")}
"""Fields of ours that every surface takes besides its own."""

_REFUSED: Final[Mapping[str, str]] = {
    "prompt_name": "the models here have no prompts; put the words before the text itself",
    "chunks": "the answer has one vector for each text here; /embed tells those of chunks, too",
    "on_error": "the answer has no place for one text's problem here; /embed, /ner and their like have",
}
"""What is wanted of a surface that cannot give it, and why, where an unknown field alone would say too little."""


KEPT: Final[Mapping[str, str]] = {"left": "tail", "right": "head"}
"""Hugging Face's direction is the side that is cut, ours the side that is kept."""

_SWITCHES: Final = ("use_cache", "wait_for_model", "use_gpu")
"""What `options` of the hub's API may say; none of it changes an answer here."""


def translated(value: Any, names: Mapping[str, str | None], *, at: str = "") -> Any:
    """The same object under our names; a name that stands for None is known and has no effect. Null is as good as left out.

    at: where in the body the object stands.
    """
    if not isinstance(value, Mapping):
        return value
    value = {name: field for name, field in value.items() if field is not None or name not in _REFUSED}
    for name in value.keys() & _REFUSED.keys() - names.keys():
        raise PydanticCustomError(OWN, "{name}: {why}", {"name": name, "why": _REFUSED[name]})
    if value.keys() - names.keys():
        found = {"at": f"{at}: " if at else "", "known": ", ".join(names)}
        raise PydanticCustomError(OWN, "{at}holds an unknown field; known are {known}", found)
    there = {native: value.get(name) for name, native in names.items() if native is not None}
    return {native: field for native, field in there.items() if field is not None}


def with_parameters(value: Any, names: Mapping[str, str | None], own: Mapping[str, str | None]) -> Any:
    """An object with `parameters` inside as one object; `own` are the names of the parameters, besides the common ones."""
    if not isinstance(value, Mapping):
        return value
    parameters = value.get("parameters")
    if not isinstance(parameters, Mapping | None):
        raise PydanticCustomError(OWN, "parameters: must be an object")
    _check_switches(value.get("options"))
    rest = translated({name: field for name, field in value.items() if name != "parameters"}, names)
    inner = translated(parameters or {}, {**own, **COMMON}, at="parameters")
    for name in rest.keys() & inner.keys():
        raise PydanticCustomError(OWN, "parameters: {name} stands beside inputs, too; once is enough", {"name": name})
    return rest | inner


def _check_switches(options: Any) -> None:
    """Refuse what the hub's API does not know among its `options`."""
    if not isinstance(options, Mapping | None):
        raise PydanticCustomError(OWN, "options: must be an object")
    for name, field in (options or {}).items():
        if name not in _SWITCHES:
            found = {"known": ", ".join(_SWITCHES)}
            raise PydanticCustomError(OWN, "options: holds an unknown field; known are {known}, without effect here", found)
        if not isinstance(field, bool | None):
            raise PydanticCustomError(OWN, "options: {name} must be true or false", {"name": name})


def with_checked_cut(value: Any) -> Any:
    """The same object, if its `truncate` and `truncation_direction` are such as clients send, whether they have an effect."""
    if not isinstance(value, Mapping):
        return value
    if not isinstance(value.get("truncate"), bool | None):
        raise PydanticCustomError(OWN, "truncate: must be true or false")
    direction = value.get("truncation_direction")
    if direction is not None and (not isinstance(direction, str) or direction.lower() not in KEPT):
        raise PydanticCustomError(OWN, "truncation_direction: must be 'left' or 'right'")
    return value


def texts(value: Any, *, most: int) -> list[dict[str, str]]:
    """A string, or a list of so many strings, as documents."""
    if isinstance(value, str):
        return [{"text": value}]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise PydanticCustomError(OWN, "must be a string or a list of strings")
    if not 1 <= len(value) <= most:
        found = {"actual": len(value), "limit": most}
        raise PydanticCustomError(OWN, "holds {actual} texts, from 1 to {limit} are accepted", found)
    return [{"text": text} for text in value]


def plain_texts(value: Any, info: ValidationInfo) -> list[dict[str, str]]:
    """A string, or a list of as many strings as a request may hold documents."""
    return texts(value, most=(info.context or {})["max_documents"])


def json_bytes(value: Any) -> bytes:
    """One JSON value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def json_list(parts: Iterable[Any]) -> Iterator[bytes]:
    """A JSON list, in pieces of some kilobytes."""
    held = bytearray(b"[")
    for index, part in enumerate(parts):
        held += (b"," if index else b"") + json_bytes(part)
        if len(held) >= PIECE_BYTES:
            yield bytes(held)
            held.clear()
    yield bytes(held) + b"]"
