"""`drlongformer train finetune` and `ship`: from annotated notes to a head, and from a trained folder to a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from drlongformer import logs
from drlongformer.cli import finetune_options as flags
from drlongformer.cli import options
from drlongformer.cli.base import Store, err, needs_training_packages, told
from drlongformer.cli.normalising import NormaliseOption, rules_asked
from drlongformer.cli.precisions import MaxLossOption, MinCosineOption, PrecisionsOption, int8_asked
from drlongformer.cli.records import format_named, task_named
from drlongformer.cli.training import commands
from drlongformer.errors import TrainingError

if TYPE_CHECKING:
    from drlongformer.training.finetuning import TaskFiles
    from drlongformer.training.wanted_heads import HeadRequest

T = TypeVar("T")

DEFAULT_NAMES = {"ner": "ner", "classify": "classify", "similarity": "similarity", "multiple-choice": "choice"}


@commands.command("finetune")
@told
def train_finetune(  # noqa: PLR0913 - one parameter a flag
    *,
    base: flags.Base,
    task: flags.Tasks,
    train: flags.Train,
    output: flags.Output,
    dev: flags.Paths = None,
    test: flags.Paths = None,
    head: flags.Heads = None,
    format: options.Format = "auto",  # noqa: A002 - the option's name
    group_by: options.GroupBy = None,
    encoding: options.Encoding = "utf-8",
    dev_share: flags.DevShare = 0.15,
    several: flags.Several = None,
    layout: flags.Layout = "each",
    contrastive: flags.Contrastive = False,
    score_range: flags.ScoreRange = "0,5",
    word_splitting: flags.WordSplitting = None,
    normalise: NormaliseOption = None,
    global_attention: flags.GlobalAttention = None,
    keep_heads: flags.KeepHeads = True,
    freeze_encoder: flags.FreezeEncoder = False,
    epochs: flags.Epochs = 24,
    patience: flags.Patience = 5,
    learning_rate: flags.LearningRate = 2e-5,
    batch: flags.Batch = 8,
    micro_tokens: flags.MicroTokens = 8192,
    seconds: flags.Seconds = None,
    class_weights: flags.ClassWeights = "none",
    augment: flags.Augment = "",
    gradient_checkpointing: flags.GradientCheckpointing = False,
    bf16: flags.Bf16 = None,
    device: options.Device = "cpu",
    seeds: flags.Seeds = "0",
    folds: flags.Folds = 0,
    learning_curve: flags.LearningCurve = "",
) -> None:
    """Fine-tune heads on annotated documents; the same command goes on where it was stopped."""
    needs_training_packages()
    logs.configure(style="text", level="warning")
    from drlongformer.training import finetuning  # noqa: PLC0415
    from drlongformer.training.tuning import TuningSettings  # noqa: PLC0415

    settings = TuningSettings(
        learning_rate=learning_rate,
        epochs=epochs,
        patience=patience,
        batch_documents=batch,
        micro_tokens=micro_tokens,
        seconds=seconds,
        class_weights=class_weights,
        augmentations=tuple(filter(None, augment.split(","))),
        freeze_encoder=freeze_encoder,
        gradient_checkpointing=gradient_checkpointing,
        bfloat16=device.startswith("cuda") if bf16 is None else bf16,
    )
    requests = _requests(task, head, several=several, layout=layout, contrastive=contrastive, score_range=score_range)
    order = finetuning.Order(
        base=base,
        tasks=_task_files(requests, train=train, dev=dev, test=test),
        output=output,
        form=finetuning.FileForm(format=format_named(format), group_by=group_by, encoding=encoding),
        settings=settings,
        seeds=tuple(_numbers(seeds, int, "seeds")),
        folds=folds,
        sizes=tuple(_numbers(learning_curve, int, "learning-curve")) if learning_curve else (),
        dev_share=dev_share,
        word_splitting=word_splitting,
        normalisation=rules_asked(normalise),
        global_attention=global_attention,
        keep_heads=keep_heads,
        device=device,
    )
    with _shown() as show:
        typer.echo(f"trained: {finetuning.run(order, on_log=show)}")


@commands.command("ship")
@told
def train_ship(  # noqa: PLR0913 - one parameter a flag
    folder: Annotated[Path, typer.Argument(help="A trained folder, or the output folder of `train finetune` or `train run`.")],
    *,
    name: Annotated[str, typer.Option(help="Name of the bundle.")],
    version: Annotated[int | None, typer.Option(help="Version; the next one by default.")] = None,
    store: Store = Path("model_store"),
    licence: Annotated[str | None, typer.Option(help="Licence of the weights; the recipe's by default.")] = None,
    description: Annotated[str | None, typer.Option(help="One sentence for the card.")] = None,
    patient_data: Annotated[bool | None, typer.Option(help="Whether patient data went into the model.")] = None,
    halved: Annotated[
        bool | None, typer.Option("--fp16-weights/--fp32-weights", help="How weights are stored; fp16 for recipes by default.")
    ] = None,
    scores: Annotated[Path | None, typer.Option(help="Scores to put in; those of the training by default.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data folder of the recipe: the exported graph is scored on its test sets.")
    ] = None,
    precision: PrecisionsOption = "fp32",
    max_loss: MaxLossOption = None,
    min_cosine: MinCosineOption = None,
) -> None:
    """Export a trained folder as a bundle, with a card of its data and scores."""
    needs_training_packages()
    logs.configure(style="text", level="info")
    from drlongformer.training import ship  # noqa: PLC0415

    scored_by = None if data else "--data, the sets to score on"
    said = ship.Statement(
        licence=licence,
        description=description,
        patient_data=patient_data,
        halved=halved,
        scores=scores,
        data=data,
        int8=int8_asked(precision, max_loss=max_loss, min_cosine=min_cosine, scored_by=scored_by),
    )
    typer.echo(f"written: {ship.run(folder, store=store, name=name, version=version, statement=said)}")


def _requests(
    tasks: Sequence[str],
    heads: Sequence[str] | None,
    *,
    several: bool | None,
    layout: flags.Layout,
    contrastive: bool,
    score_range: str,
) -> list[HeadRequest]:
    """What is asked of each task's head, whose name is the one given, else the task's own."""
    from drlongformer.training.wanted_heads import HeadRequest  # noqa: PLC0415

    low, high = _numbers(score_range, float, "score-range", count=2)
    named = _beside(tasks, heads, "head")
    return [
        HeadRequest(
            task=task_named(task),
            name=name or ("embedding" if contrastive and task == "similarity" else DEFAULT_NAMES.get(task, task)),
            several=several,
            layout=layout,
            contrastive=contrastive and task == "similarity",
            score_range=(low, high),
        )
        for task, name in zip(tasks, named, strict=True)
    ]


def _task_files(
    requests: Sequence[HeadRequest], *, train: Sequence[Path], dev: Sequence[Path] | None, test: Sequence[Path] | None
) -> tuple[TaskFiles, ...]:
    """Each head with its annotations, which the options name in the order of the tasks."""
    from drlongformer.training.finetuning import TaskFiles  # noqa: PLC0415

    sides = [_beside(requests, paths, name) for paths, name in ((train, "train"), (dev, "dev"), (test, "test"))]
    return tuple(
        TaskFiles(request=request, train=learnt, dev=tuned, test=scored)
        for request, learnt, tuned, scored in zip(requests, *sides, strict=True)
        if learnt is not None
    )


def _beside(tasks: Sequence[object], given: Sequence[T] | None, name: str) -> list[T | None]:
    """What an option gives each task, or nothing for any; raises TrainingError for another number of them."""
    if not given:
        return [None] * len(tasks)
    if len(given) != len(tasks):
        raise TrainingError(f"--{name} was given {len(given)} times for {len(tasks)} tasks")
    return [*given]


def _numbers(text: str, kind: Callable[[str], Any], name: str, *, count: int | None = None) -> list[Any]:
    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError:
        raise TrainingError(f"--{name} is written as numbers with commas between") from None
    if count is not None and len(found) != count:
        raise TrainingError(f"--{name} takes {count} numbers, not {len(found)}")
    return found


@contextmanager
def _shown() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """What is told of a run: a line that moves where somebody watches, the scores of every epoch in any case."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        line = progress.add_task("starting")

        def show(entry: Mapping[str, Any]) -> None:
            if losses := entry.get("losses"):
                told = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
                progress.update(line, description=f"step {entry['step']}: loss {told}")
            if held_out := entry.get("held_out"):
                told = ", ".join(f"{name} {score:.3f}" for name, score in held_out.items())
                err.print(f"step {entry['step']}: {told}", highlight=False, soft_wrap=True)

        yield show
