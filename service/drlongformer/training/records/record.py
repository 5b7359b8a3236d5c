"""One annotated document in memory, a type for each task; every reader makes these and everything else takes them.

The invariants are checked here, once: a text has something to read, spans lie inside it, end on visible characters, do not
overlap and stand in order. `SpanRecord.of` brings what annotators do into that form and keeps count of what it changed. `group`
is what must stay in one split, such as a patient.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from drlongformer.errors import TrainingError
from drlongformer.text.words import ZERO_WIDTH_BLANKS, has_visible
from drlongformer.training.records.nested import outermost
from drlongformer.training.spans import Span

RecordTask = Literal["ner", "classify", "similarity", "multiple-choice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRecord:
    """A text and its labels: one, several, or none of them where a text may have any number."""

    id: str
    text: str
    labels: tuple[str, ...]
    group: str | None = None

    def __post_init__(self) -> None:
        _readable(text=self.text)
        if len(set(self.labels)) != len(self.labels):
            raise TrainingError(f"{len(self.labels)} labels, of which {len(set(self.labels))} differ")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRecord:
    """A text and its labelled spans, flat and in order.

    nested: annotated spans that the rule of `nested.py` dropped. discontinuous: mentions in several pieces that were left out.
    trimmed: spans whose edges were blank. None of the three takes part in comparisons.
    """

    id: str
    text: str
    spans: tuple[Span, ...]
    group: str | None = None
    nested: tuple[Span, ...] = field(default=(), compare=False)
    discontinuous: int = field(default=0, compare=False)
    trimmed: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        _readable(text=self.text)
        end = 0
        for span in self.spans:
            if span.start < end:
                raise TrainingError(f"span {span.start}:{span.end} begins before {end}, where the one before it ends")
            check_span(self.text, span)
            end = span.end

    @classmethod
    def of(cls, *, id: str, text: str, spans: Iterable[Span], group: str | None = None, discontinuous: int = 0) -> SpanRecord:  # noqa: A002
        """A record of spans as annotated: trimmed, then flat; raises TrainingError for a span outside the text or blank."""
        annotated = list(spans)
        tight = [trimmed(text, span) for span in annotated]
        flat = outermost(tight)
        return cls(
            id=id,
            text=text,
            spans=flat.kept,
            group=group,
            nested=flat.dropped,
            discontinuous=discontinuous,
            trimmed=sum(before != after for before, after in zip(annotated, tight, strict=True)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRecord:
    """Two texts and how alike they are, on the scale of their file."""

    id: str
    first: str
    second: str
    score: float
    group: str | None = None

    def __post_init__(self) -> None:
        _readable(text1=self.first, text2=self.second)
        if not math.isfinite(self.score):
            raise TrainingError(f"the score is {self.score}, not a number")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceRecord:
    """A question, its options by letter, and which are right; `context` is the case the question is about."""

    id: str
    question: str
    options: Mapping[str, str]
    answers: tuple[str, ...]
    context: str | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        _readable(question=self.question)
        if self.context is not None:
            _readable(context=self.context)
        if len(self.options) < 2:
            raise TrainingError(f"{len(self.options)} options; a choice needs 2")
        for letter, option in self.options.items():
            _readable(**{f"option {letter}": option})
        if not self.answers or len(set(self.answers)) != len(self.answers) or not set(self.answers) <= set(self.options):
            raise TrainingError(f"answers {list(self.answers)} are not among the options {list(self.options)}, each once")


Record = TextRecord | SpanRecord | PairRecord | ChoiceRecord


def labels_of(record: Record) -> tuple[str, ...]:
    """The labels of a text or of its spans, each as often as it stands there; pairs and questions have none."""
    match record:
        case TextRecord():
            return record.labels
        case SpanRecord():
            return tuple(span.label for span in record.spans)
        case PairRecord() | ChoiceRecord():
            return ()


def digest(records: Iterable[Any]) -> str:
    """What tells some records from others: a hash of all that they hold, in their order."""
    found = hashlib.sha256()
    for record in records:
        found.update(repr(asdict(record)).encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def check_span(text: str, span: Span) -> None:
    """Raise TrainingError unless the span lies inside the text and begins and ends with a visible character."""
    if not 0 <= span.start < span.end <= len(text):
        raise TrainingError(f"span {span.start}:{span.end} does not lie in a text of {len(text)} characters")
    if blank(text[span.start]) or blank(text[span.end - 1]):
        raise TrainingError(f"span {span.start}:{span.end} begins or ends with blank space")


def trimmed(text: str, span: Span) -> Span:
    """The span without the blank space at its edges; raises TrainingError where it lies outside the text or nothing is left."""
    if not 0 <= span.start < span.end <= len(text):
        raise TrainingError(f"span {span.start}:{span.end} does not lie in a text of {len(text)} characters")
    visible = [place for place in range(span.start, span.end) if not blank(text[place])]
    if not visible:
        raise TrainingError(f"span {span.start}:{span.end} covers blank space only")
    return Span(start=visible[0], end=visible[-1] + 1, label=span.label)


def blank(character: str) -> bool:
    """Whether a character is blank space, as `text/words.py` has it."""
    return character.isspace() or ord(character) in ZERO_WIDTH_BLANKS


def _readable(**texts: str) -> None:
    for name, text in texts.items():
        if not has_visible(text):
            raise TrainingError(f"the {name} is blank ({len(text)} characters)")
