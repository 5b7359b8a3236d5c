"""The answers of each task as rows of a table and as fields of JSON, named as in the HTTP contract.

Embeddings are one row a document, or one a chunk; entities one row each, or with redacted texts one row a document; labels,
pairs and questions one row each with all their scores; words for masks one row each. `record` is the number of the record, and
leads to its row in `documents/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from drlongformer.offline.asked import Ask
from drlongformer.offline.outcomes import Outcome
from drlongformer.serving.requests import Chunk, Embedding, EmbedOptions, Entities, NerOptions, Similarity
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.fill_mask import MaskPredictions
from drlongformer.tasks.multiple_choice import Choice
from drlongformer.types import FloatArray, Task

Rows = Sequence[Outcome]
Numbers = Literal["float32", "float16"]
KEYS = (pa.field("record", pa.int64(), nullable=False), pa.field("id", pa.string()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """table: the rows of answered documents, of which there is at least one. fields: one document's answer as JSON."""

    table: Callable[[Rows], pa.Table]
    fields: Callable[[Outcome], dict[str, Any]]


def shape(ask: Ask) -> Shape:
    """How a task's answers are written."""
    written, options = ask.written, ask.options
    chunked = isinstance(options, EmbedOptions) and options.chunks is not None
    redacted = isinstance(options, NerOptions) and options.redact
    entities, vectors = _redacted if redacted else _entities, _chunks if chunked else _vectors
    shapes: Mapping[Task, Callable[[], Shape]] = {
        "embed": lambda: Shape(table=lambda rows: vectors(rows, written.numbers), fields=_vector),
        "ner": lambda: Shape(
            table=lambda rows: entities(rows, text=written.text), fields=lambda one: _entity_list(one, text=written.text)
        ),
        "classify": lambda: Shape(table=_labels, fields=_label_list),
        "fill-mask": lambda: Shape(table=_words, fields=_mask_list),
        "similarity": lambda: Shape(table=_scores, fields=_score),
        "multiple-choice": lambda: Shape(table=_choices, fields=_choice),
    }
    return shapes[ask.task]()


def _table(fields: Sequence[pa.Field], columns: Sequence[Any]) -> pa.Table:
    schema = pa.schema([*KEYS, *fields])
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, type=field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _keys(rows: Rows) -> list[list[Any]]:
    return [[one.number for one in rows], [one.id for one in rows]]


def _vectors(rows: Rows, numbers: Numbers) -> pa.Table:
    return _embedded([], _keys(rows), [one.answer.vector for one in rows], numbers, size=len(rows[0].answer.vector))


def _chunks(rows: Rows, numbers: Numbers) -> pa.Table:
    found: list[tuple[Outcome, int, Chunk]] = [
        (one, place, chunk) for one in rows for place, chunk in enumerate(one.answer.chunks)
    ]
    columns = [*_keys([one for one, _, _ in found]), [place for _, place, _ in found]]
    columns += [[getattr(chunk, name) for _, _, chunk in found] for name in ("start", "end")]
    vectors = [chunk.vector for _, _, chunk in found]
    return _embedded(["chunk", "start", "end"], columns, vectors, numbers, size=len(rows[0].answer.vector))


def _embedded(
    names: Sequence[str], columns: list[list[Any]], vectors: Sequence[FloatArray], numbers: Numbers, *, size: int
) -> pa.Table:
    """A row a vector, behind whole numbers by their names."""
    flat = np.concatenate(vectors, dtype=numbers, casting="same_kind") if vectors else np.zeros(0, dtype=numbers)
    column = pa.FixedSizeListArray.from_arrays(pa.array(flat), size)
    fields = [*(pa.field(name, pa.int64(), nullable=False) for name in names)]
    return _table([*fields, pa.field("embedding", column.type, nullable=False)], [*columns, column])


def _vector(one: Outcome) -> dict[str, Any]:
    found: Embedding = one.answer
    whole = {"embedding": found.vector.tolist(), "embedding_space": found.space}
    if found.chunks is None:
        return whole
    chunks = [{"start": each.start, "end": each.end, "embedding": each.vector.tolist()} for each in found.chunks]
    return whole | {"chunks": chunks}


