"""Groups of options are parameters of a command like others: required where they have no default, told in their own panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from drlongformer.cli.groups import given, grouped


@dataclass(frozen=True, slots=True, kw_only=True)
class Drink:
    """What is drunk."""

    cups: Annotated[int, typer.Option(min=1, help="How many.")]
    sugar: Annotated[str | None, typer.Option(help="Which.")] = None
    hot: Annotated[bool, typer.Option("--hot/--cold", help="How.")] = True


def invoked(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()

    @app.command()
    @grouped
    def order(name: Annotated[str, typer.Argument()], *, drink: Drink, loud: bool = False) -> None:
        typer.echo(f"{name} {drink} {loud} {dict(given(drink, 'sugar', 'cups'))}")

    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "120", "NO_COLOR": "1"})
    return result.exit_code, result.output


def test_the_fields_of_a_group_are_flags_and_arrive_as_one_object() -> None:
    code, told = invoked("Anne", "--cups", "2", "--cold", "--loud")
    assert code == 0, told
    assert told == f"Anne {Drink(cups=2, hot=False)} True {{'cups': 2}}\n"


def test_a_field_without_a_default_is_required_and_limits_hold() -> None:
    assert invoked("Anne") == (2, invoked("Anne")[1])
    assert "--cups" in invoked("Anne")[1]
    assert invoked("Anne", "--cups", "0")[0] == 2


def test_help_shows_a_group_under_its_first_line() -> None:
    _, told = invoked("--help")
    assert "What is drunk " in told
    assert "How many." in told


def test_two_groups_cannot_have_the_same_field() -> None:
    def command(*, drink: Drink, other: Drink) -> None: ...

    with pytest.raises(ValueError, match="duplicate"):
        grouped(command)
