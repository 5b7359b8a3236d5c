"""`drlongformer run TASK`: records out of files, answers into a folder, without HTTP."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from drlongformer import logs, settings
from drlongformer.cli.base import err, told
from drlongformer.cli.groups import given, grouped
from drlongformer.cli.run_options import Asking, Computing, Parts, Reading, Writing
from drlongformer.errors import RunError

if TYPE_CHECKING:
    from drlongformer.offline.archive import Complete, House
    from drlongformer.offline.asked import Ask
    from drlongformer.offline.estimate import Estimate
    from drlongformer.offline.reader import Manner
    from drlongformer.offline.run import Figures
    from drlongformer.offline.sources import Source

TASKS = "embed|ner|classify|fill-mask|similarity|multiple-choice"
INTERRUPTED = 130
SOME_FAILED = 3
"""The exit code of a run that ended well, but for records that it could not answer."""


@told
@grouped
def run(
    task: Annotated[str, typer.Argument(metavar=TASKS, help="What is asked of each record.")],
    *,
    reading: Reading,
    parts: Parts,
    asking: Asking,
    writing: Writing,
    computing: Computing,
) -> None:
    """Ask a task of every record of files and write the answers into a folder; a killed run goes on with --resume.

    Exit code 0: every record has its answer; 3: some could not be answered (see errors/); 1: the run could not go on.
    """
    needs_offline_packages()
    from drlongformer.offline import archive, options  # noqa: PLC0415

    chosen = options.task_named(task)
    ask = asking.ask(chosen, writing.written(chosen))
    found, manner = reading.sources(), reading.manner(**parts.columns(chosen))
    if writing.output is None and not writing.estimate:
        raise RunError("--output names the folder to write")
    house = open_house(ask, computing)
    if writing.estimate or writing.output is None:
        _estimate(found, manner, ask, house, writing)
        return
    orders = archive.Orders(
        sources=found,
        manner=manner,
        ask=ask,
        folder=writing.output,
        resume=writing.resume,
        only_new=writing.only_new,
        part_documents=writing.part_documents,
    )
    try:
        with _Bar() as bar:
            figures = archive.archive(orders, house, bar.show)
    except KeyboardInterrupt:
        err.print(f"Stopped; the same command with --resume goes on from {writing.output}", soft_wrap=True, highlight=False)
        raise typer.Exit(INTERRUPTED) from None
    _tell(figures, writing.output)


def needs_offline_packages() -> None:
    """Raise RunError where the extra of that name is not installed."""
    if missing := [name for name in ("pyarrow", "charset_normalizer") if util.find_spec(name) is None]:
        raise RunError(f"this needs {' and '.join(missing)}: install the package with its `offline` extra")


def open_house(ask: Ask, computing: Computing) -> House:
    """The model that is asked, under the settings in force; from here on, nothing that is logged holds a text."""
    from drlongformer.offline.archive import House  # noqa: PLC0415
    from drlongformer.offline.opening import open_model  # noqa: PLC0415
    from drlongformer.serving.engines import Compute  # noqa: PLC0415
    from drlongformer.serving.metrics import Metrics  # noqa: PLC0415
    from drlongformer.serving.reading import Limits  # noqa: PLC0415

    names = ("store", "device", "engine", "precision", "threads")
    set_ = settings.load({"models": given(computing, *names)})
    logs.configure(style="text", level="warning")
    metrics = Metrics.create()
    models = open_model(
        set_.models.store,
        computing.model,
        ask.task,
        metrics=metrics,
        compute=Compute.of(set_.models),
        max_batch_tokens=set_.batching.max_batch_tokens,
        public_key=set_.models.public_key,
    )
    limits = set_.limits
    return House(
        models=models,
        metrics=metrics,
        limits=Limits(
            max_characters=limits.max_characters, max_windows=limits.max_windows, max_answer_items=limits.max_answer_items
        ),
    )


def _estimate(found: tuple[Source, ...], manner: Manner, ask: Ask, house: House, writing: Writing) -> None:
    from drlongformer.offline import estimate  # noqa: PLC0415

    rates = estimate.Rates(price_per_hour=writing.price_per_hour, watts=writing.watts)
    made: Estimate = estimate.estimate(found, manner, ask, house, rates)
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
