"""`drlongformer train evaluate`: a trained folder or an exported bundle, scored on one's own annotations or a recipe's sets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import track

from drlongformer import logs
from drlongformer.cli import options
from drlongformer.cli.base import err, needs_training_packages, told
from drlongformer.cli.records import format_named
from drlongformer.cli.training import commands
from drlongformer.errors import TrainingError
from drlongformer.types import Task

if TYPE_CHECKING:
    from drlongformer.training.examine import Options
    from drlongformer.training.subject import Subject

SCORES = "scores.json"
REPORT = "report.md"

Recipe = Annotated[str | None, typer.Option(help="Score on the test sets of this recipe; needs --data.")]


@commands.command("evaluate")
@told
def train_evaluate(  # noqa: PLR0913 - one parameter a flag
    model: options.Model,
    *,
    output: Annotated[Path, typer.Option(help=f"Folder for {SCORES}, {REPORT} and figures.")],
    test: Annotated[Path | None, typer.Option(help="Annotations to score on.")] = None,
    task: Annotated[Task | None, typer.Option(help="Task of the head; not needed with --head.")] = None,
    head: options.Head = None,
    train: Annotated[Path | None, typer.Option(help="Annotations that the baselines learn from.")] = None,
    recipe: Recipe = None,
    data: options.DataOfRecipe = None,
    format: options.Format = "auto",  # noqa: A002 - the option's name
    group_by: Annotated[str | None, typer.Option(help="Field whose documents belong together, such as patient.")] = None,
    encoding: options.Encoding = "utf-8",
    baselines: Annotated[bool, typer.Option(help="Also score what the model must beat.")] = True,
    robustness: Annotated[bool, typer.Option(help="Also score rewritten texts.")] = True,
    robustness_documents: Annotated[int, typer.Option(min=1, help="How many documents are rewritten.")] = 100,
    draws: Annotated[int, typer.Option(min=0, help="Draws of documents for the intervals; 0 for none.")] = 1000,
    device: options.Device = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; every core by default.")] = None,
    precision: Annotated[Literal["fp32", "fp16", "int8"] | None, typer.Option(help="Graph of a bundle.")] = None,
    batch_tokens: Annotated[int, typer.Option(min=1, help="About how many tokens are computed at once.")] = 8192,
) -> None:
    """Score a model: intervals, length classes, labels, baselines, rewritten texts; of a bundle the shipped graph is scored."""
    needs_training_packages()
    _check_asked(test, recipe, data, named=task is not None or head is not None)
    logs.configure(style="text", level="warning")
    from drlongformer.training import disk, evaluate, tables  # noqa: PLC0415
    from drlongformer.training.examine import Options  # noqa: PLC0415
    from drlongformer.training.subject import Subject  # noqa: PLC0415

    wanted = Options(baselines=baselines, robustness=robustness, draws=draws, robustness_documents=robustness_documents)
    subject = Subject.load(model, device=device, threads=threads, precision=precision, batch_tokens=batch_tokens)
    output.mkdir(parents=True, exist_ok=True)
    if test is not None:
        asked = subject.head(task, head)
        files = evaluate.OwnFiles(test=test, train=train, format=format_named(format), group_by=group_by, encoding=encoding)
        found = evaluate.run_files(subject, asked, files, output=output / SCORES, options=wanted, watch=shown)
    else:
        found = _on_recipe(subject, f"{recipe}", Path(f"{data}"), output / SCORES, wanted)
    text = tables.report(found)
    disk.replace(output / REPORT, text.encode())
    typer.echo(text)


def _check_asked(test: Path | None, recipe: str | None, data: Path | None, *, named: bool) -> None:
    """Raise TrainingError unless one thing is asked, and all of it."""
    if (test is None) == (recipe is None) or (recipe is None) != (data is None):
        raise TrainingError("give either --test FILE, or --recipe NAME with --data FOLDER")
    if test is not None and not named:
        raise TrainingError("--test needs the --task of the annotations, or the --head that is scored")


def _on_recipe(subject: Subject, name: str, data: Path, output: Path, options: Options) -> dict[str, Any]:
    from drlongformer.training import evaluate  # noqa: PLC0415
    from drlongformer.training.catalogue import named  # noqa: PLC0415
    from drlongformer.training.corpus import DataFolder  # noqa: PLC0415

    recipe = named(name)
    folder = DataFolder(data, policies=recipe.policies)
    evaluate.check_place(output, subject, {test.key: None for test in recipe.evaluation.tests})
    return evaluate.run(recipe.evaluation, trained_model=subject, folder=folder, output=output, options=options, watch=shown)


def shown(documents: Iterable[Any], count: int, what: str) -> Iterable[Any]:
    """Documents passed on, under a progress bar where there is a terminal."""
    return track(documents, total=count, description=what, console=err, disable=not err.is_terminal, transient=True)
