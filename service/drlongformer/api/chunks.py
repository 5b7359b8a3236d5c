"""The field `chunks` of embeddings: a kind of part, or ranges of characters, read strictly and without an echo.

"sentences" | "paragraphs"
[[0, 42], [43, 90]]             ranges of the request's only document
[[[0, 42]], [[7, 9], [3, 9]]]   a list of ranges for every document
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from drlongformer.api.inputs import OWN
from drlongformer.serving.requests import Chunks
from drlongformer.text.offsets import code_points_at

LARGEST: Final = 2**31
"""Beyond any place in a text."""

_SENTENCE: Final = (
    'must be null, "sentences", "paragraphs", or for every document a list of ranges [start, end] of its characters'
)
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
    if all(_is_range(each) for each in value):
        return (tuple(_ranges(value)),)
    return tuple(tuple(_ranges(each)) for each in value)


def _ranges(value: Any) -> Iterator[tuple[int, int]]:
    if not isinstance(value, list):
        raise PydanticCustomError(OWN, _SENTENCE)
    for each in value:
        if not _is_range(each):
            raise PydanticCustomError(OWN, _SENTENCE)
        yield each[0], each[1]


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(each) is int and 0 <= each < LARGEST for each in value)


ChunksField = Annotated[Chunks | None, PlainValidator(_chunks), WithJsonSchema(_SCHEMA)]


def for_every_document(chunks: Chunks | None, info: ValidationInfo) -> Chunks | None:
    """The chunks in code points, where they are a kind, or as many lists as the request has documents."""
    documents = info.data.get("inputs") or ()
    if not isinstance(chunks, tuple) or not documents:
        return chunks
    if len(chunks) != len(documents):
        found = {"actual": len(chunks), "wanted": len(documents)}
        raise PydanticCustomError(OWN, "holds {actual} lists of ranges for {wanted} documents; each needs its own", found)
    if info.data.get("offsets") != "utf16":
        return chunks
    return tuple(_in_code_points(ranges, body.text) for ranges, body in zip(chunks, documents, strict=True))


def _in_code_points(ranges: tuple[tuple[int, int], ...], text: str) -> tuple[tuple[int, int], ...]:
    found = code_points_at(text, np.array(ranges, dtype=np.int64).reshape(-1, 2))
    if (found < 0).any():
        place = int((found < 0).any(axis=1).argmax())
        raise PydanticCustomError(OWN, "range {place} begins or ends within a character", {"place": place})
    return tuple((start, end) for start, end in found.tolist())
