"""`drlongformer check`: what an archive is like, before anything is spent on it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from drlongformer import settings
from drlongformer.cli.base import err, out, told
from drlongformer.cli.groups import grouped
from drlongformer.cli.run import SOME_FAILED, needs_offline_packages
from drlongformer.cli.run_options import Model, Reading, StoreOption
from drlongformer.errors import UnknownModel

if TYPE_CHECKING:
    from drlongformer.offline.check import Measure, Report, Trouble

TROUBLES = {
    "empty": "empty texts",
    "over_max_characters": "over the limit of characters",
    "mojibake": "texts with mojibake (Ã© for é) or signs that no text has",
    "wrapped": "texts whose lines are broken at a width",
    "hyphenated": "texts with words hyphenated across lines",
    "repeated": "texts with lines that repeat (headers, footers)",
}


@told
@grouped
def check(
    *,
    reading: Reading,
    model: Model = None,
    store: StoreOption = None,
    tokens: Annotated[bool, typer.Option("--tokens/--no-tokens", help="Count tokens and windows, with a model.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of tables.")] = False,
) -> None:
    """Read everything and tell encodings, bad records, empty, repeated and damaged texts, and lengths; no word of a text.

    Exit code 0: every record can be asked; 3: some cannot; 1: the input cannot be read.
    """
    needs_offline_packages()
    from drlongformer.offline import check as checking  # noqa: PLC0415
    from drlongformer.offline.reader import Reader  # noqa: PLC0415

    found, manner = reading.sources(), reading.manner()
    measure = _measure(store, model) if tokens else None
    reader = Reader(found, manner)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("read", total=reader.total or None)
        report = checking.check(reader, measure, lambda consumed: bar.update(task, completed=consumed))
    if as_json:
        typer.echo(json.dumps(asdict(report) | {"readable": report.readable}, ensure_ascii=False))
    else:
        _show(report)
    if not report.readable:
        raise typer.Exit(SOME_FAILED)


def _measure(store: Path | None, name: str | None) -> Measure:
    """The tokenizer and the limits of the model that was named, or of the only one there is."""
    from drlongformer import bundle as bundles  # noqa: PLC0415
    from drlongformer.offline.check import Measure  # noqa: PLC0415
    from drlongformer.text.tokenizer import Tokenizer  # noqa: PLC0415

    set_ = settings.load({"models": {"store": store} if store else {}})
    settings.require_store(set_.models.store)
    names = bundles.names(set_.models.store)
    if name is None and len(names) != 1:
        raise UnknownModel(
            f"the store {set_.models.store} holds {len(names)} models; name one with --model, or say --no-tokens"
        )
    wanted, _, version = (name or names[0]).partition(":")
    found = bundles.load(bundles.find(set_.models.store, wanted, int(version) if version.isdecimal() else None))
    manifest = found.manifest
    tokenizer = Tokenizer.from_file(found.folder / manifest.tokenizer.file, spec=manifest.tokenizer)
    return Measure(
        tokens=lambda texts: [len(each) + tokenizer.specials for each in tokenizer.encode_batch(texts)],
        max_tokens=manifest.max_tokens,
        overlap=manifest.window_overlap,
        max_windows=set_.limits.max_windows,
        max_characters=set_.limits.max_characters,
    )


def _show(report: Report) -> None:
    """The report as tables."""
    figures = Table("what", "figure", box=None)
    encodings = ", ".join(f"{name}: {count:,}" for name, count in report.encodings.items())
    rows: list[tuple[str, Any]] = [
        ("files", report.files),
        ("bytes", report.bytes),
        ("encodings (files)", encodings or "-"),
        ("records", report.records),
        ("without an id", report.without_id),
        ("ids that were there before", report.duplicate_ids),
        ("texts that were there before", report.duplicates),
        ("texts that share their first or last lines", report.shared_edges),
        ("of more windows than the limit", report.too_many_windows),
    ]
    for what, figure in rows:
        figures.add_row(what, f"{figure:,}" if isinstance(figure, int) else figure)
    out.print(figures)
    if report.bad or report.troubles:
        wrong = Table("wrong", "records", "the first at", box=None)
        for reason, trouble in report.bad.items():
            _add(wrong, f"bad record: {reason}", trouble)
        for name, words in TROUBLES.items():
            if name in report.troubles:
                _add(wrong, words, report.troubles[name])
        out.print(wrong)
    lengths = Table("length", "least", "median", "95 %", "greatest", "all", box=None)
    for what, sizes in (("characters", report.characters), ("tokens", report.tokens)):
        if sizes is not None:
            lengths.add_row(what, *(f"{size:,}" for size in asdict(sizes).values()))
    out.print(lengths)
    for what, counts in (("tokens", report.lengths), ("windows", report.windows)):
        if counts:
            out.print(f"{what}: {', '.join(f'{name}: {count:,}' for name, count in counts.items())}", highlight=False)


def _add(table: Table, what: str, trouble: Trouble) -> None:
    table.add_row(escape(what), f"{trouble.records:,}", escape("; ".join(trouble.places)))
