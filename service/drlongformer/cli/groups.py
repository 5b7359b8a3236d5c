"""Options in groups: a command takes a frozen dataclass for each, and the command line still sees one flag a field.

    @told
    @grouped
    def run(task: Task, *, reading: Reading, writing: Writing) -> None:

A field of a group is written as a parameter is: `name: Annotated[kind, typer.Option(...)] = default`. What several commands
have is described once, with its defaults, and `--help` shows each group under the first line of its docstring.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_type_hints

from typer.models import ParameterInfo

P = ParamSpec("P")
T = TypeVar("T")


def grouped(command: Callable[P, T]) -> Callable[..., T]:
    """The command with the fields of its groups as parameters of its own."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if isinstance(kind, type) and is_dataclass(kind)}
    signature = inspect.signature(command)
    own = [one.replace(annotation=hints[name]) for name, one in signature.parameters.items() if name not in groups]
    parameters = [*own, *(parameter for kind in groups.values() for parameter in _parameters(kind))]

    @functools.wraps(command)
    def run(*args: Any, **given: Any) -> T:
        made: dict[str, Any] = {
            name: kind(**{one.name: given.pop(one.name) for one in fields(kind)}) for name, kind in groups.items()
        }
        return command(*args, **given, **made)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # where typer looks
    run.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": hints.get("return")}
    return run


def given(group: Any, *names: str) -> dict[str, Any]:
    """The fields of a group that were said on the command line, or those of them that are named."""
    values = {name: getattr(group, name) for name in names or [one.name for one in fields(group)]}
    return {name: value for name, value in values.items() if value is not None}


def _parameters(group: type[Any]) -> Iterator[inspect.Parameter]:
    panel = (group.__doc__ or group.__name__).partition("\n")[0].rstrip(".")
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        kind, info = get_args(hints[field.name])
        shown: ParameterInfo = copy(info)
        shown.rich_help_panel = panel
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, shown])
