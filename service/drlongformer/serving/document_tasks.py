"""What each task asks about a document's windows, and what it makes of the answers; several may be asked in one pass.

A `DocumentTask` is made once per request, when what was asked is checked. For one document it gives a `Part`: one `Ask` per
window, and `finish`, from the windows' outputs to the task's own answer. It knows nothing of other tasks in the same pass, nor
of how windows reach the model (`readers.py` puts the parts together).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from drlongformer.bundle import HeadSpec
from drlongformer.serving.models import ServedModel
from drlongformer.serving.reading import Steps
from drlongformer.serving.requests import ClassifyOptions, Entities, NerOptions
from drlongformer.tasks import classify as classify_task
from drlongformer.tasks import ner as ner_task
from drlongformer.tasks.ask import Ask
from drlongformer.tasks.classify import LabelScore
from drlongformer.text.windows import kept_tokens
from drlongformer.types import Document, Encoded, Window, WindowOutput

A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Generic[A]):
    """One task's part of a document's reading: an ask per window; items: see `Limits`."""

    asks: Sequence[Ask]
    finish: Callable[[Sequence[WindowOutput]], A]
    items: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentTask(Generic[A]):
    """head: whose rows are read, and which tokens are global with it. part: what is asked about one document, in steps."""

    head: HeadSpec
    part: Callable[[Document, Encoded, Sequence[Window]], Steps[Part[A]]]


def ner(model: ServedModel, options: NerOptions) -> DocumentTask[Entities]:
    """Entities. Raises UnknownLabel."""
    head = model.bundle.head("ner", options.common.head)
    decoding = ner_task.Decoding(
        aggregation=options.aggregation or head.decoding or "simple",
        thresholds=head.thresholds,
        labels=options.labels,
        min_score=options.min_score,
    )
    ner_task.check_labels(decoding, head.labels)

    def part(document: Document, encoded: Encoded, windows: Sequence[Window]) -> Steps[Part[Entities]]:
        def finish(outputs: Sequence[WindowOutput]) -> Entities:
            found = ner_task.decode(
                ner_task.merge(outputs, windows, output=head.output),
                kept_tokens(encoded, windows),
                document.text,
                tags=head.labels,
                decoding=decoding,
                unknown_id=model.tokenizer.unknown_id,
            )
            return Entities(entities=found, redacted=ner_task.redact(document.text, found) if options.redact else None)

        yield
        return Part(asks=[ner_task.ask(window, output=head.output) for window in windows], finish=finish)

    return DocumentTask(head=head, part=part)


def classify(model: ServedModel, options: ClassifyOptions) -> DocumentTask[tuple[LabelScore, ...]]:
    """Labels with their scores."""
    head = model.bundle.head("classify", options.common.head)
    function = options.function or head.function or "softmax"

    def part(_document: Document, _encoded: Encoded, windows: Sequence[Window]) -> Steps[Part[tuple[LabelScore, ...]]]:
        def finish(outputs: Sequence[WindowOutput]) -> tuple[LabelScore, ...]:
            logits = classify_task.merge(outputs, windows, output=head.output, window_merge=head.window_merge)
            return classify_task.decide(
                logits, labels=head.labels, function=function, top_k=options.top_k, thresholds=head.thresholds
            )

        yield
        return Part(asks=[classify_task.ask(output=head.output) for _ in windows], finish=finish)

    return DocumentTask(head=head, part=part)
