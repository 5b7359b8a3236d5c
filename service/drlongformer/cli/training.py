"""`drlongformer train ...`: a recipe as a whole, or stage by stage."""

from __future__ import annotations

import typer

commands = typer.Typer(help="Make a model: a recipe as a whole, or stage by stage.", no_args_is_help=True)
