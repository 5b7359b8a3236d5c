"""`drlongformer train check` and `train preannotate`: what annotations hold, before and after a model learns from them.

The first reads them with every check; the second has a model propose some for people to correct.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar, get_args

import typer
from rich.progress import track
from rich.table import Table

from drlongformer.cli import options
from drlongformer.cli.base import err, needs_training_packages, out, told
from drlongformer.cli.training import commands
from drlongformer.errors import TrainingError

if TYPE_CHECKING:
    from drlongformer.training.records.reader import Format
    from drlongformer.training.records.record import RecordTask
    from drlongformer.training.records.summary import Summary

T = TypeVar("T")

Annotations = Annotated[Path, typer.Argument(help="JSON lines, an export of Doccano or Label Studio, or a folder of brat.")]


@commands.command("check")
@told
def train_check(
    file: Annotations,
    *,
    task: Annotated[str, typer.Option(metavar="ner|classify|similarity|multiple-choice", help="What was annotated.")],
    format: options.Format = "auto",  # noqa: A002 - the option's name
    group_by: options.GroupBy = None,
    labels: Annotated[str | None, typer.Option(metavar="A,B,...", help="The only labels allowed.")] = None,
    encoding: options.Encoding = "utf-8",
) -> None:
    """Check annotations: every fault by file and line, then counts, lengths and warnings; exit code 1 if there are faults."""
    from drlongformer.training.records import reader, summary  # noqa: PLC0415

    records = reader.read(
        file,
        task=task_named(task),
        format=format_named(format),
        group_by=group_by,
        labels=labels.split(",") if labels else None,
        encoding=encoding,
    )
    found = summary.summary(records)
    show(found)
    for sentence in summary.warnings(records, found):
        err.print(f"[yellow]Warning:[/] {sentence}", soft_wrap=True, highlight=False)


def task_named(name: str) -> RecordTask:
    """The task; raises TrainingError where records know none of that name."""
    from drlongformer.training.records.record import RecordTask  # noqa: PLC0415

    task: RecordTask = _named(name, "task", get_args(RecordTask))
    return task


def format_named(name: str) -> Format:
    """The format; raises TrainingError where none has that name."""
    from drlongformer.training.records.reader import Format  # noqa: PLC0415

    form: Format = _named(name, "format", get_args(Format))
    return form


def _named(name: str, what: str, known: Sequence[T]) -> T:
    """Which of the known names it is; raises TrainingError naming all where it is none of them."""
    for one in known:
        if one == name:
            return one
    raise TrainingError(f"no {what} {name!r}; there are {', '.join(map(str, known))}")


def show(found: Summary) -> None:
    """The figures of a set as tables."""
    figures = Table("what", "figure", box=None)
    for what, figure in (
        ("records", found.records),
        ("groups", "not grouped" if found.groups is None else found.groups),
        ("words", found.lengths.total),
        ("words, median", f"{found.lengths.median:g}"),
        ("words, longest", found.lengths.longest),
        ("longer than 512 tokens (about)", found.lengths.past_512_tokens),
        ("longer than 4096 tokens (about)", found.lengths.past_4096_tokens),
    ):
        figures.add_row(what, str(figure))
    out.print(figures)
    if found.labels:
        counts = Table("label", "count", "records", box=None)
        for one in found.labels:
            counts.add_row(one.label, str(one.count), str(one.records))
        out.print(counts)


@commands.command("preannotate")
@told
def train_preannotate(
    model: options.Model,
    texts: Annotated[Path, typer.Argument(help='Lines of {"id", "text"}, or a folder of .txt files.')],
    *,
    output: Annotated[Path, typer.Option(help="File to write; for brat an empty folder.")],
    format: Annotated[  # noqa: A002 - the option's name
        Literal["jsonl", "brat", "doccano", "label-studio"], typer.Option(help="Tool that people correct the proposals in.")
    ],
    task: Annotated[Literal["ner", "classify"], typer.Option(help="What is proposed; not needed with --head.")] = "ner",
    head: options.Head = None,
    encoding: Annotated[str, typer.Option(help="Encoding of the texts.")] = "utf-8",
    device: options.Device = "cpu",
) -> None:
    """Propose annotations for texts nobody has annotated, in the form of a tool in which people correct them."""
    needs_training_packages()
    from drlongformer.training.records import handing_back, proposals  # noqa: PLC0415
    from drlongformer.training.records.unannotated import unannotated  # noqa: PLC0415
    from drlongformer.training.subject import Subject  # noqa: PLC0415

    handing_back.check_free(output)
    subject = Subject.load(model, device=device)
    chosen = subject.head(None if head else task, head)
    read = unannotated(texts, encoding=encoding)
    found = list(track(proposals.proposed(subject, chosen, read), total=len(read), console=err, disable=not err.is_terminal))
    handing_back.write(
        found, output, format=format, proposed_by=f"{subject.provenance.get('bundle', model.name)}/{chosen.name}"
    )
    typer.echo(f"written: {output} ({len(found)} texts)")
