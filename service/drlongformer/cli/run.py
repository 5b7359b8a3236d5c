"""`drlongformer run TASK`: documents out of files, answers into a folder, without HTTP."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import typer
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from drlongformer import logs, settings
from drlongformer.cli.base import err, told
from drlongformer.errors import RunError

if TYPE_CHECKING:
    from drlongformer.offline.archive import Complete, House
    from drlongformer.offline.asked import Ask
    from drlongformer.offline.estimate import Estimate
    from drlongformer.offline.reader import Manner
    from drlongformer.offline.run import Figures
    from drlongformer.offline.sources import Source

SOME_FAILED = 3
"""The exit code of a run that ended well, but for records that it could not answer."""

Inputs = Annotated[
    list[str], typer.Option("--input", metavar="PATH|-", help="File or folder to read, or - for standard input; repeatable.")
]
InputFormat = Annotated[
    Literal["jsonl", "csv", "parquet", "text"] | None, typer.Option(help="What the input is, where its name does not tell.")
]
TextColumn_ = Annotated[str | None, typer.Option(help="Field or column of the text; text or note_text by default.")]
IdColumn = Annotated[str | None, typer.Option(help="Field or column of the id; id or note_id by default.")]
Encoding = Annotated[str, typer.Option(metavar="auto|utf-8|cp1252|...", help="Encoding of the files; auto finds it out.")]
Delimiter = Annotated[str | None, typer.Option(help="What separates the fields of CSV; found out by default.")]
Model = Annotated[
    str | None, typer.Option(metavar="NAME[:VERSION]", help="Bundle; needed where several of the store have the task.")
]


@told
def run(  # noqa: PLR0913 - one parameter a flag
    task: Annotated[str, typer.Argument(metavar="embed|ner|classify|fill-mask", help="What is asked of each document.")],
    *,
    input: Inputs,  # noqa: A002 - the option's name
    output: Annotated[Path | None, typer.Option(help="Folder to write; new or empty, unless --resume.")] = None,
    format: Annotated[  # noqa: A002 - the option's name
        str, typer.Option(metavar="parquet|jsonl|brat|note-nlp|note-nlp-csv", help="Form of the answers.")
    ] = "parquet",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --output, if there is one.")] = False,
    only_new: Annotated[
        Path | None, typer.Option(metavar="FORMER", help="Former output: documents of known id and text are not asked again.")
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Tell how long it would take, and write nothing.")] = False,
    input_format: InputFormat = None,
    text_column: TextColumn_ = None,
    id_column: IdColumn = None,
    encoding: Encoding = "auto",
    delimiter: Delimiter = None,
    model: Model = None,
    head: Annotated[str | None, typer.Option(help="Head of the model; the task's first by default.")] = None,
    overflow: Annotated[
        Literal["windows", "refuse", "truncate"], typer.Option(help="What happens to documents past the model's length.")
    ] = "windows",
    truncate_side: Annotated[Literal["head", "tail"], typer.Option(help="Which part is kept by truncate.")] = "head",
    pooling: Annotated[Literal["cls", "mean"] | None, typer.Option(help="embed: the model's own by default.")] = None,
    no_normalize: Annotated[bool, typer.Option("--no-normalize", help="embed: keep the vectors' lengths.")] = False,
    dimensions: Annotated[int | None, typer.Option(help="embed: keep the first so many.")] = None,
    float16: Annotated[bool, typer.Option("--float16", help="embed: numbers of 16 bits in Parquet.")] = False,
    aggregation: Annotated[
        Literal["simple", "first", "average", "max", "none"] | None, typer.Option(help="ner: the model's decoder by default.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="ner: keep only this label; repeatable.")] = None,
    min_score: Annotated[float | None, typer.Option(min=0, max=1, help="ner: keep entities of at least this score.")] = None,
    no_text: Annotated[bool, typer.Option("--no-text", help="ner: places only, without the words that stand there.")] = False,
    first_id: Annotated[int, typer.Option(min=1, help="note-nlp: the first note_nlp_id.")] = 1,
    top_k: Annotated[int | None, typer.Option(min=1, help="classify, fill-mask: the best so many.")] = None,
    function: Annotated[
        Literal["softmax", "sigmoid", "none"] | None, typer.Option(help="classify: the model's own by default.")
    ] = None,
    target: Annotated[list[str] | None, typer.Option(help="fill-mask: score only this word; repeatable.")] = None,
    part_documents: Annotated[int, typer.Option(min=1, max=1_000_000, help="Documents of one part of the output.")] = 1000,
    store: Annotated[Path | None, typer.Option(help="Folder with the bundles.")] = None,
    device: Annotated[str | None, typer.Option(metavar="cpu|cuda[:i]", help="Device that computes.")] = None,
    engine: Annotated[str | None, typer.Option(metavar="onnxruntime|openvino", help="What computes.")] = None,
    precision: Annotated[str | None, typer.Option(metavar="fp32|bf16|int8", help="What products are computed in.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the engine; 0 takes every core.")] = None,
) -> None:
    """Ask a task of every document of files and write the answers into a folder; a killed run goes on with --resume.

    Exit code 0: every record has its answer; 3: some could not be answered (see errors/); 1: the run could not go on.
    """
    needs_offline_packages()
    from drlongformer.offline import archive, options, sources  # noqa: PLC0415
    from drlongformer.offline.asked import Written  # noqa: PLC0415
    from drlongformer.serving.requests import RequestOptions  # noqa: PLC0415

    chosen = options.task_named(task)
    own = {
        "pooling": pooling,
        "normalize": False if no_normalize else None,
        "dimensions": dimensions,
        "aggregation": aggregation,
        "labels": tuple(label) if label else None,
        "min_score": min_score,
        "top_k": top_k,
        "function": function,
        "targets": tuple(target) if target else None,
    }
    ask = options.asked(
        chosen,
        RequestOptions(head=head, overflow=overflow, truncate_side=truncate_side, priority="bulk", on_error="report"),
        {name: value for name, value in own.items() if value is not None},
        Written(
            format=options.format_named(format, chosen),
            numbers="float16" if float16 else "float32",
            text=not no_text,
            first_id=first_id,
        ),
    )
    found = sources.find(input, input_format)
    manner = manner_of(text_column=text_column, id_column=id_column, encoding=encoding, delimiter=delimiter)
    if output is None and not estimate:
        raise RunError("--output names the folder to write")
    chosen_compute = {"store": store, "device": device, "engine": engine, "precision": precision, "threads": threads}
    house = open_house(ask, model, {name: value for name, value in chosen_compute.items() if value is not None})
    if estimate or output is None:
        _estimate(found, manner, ask, house)
        return
    orders = archive.Orders(
        sources=found,
        manner=manner,
        ask=ask,
        folder=output,
        resume=resume,
        only_new=only_new,
        part_documents=part_documents,
    )
    with _Bar() as bar:
        figures = archive.archive(orders, house, bar.show)
    _tell(figures, output)


def needs_offline_packages() -> None:
    """Raise RunError where the extra of that name is not installed."""
    if missing := [name for name in ("pyarrow", "charset_normalizer") if util.find_spec(name) is None]:
        raise RunError(f"this needs {' and '.join(missing)}: install the package with its `offline` extra")


def manner_of(*, text_column: str | None, id_column: str | None, encoding: str, delimiter: str | None) -> Manner:
    """How to read, from the flags. Raises RunError."""
    from drlongformer.offline import encodings  # noqa: PLC0415
    from drlongformer.offline.columns import Columns  # noqa: PLC0415
    from drlongformer.offline.reader import Manner  # noqa: PLC0415

    separator = {"tab": "\t", r"\t": "\t"}.get(delimiter or "", delimiter)
    if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
        raise RunError("--delimiter is one character, or tab")
    columns = Columns(text=text_column, id=id_column)
    return Manner(columns=columns, encoding=encodings.check(encoding), delimiter=separator)


def open_house(ask: Ask, model: str | None, chosen: dict[str, Any]) -> House:
    """The model that is asked, under the settings in force; from here on, nothing that is logged holds a text."""
    from drlongformer.offline.archive import House  # noqa: PLC0415
    from drlongformer.offline.opening import open_model  # noqa: PLC0415
    from drlongformer.serving.engines import Compute  # noqa: PLC0415
    from drlongformer.serving.metrics import Metrics  # noqa: PLC0415
    from drlongformer.serving.reading import Limits  # noqa: PLC0415

    set_ = settings.load({"models": chosen})
    logs.configure(style="text", level="warning")
    metrics = Metrics.create()
    models = open_model(
        set_.models.store,
        model,
        ask.task,
        metrics=metrics,
        compute=Compute.of(set_.models),
        max_batch_tokens=set_.batching.max_batch_tokens,
    )
    limits = set_.limits
    return House(
        models=models,
        metrics=metrics,
        limits=Limits(
            max_characters=limits.max_characters, max_windows=limits.max_windows, max_answer_items=limits.max_answer_items
        ),
    )


def _estimate(found: tuple[Source, ...], manner: Manner, ask: Ask, house: House) -> None:
    from drlongformer.offline import estimate  # noqa: PLC0415

    made: Estimate = estimate.estimate(found, manner, ask, house)
    typer.echo(made.told())


def _tell(figures: Figures | Complete, output: Path) -> None:
    """The end of a run in a few words. Raises Exit where records failed."""
    from drlongformer.offline.archive import Complete  # noqa: PLC0415

    if isinstance(figures, Complete):
        failed = f"; {figures.failed:,} failed then (see {output / 'errors'})" if figures.failed else ""
        typer.echo(f"{output} is complete already: nothing was left to do{failed}")
        if figures.failed:
            raise typer.Exit(SOME_FAILED)
        return
    for encoding, files in figures.encodings.items():
        if not encoding.startswith("utf-8"):
            err.print(f"read as {encoding}: {files:,} {'file' if files == 1 else 'files'}", highlight=False)
    counts = figures.statuses
    words = [f"{counts.get('answered', 0):,} of {figures.records:,} documents answered"]
    words += [f"{counts['known']:,} known"] if counts.get("known") else []
    words += [f"{counts['failed']:,} failed (see {output / 'errors'})"] if counts.get("failed") else []
    speed = f"{figures.tokens / max(figures.seconds, 1e-9):,.0f} tokens/s"
    typer.echo(f"{', '.join(words)}; {figures.tokens:,} tokens in {figures.seconds:.1f} s, {speed}")
    if counts.get("failed"):
        raise typer.Exit(SOME_FAILED)


class _Rates(ProgressColumn):
    """Documents and tokens per second since the run began."""

    def render(self, task: Task) -> Text:
        return Text(task.fields.get("rates", ""))


class _Bar:
    """A progress bar on standard error, on a terminal alone."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
        self._progress = Progress(
            *columns, _Rates(), TimeRemainingColumn(), console=err, transient=True, disable=not err.is_terminal
        )
        self._task = self._progress.add_task("documents", total=None)
        self._first: Figures | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, figures: Figures) -> None:
        """Bring the bar up to date."""
        self._first = self._first or figures
        seconds = max(figures.seconds - self._first.seconds, 1e-9)
        documents = (figures.records - self._first.records) / seconds
        tokens = (figures.tokens - self._first.tokens) / seconds
        self._progress.update(
            self._task,
            description=f"{figures.records:,} documents",
            completed=figures.consumed,
            total=figures.total or None,
            rates=f"{documents:,.1f} documents/s {tokens:,.0f} tokens/s" if figures is not self._first else "",
        )
