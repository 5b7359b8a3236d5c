"""What a model proposes for texts nobody has annotated: correcting proposals is faster than annotating."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from drlongformer.bundle import HeadSpec
from drlongformer.errors import TrainingError
from drlongformer.training.predictions import answered, entities, labels
from drlongformer.training.records.handing_back import Annotated
from drlongformer.training.records.record import SpanRecord, TextRecord
from drlongformer.training.spans import Span
from drlongformer.training.subject import Subject


def proposed(subject: Subject, head: HeadSpec, texts: Iterable[TextRecord]) -> Iterator[Annotated]:
    """Each text with the spans or labels that the head finds; raises TrainingError for a head of another task."""
    listed = list(texts)
    words = (record.text for record in listed)
    match head.task:
        case "ner":
            for record, found in zip(listed, answered(subject, entities(subject, head, words)), strict=True):
                spans = [Span(start=one.start, end=one.end, label=one.label) for one in found.answer]
                yield SpanRecord.of(id=record.id, text=record.text, spans=spans)
        case "classify":
            for record, chosen in zip(listed, answered(subject, labels(subject, head, words)), strict=True):
                yield TextRecord(id=record.id, text=record.text, labels=tuple(sorted(chosen.answer.labels)))
        case task:
            raise TrainingError(f"head {head.name!r} is for {task}; annotations are proposed by heads for ner and classify")
