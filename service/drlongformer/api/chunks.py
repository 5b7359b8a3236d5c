"""The field `chunks` of embeddings: a kind of part, or ranges of characters, read strictly and without an echo.

"sentences" | "paragraphs"
[[0, 42], [43, 90]]             ranges of the request's only document
[[[0, 42]], [[7, 9], [3, 9]]]   a list of ranges for every document
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from drlongformer.api.inputs import OWN, misplaced
from drlongformer.serving.requests import Chunks
from drlongformer.text.offsets import code_points_at

LARGEST: Final = 2**31
"""Beyond any place in a text."""

_SENTENCE: Final = (
    'must be null, "sentences", "paragraphs", or for every document a list of ranges [start, end] of its characters'
)
_RANGE_SENTENCE: Final = "must be a range [start, end] of its document's characters, whole numbers from 0"
MAX_TOLD: Final = 20
"""So many faulty ranges are told of each document."""
MAX_FOUND: Final = 2000
"""So many are looked for at a time."""
_PLACE: Final = {"type": "integer", "minimum": 0, "maximum": LARGEST - 1}
_RANGE: Final = {"type": "array", "minItems": 2, "maxItems": 2, "items": _PLACE}
_RANGES: Final = {"type": "array", "items": _RANGE}
_SCHEMA: Final = {
    "anyOf": [
        {"type": "string", "enum": ["sentences", "paragraphs"]},
        _RANGES,
        {"type": "array", "items": _RANGES},
        {"type": "null"},
    ],
    "default": None,
    "description": "Also give the vectors of these parts of each document, pooled from states that have read all of it (late "
    "chunking): sentences, paragraphs, or a list of ranges `[start, end]` of characters for every document, counted as "
    "`offsets` says. They are means, so `pooling` must be `mean`.",
}

CHUNKS: Any = Field(None)


def _chunks(value: Any) -> Chunks | None:
    if value is None or value in ("sentences", "paragraphs"):
        return value  # type: ignore[no-any-return]  # one of the three
    if not isinstance(value, list):
        raise PydanticCustomError(OWN, _SENTENCE)
    lists = value if are_lists(value) else [value]
    places = ((document, *place) for document, ranges in enumerate(lists) for place in islice(_bad_places(ranges), MAX_TOLD))
    if bad := list(islice(places, MAX_FOUND)):
        raise misplaced(bad, _RANGE_SENTENCE)
    return tuple(tuple((start, end) for start, end in ranges) for ranges in lists)


def are_lists(value: list[Any]) -> bool:
    """Whether this is a list of ranges for every document, and not ranges of one: its parts are lists of lists, or empty."""
    parts = [each for each in value if isinstance(each, list)]
    return any(isinstance(inner, list) for each in parts for inner in each) or (bool(parts) and not any(parts))


def _bad_places(ranges: Any) -> Iterator[tuple[int, ...]]:
    """Where there is no range; nowhere in particular if there is no list of them."""
    if not isinstance(ranges, list):
        yield ()
        return
    yield from ((place,) for place, each in enumerate(ranges) if not _is_range(each))


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(each) is int and 0 <= each < LARGEST for each in value)


ChunksField = Annotated[Chunks | None, PlainValidator(_chunks), WithJsonSchema(_SCHEMA)]


def for_every_document(chunks: Chunks | None, info: ValidationInfo, *, at: tuple[str, ...] = ()) -> Chunks | None:
    """The chunks in code points, where they are a kind, or as many lists as the request has documents; at: their own place."""
    documents = info.data.get("inputs") or ()
    if not isinstance(chunks, tuple) or not documents:
        return chunks
    if len(chunks) != len(documents):
        told = f"holds {len(chunks)} lists of ranges for {len(documents)} documents; each needs its own"
        raise misplaced([at], told)
    if info.data.get("offsets") != "utf16":
        return chunks
    found = [_in_code_points(ranges, body.text) for ranges, body in zip(chunks, documents, strict=True)]
    places: Iterator[tuple[str | int, ...]] = (
        (*at, document, place) for document, ranges in enumerate(found) for place in islice(_within(ranges), MAX_TOLD)
    )
    if within := list(islice(places, MAX_FOUND)):
        raise misplaced(within, "begins or ends within a character")
    return tuple(found)


def _in_code_points(ranges: tuple[tuple[int, int], ...], text: str) -> tuple[tuple[int, int], ...]:
    """The ranges, with -1 for a place within a character."""
    found = code_points_at(text, np.array(ranges, dtype=np.int64).reshape(-1, 2))
    return tuple((start, end) for start, end in found.tolist())


def _within(ranges: tuple[tuple[int, int], ...]) -> Iterator[int]:
    return (place for place, each in enumerate(ranges) if min(each) < 0)
