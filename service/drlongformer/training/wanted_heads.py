"""Which head a set of annotated documents asks for: its labels and function, read from the documents themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from drlongformer.bundle import HeadSpec
from drlongformer.errors import TrainingError
from drlongformer.model.heads import check_head_name
from drlongformer.training.head_specs import (
    GlobalAttention,
    choice_head,
    class_head,
    embedding_head,
    similarity_head,
    span_head,
)
from drlongformer.training.records.record import ChoiceRecord, PairRecord, Record, RecordTask, SpanRecord, TextRecord
from drlongformer.training.spans import bio_labels

DEFAULT_RANGE = (0.0, 5.0)
"""Scores of semantic similarity, as in STS and CLISTER."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRequest:
    """What is asked of a new head besides its task.

    several: any number of labels, or of right answers; by default what the documents show. layout: multiple choice.
    contrastive: similarity as closeness of two embeddings, instead of a head that reads both texts. score_range: similarity.
    Raises CheckpointError for a name that no head can have, TrainingError for a range that is none.
    """

    task: RecordTask
    name: str
    several: bool | None = None
    layout: Literal["each", "joint"] = "each"
    contrastive: bool = False
    score_range: tuple[float, float] = DEFAULT_RANGE
    global_attention: GlobalAttention = "first"

    def __post_init__(self) -> None:
        check_head_name(self.name)
        low, high = self.score_range
        if not low < high:
            raise TrainingError(f"--score-range {low:g},{high:g} is no range: the lowest score comes first, then the highest")


def head_of(request: HeadRequest, records: Sequence[Record]) -> HeadSpec:
    """The head that these training documents ask for; raises TrainingError where they cannot teach one."""
    match request.task:
        case "ner":
            return _ner(request, [record for record in records if isinstance(record, SpanRecord)])
        case "classify":
            return _classify(request, [record for record in records if isinstance(record, TextRecord)])
        case "similarity":
            return _similarity(request, [record for record in records if isinstance(record, PairRecord)])
        case "multiple-choice":
            return _choice(request, [record for record in records if isinstance(record, ChoiceRecord)])


def _ner(request: HeadRequest, records: Sequence[SpanRecord]) -> HeadSpec:
    labels = {span.label for record in records for span in record.spans}
    if not labels:
        raise TrainingError(f"head {request.name!r}: none of {len(records)} training documents has a span")
    return span_head(request.name, bio_labels(labels), global_attention=request.global_attention)


def _classify(request: HeadRequest, records: Sequence[TextRecord]) -> HeadSpec:
    labels = sorted({label for record in records for label in record.labels})
    counts = {len(record.labels) for record in records}
    several = counts != {1} if request.several is None else request.several
    if not several and counts != {1}:
        raise TrainingError(f"head {request.name!r} takes one label a text, but texts have {sorted(counts)} labels")
    if len(labels) < 2 - several:
        raise TrainingError(f"head {request.name!r}: {len(labels)} labels in {len(records)} documents leave nothing to decide")
    return class_head(request.name, tuple(labels), several=several, global_attention=request.global_attention)


def _similarity(request: HeadRequest, records: Sequence[PairRecord]) -> HeadSpec:
    low, high = request.score_range
    if outside := [record for record in records if not low <= record.score <= high]:
        raise TrainingError(
            f"head {request.name!r}: {len(outside)} scores lie outside {low:g} to {high:g}, the --score-range; the first is"
            f" that of record {outside[0].id!r}"
        )
    if request.contrastive:
        return embedding_head(request.name, global_attention=request.global_attention)
    return similarity_head(request.name, score_range=request.score_range, global_attention=request.global_attention)


def _choice(request: HeadRequest, records: Sequence[ChoiceRecord]) -> HeadSpec:
    most = max(records, key=lambda record: len(record.options))
    several = any(len(record.answers) > 1 for record in records)
    if request.several is False and several:
        raise TrainingError(f"head {request.name!r} takes one right answer, but there are questions with more")
    return choice_head(
        request.name,
        several=several or bool(request.several),
        letters=tuple(most.options) if request.layout == "joint" else (),
        global_attention=request.global_attention,
    )
