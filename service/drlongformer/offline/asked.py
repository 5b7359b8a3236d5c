"""What is asked of a run: a task, its options in the words of the HTTP contract, a model, and the form of the output."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from drlongformer.serving import readers
from drlongformer.serving.models import ServedModel
from drlongformer.serving.pipeline import Pipeline
from drlongformer.serving.reading import Limits, Reader
from drlongformer.serving.requests import (
    Answer,
    ClassifyOptions,
    EmbedOptions,
    FillMaskOptions,
    ModelIdentity,
    NerOptions,
)
from drlongformer.types import Document

Options = EmbedOptions | NerOptions | ClassifyOptions | FillMaskOptions
FileTask = Literal["embed", "ner", "classify", "fill-mask"]
TASKS: tuple[FileTask, ...] = ("embed", "ner", "classify", "fill-mask")
Format = Literal["parquet", "jsonl", "brat", "note-nlp", "note-nlp-csv"]
FORMATS: Mapping[Format, tuple[FileTask, ...]] = {
    "parquet": TASKS,
    "jsonl": TASKS,
    "brat": ("ner",),
    "note-nlp": ("ner",),
    "note-nlp-csv": ("ner",),
}
"""The forms of output, and the tasks whose answers each can hold."""

READERS: Mapping[FileTask, Callable[[ServedModel, Any, Limits], Reader[Document, Any]]] = {
    "embed": readers.embed,
    "ner": readers.ner,
    "classify": readers.classify,
    "fill-mask": readers.fill_mask,
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

    task: FileTask
    options: Options
    written: Written

    def check(self, model: ServedModel, limits: Limits) -> None:
        """Raise what the first document would be refused with: UnsupportedTask, UnknownLabel, InvalidRequest, MaskError."""
        READERS[self.task](model, self.options, limits)

    async def __call__(self, pipeline: Pipeline, documents: list[Document]) -> Answer[Any]:
        """The documents' answers, by the pipeline that serves."""
        ways: Mapping[FileTask, Any] = {
            "embed": pipeline.embed,
            "ner": pipeline.ner,
            "classify": pipeline.classify,
            "fill-mask": pipeline.fill_mask,
        }
        answer: Answer[Any] = await ways[self.task](documents, self.options)
        return answer

    def told(self, identity: ModelIdentity) -> dict[str, Any]:
        """What the output says of itself; equal ones have answers that may stand side by side."""
        options = asdict(self.options)
        common = options.pop("common")
        kept = {name: common[name] for name in ("head", "overflow", "truncate_side")}
        told = {"task": self.task, "model": asdict(identity), "options": options | kept, "written": asdict(self.written)}
        plain: dict[str, Any] = json.loads(json.dumps(told))  # as it will be read again
        return plain
