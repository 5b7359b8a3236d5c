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
from drlongformer.cli.base import Store, err, needs_training_packages, told
from drlongformer.cli.groups import grouped
from drlongformer.cli.normalising import rules_asked
from drlongformer.cli.precisions import (
    MaxLossOption,
    MinCosineOption,
    PrecisionsOption,
    TargetsOption,
    int8_asked,
    targets_asked,
)
from drlongformer.cli.records import format_named, task_named
from drlongformer.cli.training import commands
from drlongformer.errors import TrainingError

if TYPE_CHECKING:
    from drlongformer.training.finetuning import TaskFiles
    from drlongformer.training.tuning import TuningSettings
    from drlongformer.training.wanted_heads import HeadRequest

T = TypeVar("T")

DEFAULT_NAMES = {"ner": "ner", "classify": "classify", "similarity": "similarity", "multiple-choice": "choice"}


@commands.command("finetune")
@told
@grouped
def train_finetune(
    *,
    base: flags.Base,
    output: flags.Output,
    reading: flags.Reading,
    asking: flags.Asking,
    learning: flags.Learning,
    repeating: flags.Repeating,
) -> None:
    """Fine-tune heads on annotated documents; the same command goes on where it was stopped."""
    needs_training_packages()
    logs.configure(style="text", level="warning")
    from drlongformer.training import finetuning  # noqa: PLC0415

    form = finetuning.FileForm(format=format_named(reading.format), group_by=reading.group_by, encoding=reading.encoding)
    sizes = repeating.learning_curve
    order = finetuning.Order(
        base=base,
        tasks=_task_files(_requests(asking), reading),
        output=output,
        form=form,
        settings=_settings(learning),
        seeds=tuple(_numbers(repeating.seeds, int, "seeds")),
        folds=repeating.folds,
        sizes=tuple(_numbers(sizes, int, "learning-curve")) if sizes else (),
        dev_share=reading.dev_share,
        word_splitting=reading.word_splitting,
        normalisation=rules_asked(reading.normalise),
        global_attention=asking.global_attention,
        keep_heads=asking.keep_heads,
        device=learning.device,
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
    target: TargetsOption = "cpu",
    max_loss: MaxLossOption = None,
    min_cosine: MinCosineOption = None,
) -> None:
    """Export a trained folder as a bundle, with a card of its data and scores."""
    targets = targets_asked(target)
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
        cuda="cuda" in targets,
    )
    typer.echo(f"written: {ship.run(folder, store=store, name=name, version=version, statement=said)}")


def _settings(learning: flags.Learning) -> TuningSettings:
    from drlongformer.training.tuning import TuningSettings  # noqa: PLC0415

    return TuningSettings(
        learning_rate=learning.learning_rate,
        epochs=learning.epochs,
        patience=learning.patience,
        batch_documents=learning.batch,
        micro_tokens=learning.micro_tokens,
        seconds=learning.seconds,
        class_weights=learning.class_weights,
        augmentations=tuple(filter(None, learning.augment.split(","))),
        freeze_encoder=learning.freeze_encoder,
        gradient_checkpointing=learning.gradient_checkpointing,
        bfloat16=learning.device.startswith("cuda") if learning.bf16 is None else learning.bf16,
    )


def _requests(asking: flags.Asking) -> list[HeadRequest]:
    """What is asked of each task's head, whose name is the one given, else the task's own."""
    from drlongformer.training.wanted_heads import HeadRequest  # noqa: PLC0415

    low, high = _numbers(asking.score_range, float, "score-range", count=2)
    named = _beside(asking.task, asking.head, "head")
    return [
        HeadRequest(
            task=task_named(task),
            name=name or ("embedding" if asking.contrastive and task == "similarity" else DEFAULT_NAMES.get(task, task)),
            several=asking.several,
            layout=asking.layout,
            contrastive=asking.contrastive and task == "similarity",
            score_range=(low, high),
        )
        for task, name in zip(asking.task, named, strict=True)
    ]


def _task_files(requests: Sequence[HeadRequest], reading: flags.Reading) -> tuple[TaskFiles, ...]:
    """Each head with its annotations, which the options name in the order of the tasks."""
    from drlongformer.training.finetuning import TaskFiles  # noqa: PLC0415

    sides = [_beside(requests, getattr(reading, name), name) for name in ("train", "dev", "test")]
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
