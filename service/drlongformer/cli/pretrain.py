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
from drlongformer.cli.base import err, needs_training_packages, out, told
from drlongformer.cli.training import Data, Output, Recipe, commands
from drlongformer.errors import TrainingError

if TYPE_CHECKING:
    from drlongformer.training import trainer
    from drlongformer.training.recipes import PretrainingRecipe

REPEATED = "; may be repeated"


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
def train_run(recipe: Recipe, *, data: Data, output: Output) -> None:
    """Run a whole recipe, or what is left of it."""
    needs_training_packages()
    from drlongformer.training import catalogue, whole  # noqa: PLC0415

    logs.configure(style="text", level="info")
    typer.echo(f"trained: {whole.run(catalogue.named(recipe), data=data, output=output)}")


@commands.command("convert")
@told
def train_convert(
    source: Annotated[str, typer.Argument(help="Hub id or folder of a Longformer, a RoBERTa or a CamemBERT.")],
    *,
    output: Output,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the Hub repository.")] = None,
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
    strategy: Annotated[str | None, typer.Option(metavar="continue|convert|scratch", help="Where the model begins.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Settings; paper-STRATEGY by default, see `train recipes`.")] = None,
    base: Annotated[str | None, typer.Option("--from", help="Checkpoint to begin with: a folder or a Hub id.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the Hub repository.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="tokenizer.json of the corpus; the checkpoint's by default.")] = None,
    corpus: Annotated[Path, typer.Option(help="Folder that `train corpus` wrote; its held-out part is scored on.")],
    output: Output,
    device: Annotated[str, typer.Option(metavar="cpu|cuda[:i]", help="Device; under torchrun each process takes one.")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    steps: Annotated[int | None, typer.Option(help="Steps; replaces the recipe's epochs.")] = None,
    epochs: Annotated[float | None, typer.Option(help="How often every document is read; replaces the steps.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Time budget; the rate reaches zero at its end.")] = None,
    batch_tokens: Annotated[int | None, typer.Option(help="Token slots of a step, over all processes.")] = None,
    micro_tokens: Annotated[int | None, typer.Option(help="Token slots a process computes at once: less memory.")] = None,
    window_tokens: Annotated[list[int] | None, typer.Option(help=f"Longest window, drawn per document{REPEATED}.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    warmup_steps: Annotated[int | None, typer.Option(help="Steps until the peak.")] = None,
    seed: Annotated[int | None, typer.Option(help="Order, masks and dropout.")] = None,
    whole_words: Annotated[bool | None, typer.Option("--whole-words/--no-whole-words", help="Mask words as a whole.")] = None,
    first_global: Annotated[bool | None, typer.Option("--global/--no-global", help="Global attention of <s>.")] = None,
    bf16: Annotated[bool | None, typer.Option("--bf16/--no-bf16", help="Compute in bfloat16.")] = None,
    copy_local_to_global: Annotated[
        bool | None, typer.Option("--copy-local-to-global/--no-copy-local-to-global", help="At the end, as published.")
    ] = None,
    architecture: Annotated[Path | None, typer.Option(help="config.json of a Longformer, for strategy scratch.")] = None,
    log_steps: Annotated[int | None, typer.Option(help="Steps between entries of the log.")] = None,
    held_out_steps: Annotated[int | None, typer.Option(help="Steps between held-out scores.")] = None,
    checkpoint_seconds: Annotated[float | None, typer.Option(help="Seconds between checkpoints.")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard/--no-tensorboard", help="Write event files.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be trained, and train nothing.")] = False,
) -> None:
    """Train on masked words; alone, or as `torchrun --no-python drlongformer train pretrain ...` on many processes."""
    needs_training_packages()
    from drlongformer.model import hub  # noqa: PLC0415
    from drlongformer.training import catalogue, distributed, pretrain  # noqa: PLC0415

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
    source = base or chosen.base
    if dry_run:
        for name, value in pretrain.outlook(chosen, texts).items():
            typer.echo(f"{name:>24}  {value}")
        return
    logs.configure(style="text", level="info")
    with distributed.joined(device) as group, _watched(group.leads) as on_step:
        trained = pretrain.run(
            chosen,
            texts=texts,
            output=output,
            base=None if resume or source is None else hub.fetch(source, revision=revision).folder,
            group=group,
            watch=pretrain.Watch(on_step=on_step, on_finished=_tell_finished, tensorboard=tensorboard),
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
