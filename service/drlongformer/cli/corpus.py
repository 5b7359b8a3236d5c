"""`drlongformer train tokenizer` and `train corpus`: from raw text of one's own, or a recipe's sets, to token shards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich import progress

from drlongformer.cli.base import err, needs_training_packages, told
from drlongformer.cli.normalising import NormaliseOption, rules_asked
from drlongformer.cli.options import DataOfRecipe, Output
from drlongformer.cli.training import commands
from drlongformer.errors import TrainingError

Sources = Annotated[list[Path] | None, typer.Argument(metavar="INPUT...", help="Folders, .txt, .jsonl, .jsonl.gz, .parquet.")]
Recipe = Annotated[str | None, typer.Option(help="Read the sets of this recipe instead; needs --data.")]
Field = Annotated[str, typer.Option(help="Field or column that holds the text.")]
Encoding = Annotated[Literal["utf-8", "cp1252", "latin-1"], typer.Option(help="Encoding of text files and JSON lines.")]
VOCABULARY = 32_005
REFRESH_SECONDS = 0.2


@commands.command("tokenizer")
@told
def train_tokenizer(  # noqa: PLR0913 - one parameter a flag
    sources: Sources = None,
    *,
    output: Output,
    recipe: Recipe = None,
    data: DataOfRecipe = None,
    layout: Annotated[
        Literal["roberta", "camembert"] | None, typer.Option(help="Byte-level BPE (by default), or SentencePiece's BPE.")
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(help=f"Tokens, special ones included; {VOCABULARY}, or the recipe's, by default.")
    ] = None,
    min_documents: Annotated[
        int | None, typer.Option(min=1, help="Words met in fewer documents take no part; 5, or the recipe's, by default.")
    ] = None,
    field: Field = "text",
    encoding: Encoding = "utf-8",
) -> None:
    """Learn a tokenizer in which rare words, names above all, are no tokens."""
    needs_training_packages()
    if output.exists():
        raise TrainingError(f"{output} exists already: choose another name, or remove it")
    given = _given(vocab_size=vocab_size, min_documents=min_documents)
    if recipe is not None:
        folder = _data_of(sources, data, layout=layout)
        from drlongformer.training import commands as stages  # noqa: PLC0415

        typer.echo(f"written: {stages.tokenizer(recipe, data=folder, output=output, **given)}")
        return
    from drlongformer.training.own_tokenizer import learn  # noqa: PLC0415
    from drlongformer.training.reading_text import Inputs  # noqa: PLC0415
    from drlongformer.training.recipes import TokenizerRecipe  # noqa: PLC0415

    inputs = Inputs(sources or (), field=field, encoding=encoding)
    chosen = TokenizerRecipe(**{"vocab_size": VOCABULARY} | given | _given(layout=layout))
    with _bars({"words": "counting words", "merges": "learning merges"}) as advance:
        tokens = learn(inputs, chosen, output, lambda its: advance(its.stage, its.done, its.total))
    typer.echo(f"written: {output} ({tokens} tokens)")
    if tokens < chosen.vocab_size:
        err.print(f"Note: the texts have less to learn than the {chosen.vocab_size} tokens that were asked.", soft_wrap=True)


@commands.command("corpus")
@told
def train_corpus(  # noqa: PLR0913 - one parameter a flag
    sources: Sources = None,
    *,
    tokenizer: Annotated[Path, typer.Option(help="A tokenizer.json.")],
    output: Output,
    recipe: Recipe = None,
    data: DataOfRecipe = None,
    field: Field = "text",
    encoding: Encoding = "utf-8",
    duplicates: Annotated[
        Literal["near", "exact", "keep"],
        typer.Option(help="Leave out documents much like an earlier one, equal ones, or none."),
    ] = "near",
    similarity: Annotated[float, typer.Option(help="From which share of common five-word runs on a document is a copy.")] = 0.8,
    held_out: Annotated[float, typer.Option(help="Share of documents held out, by a hash of their text; 0: none.")] = 0.01,
    normalise: NormaliseOption = None,
) -> None:
    """Clean texts, leave out copies, hold documents out, write token shards; the same command goes on after an interruption."""
    needs_training_packages()
    rules = rules_asked(normalise) or ()
    if recipe is not None:
        folder = _data_of(sources, data)
        from drlongformer.training import commands as stages  # noqa: PLC0415

        made = stages.corpus(recipe, data=folder, tokenizer_json=tokenizer, output=output, normalisation=rules)
        typer.echo(f"written: {made}")
        return
    from drlongformer.training.preparing import Plan, prepare  # noqa: PLC0415

    plan = Plan(
        inputs=tuple(sources or ()),
        tokenizer=tokenizer,
        output=output,
        field=field,
        encoding=encoding,
        duplicates=duplicates,
        similarity=similarity,
        held_out=held_out,
        normalisation=rules,
    )
    with _bars({"survey": "reading", "tokens": "writing tokens"}) as advance:
        report = prepare(plan, lambda its: advance(its.stage, its.done, its.total))
    typer.echo(
        f"read {report['documents']} documents: {report['empty']} empty, {report['copies']} copies,"
        f" {report['without_tokens']} without tokens"
    )
    for part in ("train", "held_out"):
        typer.echo(f"{part}: {report[part]['documents']} documents, {report[part]['tokens']} tokens")
    typer.echo(f"written: {output}")


def _given(**flags: Any) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def _data_of(sources: list[Path] | None, data: Path | None, *, layout: str | None = None) -> Path:
    """The data folder of a recipe; raises TrainingError for what cannot be given with one."""
    if sources or layout is not None:
        raise TrainingError("a recipe says itself what is read and in which layout: leave out INPUT and --layout")
    if data is None:
        raise TrainingError("--recipe needs --data")
    return data


@contextmanager
def _bars(stages: Mapping[str, str]) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar a stage, in bytes of input; nothing is drawn where stderr is no terminal."""
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=err, disable=not err.is_terminal, refresh_per_second=1 / REFRESH_SECONDS) as bars:
        drawn = {stage: bars.add_task(title, total=None, start=False) for stage, title in stages.items()}
        last = dict.fromkeys(drawn, 0.0)

        def advance(stage: str, done: int, total: int) -> None:
            now = time.monotonic()
            if not last[stage]:
                bars.start_task(drawn[stage])
            elif now - last[stage] < REFRESH_SECONDS and done < total:
                return
            last[stage] = now
            bars.update(drawn[stage], total=total, completed=min(done, total))

        yield advance
