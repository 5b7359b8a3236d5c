"""`drlongformer doctor`: what is installed, what would make it faster, and whether the service could start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.table import Table

from drlongformer import settings
from drlongformer.cli.base import out, told

if TYPE_CHECKING:
    from drlongformer.doctor import Facts


@told
def doctor() -> None:
    """Tell what is installed, which device is used and why, and what would be faster; exit code 1 if it could not start."""
    from drlongformer import doctor as examination  # noqa: PLC0415

    chosen = settings.load()
    table = Table("what", "found", box=None)
    for finding in examination.findings(chosen):
        table.add_row(finding.what, finding.found)
    out.print(table)
    bundles = examination.served(chosen)
    _advise(examination.facts(chosen, bundles))
    for sentence in examination.models(chosen, bundles):
        typer.echo(sentence)


def _advise(facts: Facts) -> None:
    from drlongformer.doctor import advices  # noqa: PLC0415

    given = list(advices(facts))
    typer.echo("\nwhat would make it faster:" if given else "\nnothing was found that would make it faster")
    for advice in given:
        typer.echo(f"* {advice.what}\n    because  {advice.reason}\n    change   {advice.change}")
    typer.echo("")