def _entities(rows: Rows, *, text: bool) -> pa.Table:
    found = [(one, entity) for one in rows for entity in one.answer.entities]
    fields = [
        pa.field("label", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        *([pa.field("text", pa.string(), nullable=False)] if text else []),
        pa.field("score", pa.float64(), nullable=False),
    ]
    columns = _keys([one for one, _ in found])
    columns += [[getattr(entity, field.name) for _, entity in found] for field in fields]
    return _table(fields, columns)


def _entity_list(one: Outcome, *, text: bool) -> dict[str, Any]:
    found: Entities = one.answer
    names = ("label", "start", "end", "text", "score") if text else ("label", "start", "end", "score")
    entities = [{name: getattr(entity, name) for name in names} for entity in found.entities]
    return {"entities": entities} | ({} if found.redacted is None else {"redacted": found.redacted})


def _redacted(rows: Rows, *, text: bool) -> pa.Table:
    """A row a document: its text without the entities, and what was taken out."""
    names = [("label", pa.string()), ("start", pa.int64()), ("end", pa.int64()), ("score", pa.float64())]
    names += [("text", pa.string())] if text else []
    entities = pa.list_(pa.struct([pa.field(name, kind) for name, kind in names]))
    return _table(
        [pa.field("redacted", pa.string(), nullable=False), pa.field("entities", entities, nullable=False)],
        [*_keys(rows), [one.answer.redacted for one in rows], [_entity_list(one, text=text)["entities"] for one in rows]],
    )


def _labels(rows: Rows) -> pa.Table:
    scored = pa.list_(pa.struct([pa.field("label", pa.string()), pa.field("score", pa.float64())]))
    best: list[LabelScore | None] = [next(iter(one.answer), None) for one in rows]
    return _table(
        [pa.field("label", pa.string()), pa.field("score", pa.float64()), pa.field("labels", scored, nullable=False)],
        [
            *_keys(rows),
            [each and each.label for each in best],
            [each and each.score for each in best],
            [_label_list(one)["labels"] for one in rows],
        ],
    )


def _label_list(one: Outcome) -> dict[str, Any]:
    found: tuple[LabelScore, ...] = one.answer
    return {"labels": [{"label": each.label, "score": each.score} for each in found]}


def _words(rows: Rows) -> pa.Table:
    found = list(_each_word(rows))
    names = ("mask", "start", "end", "rank", "token_id")
    fields = [*(pa.field(name, pa.int64(), nullable=False) for name in names)]
    fields += [pa.field("token", pa.string(), nullable=False), pa.field("score", pa.float64(), nullable=False)]
    return _table(fields, [[row[name] for row in found] for name in ("record", "id", *names, "token", "score")])


def _each_word(rows: Rows) -> Iterator[dict[str, Any]]:
    for one in rows:
        masks: tuple[MaskPredictions, ...] = one.answer
        for number, mask in enumerate(masks):
            place = {"record": one.number, "id": one.id, "mask": number, "start": mask.start, "end": mask.end}
            for rank, word in enumerate(mask.predictions, start=1):
                yield place | {"rank": rank, "token_id": word.token_id, "token": word.token, "score": word.score}


def _mask_list(one: Outcome) -> dict[str, Any]:
    masks: tuple[MaskPredictions, ...] = one.answer
    return {
        "masks": [
            {
                "start": mask.start,
                "end": mask.end,
                "predictions": [
                    {"token": word.token, "token_id": word.token_id, "score": word.score} for word in mask.predictions
                ],
            }
            for mask in masks
        ]
    }


def _scores(rows: Rows) -> pa.Table:
    fields = [pa.field("score", pa.float64(), nullable=False), pa.field("method", pa.string(), nullable=False)]
    return _table(fields, [*_keys(rows), [one.answer.score for one in rows], [one.answer.method for one in rows]])


def _score(one: Outcome) -> dict[str, Any]:
    found: Similarity = one.answer
    return {"score": found.score, "method": found.method}


def _choices(rows: Rows) -> pa.Table:
    scored = pa.list_(pa.struct([pa.field("option", pa.string()), pa.field("score", pa.float64())]))
    fields = [pa.field("answer", pa.list_(pa.string()), nullable=False), pa.field("choices", scored, nullable=False)]
    return _table(fields, [*_keys(rows), *([_choice(one)[field.name] for one in rows] for field in fields)])


def _choice(one: Outcome) -> dict[str, Any]:
    found: Choice = one.answer
    choices = [{"option": each.option, "score": each.score} for each in found.choices]
    return {"choices": choices, "answer": list(found.answer)}
