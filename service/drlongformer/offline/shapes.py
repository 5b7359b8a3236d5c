"""The answers of each task as rows of a table and as fields of JSON, named as in the HTTP contract.

Embeddings are one row a document, entities one row each, labels one row a document with all its scores, words for masks one row
each. `record` is the number of the record, and leads to its row in `documents/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from drlongformer.offline.asked import FileTask, Written
from drlongformer.offline.outcomes import Outcome
from drlongformer.serving.requests import Embedding, Entities
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.fill_mask import MaskPredictions

Rows = Sequence[Outcome]
KEYS = (pa.field("record", pa.int64(), nullable=False), pa.field("id", pa.string()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """table: the rows of answered documents, of which there is at least one. fields: one document's answer as JSON."""

    table: Callable[[Rows], pa.Table]
    fields: Callable[[Outcome], dict[str, Any]]


def shape(task: FileTask, written: Written) -> Shape:
    """How a task's answers are written."""
    shapes: Mapping[FileTask, Callable[[], Shape]] = {
        "embed": lambda: Shape(table=lambda rows: _vectors(rows, written.numbers), fields=_vector),
        "ner": lambda: Shape(
            table=lambda rows: _entities(rows, text=written.text), fields=lambda one: _entity_list(one, text=written.text)
        ),
        "classify": lambda: Shape(table=_labels, fields=_label_list),
        "fill-mask": lambda: Shape(table=_words, fields=_mask_list),
    }
    return shapes[task]()


def _table(fields: Sequence[pa.Field], columns: Sequence[Any]) -> pa.Table:
    schema = pa.schema([*KEYS, *fields])
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, type=field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _vectors(rows: Rows, numbers: Literal["float32", "float16"]) -> pa.Table:
    matrix = np.stack([one.answer.vector for one in rows]).astype(numbers)
    column = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])
    field = pa.field("embedding", column.type, nullable=False)
    return _table([field], [[one.number for one in rows], [one.id for one in rows], column])


def _vector(one: Outcome) -> dict[str, Any]:
    found: Embedding = one.answer
    return {"embedding": found.vector.tolist(), "embedding_space": found.space}


def _entities(rows: Rows, *, text: bool) -> pa.Table:
    found = [(one, entity) for one in rows for entity in one.answer.entities]
    fields = [
        pa.field("label", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        *([pa.field("text", pa.string(), nullable=False)] if text else []),
        pa.field("score", pa.float64(), nullable=False),
    ]
    columns: list[list[Any]] = [[one.number for one, _ in found], [one.id for one, _ in found]]
    columns += [[getattr(entity, field.name) for _, entity in found] for field in fields]
    return _table(fields, columns)


def _entity_list(one: Outcome, *, text: bool) -> dict[str, Any]:
    found: Entities = one.answer
    names = ("label", "start", "end", "text", "score") if text else ("label", "start", "end", "score")
    return {"entities": [{name: getattr(entity, name) for name in names} for entity in found.entities]}


def _labels(rows: Rows) -> pa.Table:
    scored = pa.list_(pa.struct([pa.field("label", pa.string()), pa.field("score", pa.float64())]))
    best: list[LabelScore | None] = [next(iter(one.answer), None) for one in rows]
    return _table(
        [pa.field("label", pa.string()), pa.field("score", pa.float64()), pa.field("labels", scored, nullable=False)],
        [
            [one.number for one in rows],
            [one.id for one in rows],
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
