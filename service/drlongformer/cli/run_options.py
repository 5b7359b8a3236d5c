"""The flags of `drlongformer run` and `check` in groups: what is read, what is asked, what is written, what computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from drlongformer.cli.groups import given
from drlongformer.errors import RunError

if TYPE_CHECKING:
    from drlongformer.offline.asked import Ask, Written
    from drlongformer.offline.reader import Manner
    from drlongformer.offline.sources import Source
    from drlongformer.types import Task

FORMATS = "parquet|jsonl|brat|note-nlp|note-nlp-csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is read."""

    input: Annotated[
        list[str], typer.Option(metavar="PATH|-", help="File or folder to read, or - for standard input; repeatable.")
    ]
    input_format: Annotated[
        Literal["jsonl", "csv", "parquet", "text"] | None, typer.Option(help="What the input is, where its name does not tell.")
    ] = None
    text_column: Annotated[str | None, typer.Option(help="Field or column of the text; text or note_text by default.")] = None
    id_column: Annotated[str | None, typer.Option(help="Field or column of the id; id or note_id by default.")] = None
    encoding: Annotated[
        str, typer.Option(metavar="auto|utf-8|cp1252|...", help="Encoding of the files; auto finds it out.")
    ] = "auto"
    delimiter: Annotated[str | None, typer.Option(help="What separates the fields of CSV; found out by default.")] = None

    def sources(self) -> tuple[Source, ...]:
        """The files. Raises RunError."""
        from drlongformer.offline import sources  # noqa: PLC0415

        return sources.find(self.input, self.input_format)

    def manner(self, **columns: Any) -> Manner:
        """How they are read; columns: what is to be said of them besides. Raises RunError."""
        from drlongformer.offline import encodings  # noqa: PLC0415
        from drlongformer.offline.columns import Columns  # noqa: PLC0415
        from drlongformer.offline.reader import Manner  # noqa: PLC0415

        separator = {"tab": "\t", r"\t": "\t"}.get(self.delimiter or "", self.delimiter)
        if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
            raise RunError("--delimiter is one character, or tab")
        chosen = Columns(text=self.text_column, id=self.id_column, **columns)
        return Manner(columns=chosen, encoding=encodings.check(self.encoding), delimiter=separator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is read of a pair or a question."""

    text1_column: Annotated[str | None, typer.Option(help="similarity: of the first text; text1 by default.")] = None
    text2_column: Annotated[str | None, typer.Option(help="similarity: of the second text; text2 by default.")] = None
    question_column: Annotated[str | None, typer.Option(help="multiple-choice: question by default.")] = None
    context_column: Annotated[
        str | None, typer.Option(help="multiple-choice: text that the question is about; context by default.")
    ] = None
    option_column: Annotated[
        list[str] | None,
        typer.Option(
            help="multiple-choice: of one option, by its name; repeatable. By default options, or option_a and so on."
        ),
    ] = None

    def columns(self, task: Task) -> dict[str, Any]:
        """What a record of the task is, and the fields that were named."""
        from drlongformer.offline.asked import WAYS  # noqa: PLC0415

        named = {name.removesuffix("_column"): field for name, field in given(self).items()}
        return {"kind": WAYS[task].kind, "options": tuple(named.pop("option", ()))} | named


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What is asked of each record."""

    head: Annotated[str | None, typer.Option(help="Head of the model; the task's first by default.")] = None
    overflow: Annotated[
        Literal["windows", "refuse", "truncate"], typer.Option(help="What happens to documents past the model's length.")
    ] = "windows"
    truncate_side: Annotated[Literal["head", "tail"], typer.Option(help="Which part is kept by truncate.")] = "head"
    pooling: Annotated[Literal["cls", "mean"] | None, typer.Option(help="embed: the model's own by default.")] = None
    no_normalize: Annotated[bool, typer.Option("--no-normalize", help="embed: keep the vectors' lengths.")] = False
    dimensions: Annotated[int | None, typer.Option(min=1, help="embed: keep the first so many.")] = None
    chunks: Annotated[
        Literal["sentences", "paragraphs"] | None,
        typer.Option(help="embed: a vector for each, pooled from states that have read the whole document."),
    ] = None
    aggregation: Annotated[
        Literal["simple", "first", "average", "max", "none"] | None, typer.Option(help="ner: the model's decoder by default.")
    ] = None
    label: Annotated[list[str] | None, typer.Option(help="ner: keep only this label; repeatable.")] = None
    min_score: Annotated[float | None, typer.Option(min=0, max=1, help="ner: keep entities of at least this score.")] = None
    redact: Annotated[
        bool, typer.Option("--redact", help="ner: write every text, with [LABEL] for each entity; a row a document.")
    ] = False
    top_k: Annotated[int | None, typer.Option(min=1, help="classify, fill-mask: the best so many.")] = None
    function: Annotated[
        Literal["softmax", "sigmoid", "none"] | None, typer.Option(help="classify: the model's own by default.")
    ] = None
    target: Annotated[list[str] | None, typer.Option(help="fill-mask: score only this word; repeatable.")] = None
    multiple: Annotated[bool, typer.Option("--multiple", help="multiple-choice: several options may be right.")] = False

    def ask(self, task: Task, written: Written) -> Ask:
        """The task with what was said. Raises RunError for an option of another task."""
        from drlongformer.offline import options  # noqa: PLC0415
        from drlongformer.serving.requests import RequestOptions  # noqa: PLC0415

        common = RequestOptions(
            head=self.head,
            overflow=self.overflow,
            truncate_side=self.truncate_side,
            priority="bulk",
            on_error="report",
        )
        names = ("pooling", "dimensions", "chunks", "aggregation", "min_score", "top_k", "function")
        own = given(self, *names) | {
            "labels": tuple(self.label or ()),
            "targets": tuple(self.target or ()),
            "redact": self.redact,
            "multiple": self.multiple,
        }
        said = {name: value for name, value in own.items() if value not in ((), False)}
        return options.asked(task, common, said | ({"normalize": False} if self.no_normalize else {}), written)


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What is written."""

    output: Annotated[Path | None, typer.Option(help="Folder to write; new or empty, unless --resume.")] = None
    format: Annotated[str, typer.Option(metavar=FORMATS, help="Form of the answers.")] = "parquet"
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --output, if there is one.")] = False
    only_new: Annotated[
        Path | None,
        typer.Option(metavar="FORMER", help="Former output: records of known id and text are not asked again."),
    ] = None
    part_documents: Annotated[int, typer.Option(min=1, max=1_000_000, help="Records of one part of the output.")] = 1000
    float16: Annotated[bool, typer.Option("--float16", help="embed: numbers of 16 bits in Parquet.")] = False
    no_text: Annotated[bool, typer.Option("--no-text", help="ner: places only, without the words that stand there.")] = False
    first_id: Annotated[int, typer.Option(min=1, help="note-nlp: the first note_nlp_id.")] = 1
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Tell what it would take (time, disk, cost, energy), and write nothing.")
    ] = False
    price_per_hour: Annotated[float | None, typer.Option(min=0, help="--estimate: of this machine, in any currency.")] = None
    watts: Annotated[
        float | None,
        typer.Option(min=0, help="--estimate: what the machine draws at work; the processors' counters by default."),
    ] = None

    def written(self, task: Task) -> Written:
        """How answers are written. Raises RunError."""
        from drlongformer.offline import options  # noqa: PLC0415
        from drlongformer.offline.asked import Written  # noqa: PLC0415

        return Written(
            format=options.format_named(self.format, task),
            numbers="float16" if self.float16 else "float32",
            text=not self.no_text,
            first_id=self.first_id,
        )


Model = Annotated[
    str | None, typer.Option(metavar="NAME[:VERSION]", help="Bundle; needed where several of the store have the task.")
]
StoreOption = Annotated[Path | None, typer.Option(help="Folder with the bundles.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Computing:
    """What computes."""

    model: Model = None
    store: StoreOption = None
    device: Annotated[str | None, typer.Option(metavar="cpu|cuda[:i]", help="Device that computes.")] = None
    engine: Annotated[str | None, typer.Option(metavar="onnxruntime|openvino", help="What computes.")] = None
    precision: Annotated[str | None, typer.Option(metavar="fp32|bf16|int8|fp16", help="What products are computed in.")] = None
    threads: Annotated[int | None, typer.Option(help="CPU threads of the engine; 0 takes every core.")] = None
