"""`drlongformer train pretrain`, `convert`, `recipes` and `run`: masked-word training, and recipes as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from drlongformer import logs
from drlongformer.cli import pretrain_options as flags
from drlongformer.cli.base import err, needs_training_packages, out, told
from drlongformer.cli.groups import given, grouped
from drlongformer.cli.normalising import NormaliseOption, rules_asked
from drlongformer.cli.options import Data, Output, Recipe, Revision
from drlongformer.cli.training import commands
from drlongformer.errors import TrainingError

if TYPE_CHECKING:
    from drlongformer.training import trainer
    from drlongformer.training.pretrain import Texts
    from drlongformer.training.recipes import PretrainingRecipe


@commands.command("recipes")
@told
def train_recipes() -> None:
    """List the recipes and what each makes."""
    needs_training_packages()
    from drlongformer.training import catalogue  # noqa: PLC0415

    table = Table("recipe", "what it makes", box=None)
    for name, meaning in catalogue.listed().items():
        table.add_row(name, meaning)
    out.print(table)


@commands.command("run")
@told
def train_run(recipe: Recipe, *, data: Data, output: Output, normalise: NormaliseOption = None) -> None:
    """Run a whole recipe, or what is left of it."""
    needs_training_packages()
    from drlongformer.training import catalogue, whole  # noqa: PLC0415

    logs.configure(style="text", level="info")
    rules = rules_asked(normalise)
    typer.echo(f"trained: {whole.run(catalogue.named(recipe), data=data, output=output, normalisation=rules)}")


@commands.command("convert")
@told
def train_convert(
    source: Annotated[str, typer.Argument(help="Hub id or folder of a Longformer, a RoBERTa or a CamemBERT.")],
    *,
    output: Output,
    revision: Revision = None,
    attention_window: Annotated[int, typer.Option(help="Two-sided window of a converted model.")] = 512,
    max_tokens: Annotated[int, typer.Option(help="Longest window of a converted model, special tokens included.")] = 4096,
) -> None:
    """Write a checkpoint as a Longformer with its tokenizer.json, ready for `train corpus` and `train pretrain`."""
    needs_training_packages()
    from drlongformer.model import hub  # noqa: PLC0415
    from drlongformer.training import beginning  # noqa: PLC0415

    base = hub.fetch(source, revision=revision).folder
    beginning.write_base(base, output, attention_window=attention_window, max_tokens=max_tokens)
    typer.echo(f"written: {output}")


@commands.command("pretrain")
@told
@grouped
def train_pretrain(
    *, beginning: flags.Beginning, batching: flags.Batching, optimising: flags.Optimising, running: flags.Running
) -> None:
    """Train on masked words; alone, or as `torchrun --no-python drlongformer train pretrain ...` on many processes."""
    needs_training_packages()
    from drlongformer.training import pretrain  # noqa: PLC0415

    recipe = _recipe(beginning, batching, optimising)
    texts = pretrain.Texts.of(beginning.corpus, tokenizer_json=beginning.tokenizer)
    if running.dry_run:
        _tell_outlook(recipe, texts)
    else:
        source = None if running.resume else beginning.base or recipe.base
        _train(recipe, texts, source=source, revision=beginning.revision, running=running)


def _recipe(beginning: flags.Beginning, batching: flags.Batching, optimising: flags.Optimising) -> PretrainingRecipe:
    """The recipe that was named, with what was said beside it."""
    from drlongformer.training import catalogue  # noqa: PLC0415

    steps, epochs = optimising.steps, optimising.epochs
    if steps is not None and epochs is not None:
        raise TrainingError(f"{steps} steps and {epochs:g} epochs: give one of them")
    chosen = catalogue.chosen(
        beginning.recipe,
        strategy=beginning.strategy,
        architecture=beginning.architecture,
        tokenizer_json=beginning.tokenizer,
    )
    batches = given(batching, "batch_tokens", "micro_tokens", "whole_words", "first_global")
    if batching.window_tokens:
        batches["window_tokens"] = tuple(batching.window_tokens)
    optimisation = given(
        optimising, "steps", "seconds", "learning_rate", "warmup_steps", "log_steps", "held_out_steps", "checkpoint_seconds"
    )
    if optimising.bf16 is not None:
        optimisation["bfloat16"] = optimising.bf16
    whole = given(optimising, "seed", "copy_local_to_global")
    if steps is not None or epochs is not None:
        whole["epochs"] = epochs  # the one of them that was given replaces the other
    return replace(
        chosen, batches=replace(chosen.batches, **batches), optimisation=replace(chosen.optimisation, **optimisation), **whole
    )


def _tell_outlook(recipe: PretrainingRecipe, texts: Texts) -> None:
    """What a run would read and for how many steps, a line each."""
    from drlongformer.training import pretrain  # noqa: PLC0415

    for name, value in pretrain.outlook(recipe, texts).items():
        typer.echo(f"{name:>24}  {value}")


def _train(
    recipe: PretrainingRecipe, texts: Texts, *, source: str | None, revision: str | None, running: flags.Running
) -> None:
    """Train in this process's place among the others; source: the checkpoint to begin with, None to resume or from nothing."""
    from drlongformer.model import hub  # noqa: PLC0415
    from drlongformer.training import distributed, pretrain  # noqa: PLC0415

    logs.configure(style="text", level="info")
    with distributed.joined(running.device) as group, _watched(group.leads) as on_step:
        trained = pretrain.run(
            recipe,
            texts=texts,
            output=running.output,
            base=None if source is None else hub.fetch(source, revision=revision).folder,
            group=group,
            watch=pretrain.Watch(on_step=on_step, on_finished=_tell_finished, tensorboard=running.tensorboard),
            resume=running.resume,
        )
    if group.leads:
        typer.echo(f"trained: {trained}")


def _tell_finished(steps: int) -> None:
    err.print(f"Note: this run is finished already, after {steps} steps; nothing is trained.", soft_wrap=True)


@contextmanager
def _watched(leads: bool) -> Iterator[Callable[[trainer.Progress, Mapping[str, float]], None] | None]:
    """A bar on a terminal, of the steps done; nothing elsewhere."""
    if not (leads and err.is_terminal):
        yield None
        return
    columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err) as bar:
        task = bar.add_task("", total=None)

        def show(progress: trainer.Progress, losses: Mapping[str, float]) -> None:
            told = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            rate = progress.tokens / max(progress.seconds, 1e-9)
            bar.update(task, completed=progress.step, total=progress.steps, description=f"{told}, {rate:,.0f} tokens/s")

        yield show
