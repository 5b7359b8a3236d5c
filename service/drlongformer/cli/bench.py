"""`drlongformer bench`: how fast a bundle is on this machine, by length and by engine, with the ceiling first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from drlongformer import settings
from drlongformer.cli.base import err, out, told

if TYPE_CHECKING:
    from drlongformer.bench.measure import Measured
    from drlongformer.bench.told import Circumstances


@told
def bench(  # noqa: PLR0913 - one parameter a flag
    *,
    model: Annotated[str | None, typer.Option(metavar="NAME[:VERSION]", help="Bundle; the store's first by default.")] = None,
    lengths: Annotated[str | None, typer.Option(metavar="TOKENS,...", help="Lengths; 128 to 4096 by default.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="About how long all of it may take.")] = 60.0,
    store: Annotated[Path | None, typer.Option(help="Folder with the bundles.")] = None,
    device: Annotated[str | None, typer.Option(metavar="cpu|cuda[:i]", help="Device that computes.")] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="onnxruntime|openvino", help="One engine; on a CPU all that there are by default.")
    ] = None,
    precision: Annotated[str | None, typer.Option(metavar="fp32|bf16|int8|fp16", help="One precision, with --engine.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the engine; 0 takes every core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line instead of a table.")] = False,
) -> None:
    """Measure a bundle on this machine: ms per document, tokens/s, the share of the matrix ceiling, the batch that pays.

    Ids are random, since speed does not depend on what they say. Other work on the machine makes every figure lower: how much
    there is, is told first.
    """
    from drlongformer import doctor  # noqa: PLC0415
    from drlongformer.bench import measure, told  # noqa: PLC0415
    from drlongformer.bench.ceiling import matrix_peak  # noqa: PLC0415
    from drlongformer.serving.engines import Compute  # noqa: PLC0415

    own = {"store": store, "names": (model,) if model else None, "device": device, "engine": engine, "precision": precision}
    chosen = settings.load({"models": {k: v for k, v in (own | {"threads": threads}).items() if v is not None}})
    bundle = doctor.served(chosen)[0]
    longest = bundle.manifest.max_tokens
    asked = _lengths(lengths, longest) or tuple(length for length in measure.LENGTHS if length <= longest)
    facts = doctor.facts(chosen, [bundle])
    now = told.Circumstances(
        bundle=bundle,
        device=chosen.models.device,
        peak=matrix_peak(),
        busy=facts.activity.busy,
        load_average=facts.activity.load_average,
    )
    given = engine is not None or precision is not None
    engines = (
        (Compute.of(chosen.models),)
        if given
        else measure.engines_of(bundle, device=chosen.models.device, threads=chosen.models.threads)
    )
    if not as_json:
        for line in told.heading(now):
            typer.echo(line)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        bar = progress.add_task("", total=len(engines))
        found = []
        for one in measure.measure(
            bundle, engines, lengths=asked, seconds=seconds, report=lambda step: progress.update(bar, description=step)
        ):
            found.append(one)
            progress.advance(bar)
    if as_json:
        typer.echo(json.dumps(told.as_json(now, found)))
    else:
        _show(now, found, asked)
    if all(one.refused is not None for one in found):
        raise typer.Exit(1)


def _show(now: Circumstances, found: list[Measured], asked: tuple[int, ...]) -> None:
    from drlongformer.bench import told  # noqa: PLC0415

    table = Table(*told.COLUMNS, box=None)
    for one in found:
        for row in told.rows(now, one):
            table.add_row(*row)
    out.print(table)
    for one in found:
        for line in told.remarks(asked, one):
            typer.echo(line)


def _lengths(asked: str | None, longest: int) -> tuple[int, ...]:
    """Whole numbers, rising. Raises SettingsError, also for one that the model does not read."""
    if asked is None:
        return ()
    words = [word.strip() for word in asked.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise settings.SettingsError(f"--lengths are whole numbers of tokens, 512,4096; not {asked}")
    found = tuple(sorted({int(word) for word in words}))
    if found[-1] > longest:
        raise settings.SettingsError(f"--lengths: the model reads up to {longest} tokens, not {found[-1]}")
    return found
