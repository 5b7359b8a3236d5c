"""The option that says what is put right in texts before a model reads them, which importing, corpora and fine-tuning have."""

from __future__ import annotations

from typing import Annotated

import typer

from drlongformer.settings import SettingsError
from drlongformer.types import RULES, Rule

NONE = "none"

NormaliseOption = Annotated[
    str | None,
    typer.Option(metavar="lines,hyphens,pages,encoding|none", help="What is put right in texts before they are read."),
]


def rules_asked(names: str | None) -> tuple[Rule, ...] | None:
    """The rules of a comma-separated list, in the order in which they are applied; None where nothing was said.

    Raises SettingsError for others.
    """
    if names is None:
        return None
    asked = {name.strip() for name in names.split(",")}
    if asked == {NONE}:
        return ()
    if unknown := sorted(asked - set(RULES)):
        raise SettingsError(f"--normalise {', '.join(unknown)}: no such rule; there are {', '.join(RULES)}, or {NONE} alone")
    return tuple(rule for rule in RULES if rule in asked)
