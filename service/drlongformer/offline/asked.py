"""What is asked of a run: a task, its options in the words of the HTTP contract, a model, and the form of the output."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from drlongformer.offline.records import Content, Kind, Posed, TwoTexts
from drlongformer.serving import pair_readers, readers
from drlongformer.serving.models import ANSWERING, ServedModel
from drlongformer.serving.pipeline import Pipeline
from drlongformer.serving.reading import Limits, Reader
from drlongformer.serving.requests import (
    Answer,
    ChoiceOptions,
    ClassifyOptions,
    EmbedOptions,
    FillMaskOptions,
    ModelIdentity,
    NerOptions,
    RequestOptions,
)
from drlongformer.types import Document, Pair, Question, Task, Unit

Options = EmbedOptions | NerOptions | ClassifyOptions | FillMaskOptions | ChoiceOptions | RequestOptions
Format = Literal["parquet", "jsonl", "brat", "note-nlp", "note-nlp-csv"]
TABLES: Final[tuple[Format, ...]] = ("parquet", "jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a task is asked of records.

    kind: what a record is. options: their type, without whose fields a task has the common ones alone. fields: those of its
    options that a flag sets. formats: those that can hold its answers. reader: raises what a request with these options would
    be refused with. ask: the pipeline's own way.
    """

    kind: Kind = "document"
    options: Callable[..., Options]
    fields: frozenset[str] = frozenset()
    formats: tuple[Format, ...] = TABLES
    reader: Callable[[ServedModel, Any, Limits], Reader[Any, Any]]
    ask: Callable[[Pipeline, Any, Any], Awaitable[Answer[Any]]]


def _common_alone(*, common: RequestOptions) -> RequestOptions:
    return common


def _similarity(model: ServedModel, options: RequestOptions, limits: Limits) -> Reader[Any, Any]:
    head = model.bundle.head_of_any(ANSWERING["similarity"], options.head)
    if head.task == "similarity":
        return pair_readers.similarity(model, head, options, limits)
    return readers.embed(model, EmbedOptions(common=options), limits)


WAYS: Final[Mapping[Task, Way]] = {
    "embed": Way(
        options=EmbedOptions,
        fields=frozenset({"pooling", "normalize", "dimensions", "chunks"}),
        reader=readers.embed,
        ask=Pipeline.embed,
    ),
    "ner": Way(
        options=NerOptions,
        fields=frozenset({"aggregation", "labels", "min_score", "redact"}),
        formats=(*TABLES, "brat", "note-nlp", "note-nlp-csv"),
        reader=readers.ner,
        ask=Pipeline.ner,
    ),
    "classify": Way(
        options=ClassifyOptions, fields=frozenset({"top_k", "function"}), reader=readers.classify, ask=Pipeline.classify
    ),
    "fill-mask": Way(
        options=FillMaskOptions, fields=frozenset({"top_k", "targets"}), reader=readers.fill_mask, ask=Pipeline.fill_mask
    ),
    "similarity": Way(kind="pair", options=_common_alone, reader=_similarity, ask=Pipeline.similarity),
    "multiple-choice": Way(
        kind="question",
        options=ChoiceOptions,
        fields=frozenset({"multiple"}),
        reader=pair_readers.multiple_choice,
        ask=Pipeline.multiple_choice,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How answers are written. numbers: of an embedding. text: whether entities carry theirs. first_id: of NOTE_NLP's rows."""

    format: Format = "parquet"
    numbers: Literal["float32", "float16"] = "float32"
    text: bool = True
    first_id: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A task with its options."""

    task: Task
    options: Options
    written: Written

    @property
    def common(self) -> RequestOptions:
        """The options that every task has."""
        return self.options if isinstance(self.options, RequestOptions) else self.options.common

    def check(self, model: ServedModel, limits: Limits) -> None:
        """Raise what the first record would be refused with: UnsupportedTask, UnknownLabel, InvalidRequest, MaskError."""
        WAYS[self.task].reader(model, self.options, limits)

    async def __call__(self, pipeline: Pipeline, units: Sequence[Unit]) -> Answer[Any]:
        """The units' answers, by the pipeline that serves."""
        return await WAYS[self.task].ask(pipeline, units, self.options)

    def told(self, identity: ModelIdentity) -> dict[str, Any]:
        """What the output says of itself; equal ones have answers that may stand side by side."""
        common = asdict(self.common)
        own = {name: value for name, value in asdict(self.options).items() if name not in (*common, "common")}
        kept = {name: common[name] for name in ("head", "overflow", "truncate_side")}
        told = {"task": self.task, "model": asdict(identity), "options": own | kept, "written": asdict(self.written)}
        plain: dict[str, Any] = json.loads(json.dumps(told))  # as it will be read again
        return plain


def unit(number: int, content: Content) -> Unit:
    """What the record of that number asks of the pipeline; messages call pairs and questions by it."""
    if isinstance(content, str):
        return Document(index=number, text=content, called="the document")
    if isinstance(content, TwoTexts):
        first, second = (
            Document(index=number, text=text, called=f"the {which} text of pair {number}")
            for which, text in (("first", content.first), ("second", content.second))
        )
        return Pair(index=number, first=first, second=second)
    assert isinstance(content, Posed)
    return Question(index=number, question=content.question, options=content.options, context=content.context)
