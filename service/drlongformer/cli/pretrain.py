"""`drlongformer train pretrain`, `convert`, `recipes` and `run`: masked-word training, and recipes as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from drlongformer import logs
from drlongformer.cli import pretrain_options as flags
from drlongformer.cli.base import err, needs_training_packages, out, told
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
def train_pretrain(  # noqa: PLR0913 - one parameter a flag
    *,
    strategy: flags.Strategy = None,
    recipe: flags.Recipe = None,
    base: flags.Base = None,
    revision: Revision = None,
    tokenizer: flags.Tokenizer = None,
    corpus: flags.Corpus,
    output: Output,
    device: flags.Device = "cpu",
    resume: flags.Resume = False,
    steps: flags.Steps = None,
    epochs: flags.Epochs = None,
    seconds: flags.Seconds = None,
    batch_tokens: flags.BatchTokens = None,
    micro_tokens: flags.MicroTokens = None,
    window_tokens: flags.WindowTokens = None,
    learning_rate: flags.LearningRate = None,
    warmup_steps: flags.WarmupSteps = None,
    seed: flags.Seed = None,
    whole_words: flags.WholeWords = None,
    first_global: flags.FirstGlobal = None,
    bf16: flags.Bf16 = None,
    copy_local_to_global: flags.CopyLocalToGlobal = None,
    architecture: flags.Architecture = None,
    log_steps: flags.LogSteps = None,
    held_out_steps: flags.HeldOutSteps = None,
    checkpoint_seconds: flags.CheckpointSeconds = None,
    tensorboard: flags.Tensorboard = True,
    dry_run: flags.DryRun = False,
) -> None:
    """Train on masked words; alone, or as `torchrun --no-python drlongformer train pretrain ...` on many processes."""
    needs_training_packages()
    from drlongformer.training import catalogue, pretrain  # noqa: PLC0415

    chosen = _changed(
        catalogue.chosen(recipe, strategy=strategy, architecture=architecture, tokenizer_json=tokenizer),
        batches=_given(
            batch_tokens=batch_tokens,
            micro_tokens=micro_tokens,
            window_tokens=tuple(window_tokens) if window_tokens else None,
            whole_words=whole_words,
            first_global=first_global,
        ),
        optimisation=_given(
            steps=steps,
            seconds=seconds,
            learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            bfloat16=bf16,
            log_steps=log_steps,
            held_out_steps=held_out_steps,
            checkpoint_seconds=checkpoint_seconds,
        ),
        whole=_given(seed=seed, copy_local_to_global=copy_local_to_global) | _length(steps, epochs),
    )
    texts = pretrain.Texts.of(corpus, tokenizer_json=tokenizer)
    if dry_run:
        _tell_outlook(chosen, texts)
        return
    source = None if resume else base or chosen.base
    _train(chosen, texts, output=output, source=source, revision=revision, device=device, resume=resume, board=tensorboard)


def _tell_outlook(recipe: PretrainingRecipe, texts: Texts) -> None:
    """What a run would read and for how many steps, a line each."""
    from drlongformer.training import pretrain  # noqa: PLC0415

    for name, value in pretrain.outlook(recipe, texts).items():
        typer.echo(f"{name:>24}  {value}")


def _train(
    recipe: PretrainingRecipe,
    texts: Texts,
    *,
    output: Path,
    source: str | None,
    revision: str | None,
    device: str,
    resume: bool,
    board: bool,
) -> None:
    """Train in this process's place among the others; source: the checkpoint to begin with, None to resume or from nothing."""
    from drlongformer.model import hub  # noqa: PLC0415
    from drlongformer.training import distributed, pretrain  # noqa: PLC0415

    logs.configure(style="text", level="info")
    with distributed.joined(device) as group, _watched(group.leads) as on_step:
        trained = pretrain.run(
            recipe,
            texts=texts,
            output=output,
            base=None if source is None else hub.fetch(source, revision=revision).folder,
            group=group,
            watch=pretrain.Watch(on_step=on_step, on_finished=_tell_finished, tensorboard=board),
            resume=resume,
        )
    if group.leads:
        typer.echo(f"trained: {trained}")


def _tell_finished(steps: int) -> None:
    err.print(f"Note: this run is finished already, after {steps} steps; nothing is trained.", soft_wrap=True)


def _given(**flags: Any) -> dict[str, Any]:
    """The flags that were used; the others leave the recipe's setting."""
    return {name: value for name, value in flags.items() if value is not None}


def _length(steps: int | None, epochs: float | None) -> dict[str, Any]:
    if steps is not None and epochs is not None:
        raise TrainingError(f"{steps} steps and {epochs:g} epochs: give one of them")
    return {} if steps is None and epochs is None else {"epochs": epochs}


def _changed(
    recipe: PretrainingRecipe, *, batches: Mapping[str, Any], optimisation: Mapping[str, Any], whole: Mapping[str, Any]
) -> PretrainingRecipe:
    return replace(
        recipe, batches=replace(recipe.batches, **batches), optimisation=replace(recipe.optimisation, **optimisation), **whole
    )


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
