"""`drlongformer keys`: the file of API keys; a secret is shown once, where it is made, and kept nowhere."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from drlongformer.api import keys
from drlongformer.api.keys import SCOPES, Key, KeyFile, Scope
from drlongformer.cli.base import err, out, told
from drlongformer.serving.requests import Priority
from drlongformer.settings import SettingsError

commands = typer.Typer(help="The API keys of a service.", no_args_is_help=True)

File = Annotated[
    Path,
    typer.Option("--keys", envvar="DRLONGFORMER_SERVER__KEYS", metavar="FILE", help="The file of keys, outside the store."),
]


@commands.command("create")
@told
def create(
    name: Annotated[str, typer.Argument(help="Who will hold it; told by `keys list` alone.")],
    *,
    file: File,
    scope: Annotated[list[str] | None, typer.Option(metavar="|".join(SCOPES), help="What it may do; infer by default.")] = None,
    lane: Annotated[str, typer.Option(metavar="interactive|bulk", help="Priority of its requests; bulk allows no other.")] = (
        "interactive"
    ),
    weight: Annotated[float, typer.Option(min=0.01, max=100, help="Its share among the keys of a lane.")] = 1.0,
    days: Annotated[int | None, typer.Option(min=1, max=36500, help="It expires after so many days; never by default.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Most requests in a minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1, help="Most tokens in a minute.")] = None,
) -> None:
    """Make a key and show it, once; a running service takes it within seconds."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret, now = keys.new_secret(), datetime.now(UTC).replace(microsecond=0)
    with _changing(file) as there:
        key = Key(
            id=keys.new_id([each.id for each in there.keys]),
            name=_named(name),
            sha256=keys.digest(secret.encode()).hex(),
            scopes=tuple(dict.fromkeys(_scope(each) for each in scope or ["infer"])),
            lane=_lane(lane),
            weight=weight,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            created=now,
            expires=now + timedelta(days=days) if days else None,
        )
        keys.write(file, there.with_key(key))
    err.print("The key, shown this once; send it as `Authorization: Bearer KEY`:", highlight=False)
    typer.echo(f"{key.id}.{secret}")


@commands.command("list")
@told
def list_(*, file: File) -> None:
    """List the keys and what they may do."""
    there = keys.read(file).keys
    table = Table(box=None)
    table.add_column("id", min_width=max((len(key.id) for key in there), default=0))  # whole on any terminal: `revoke` needs it
    for column in ("name", "state", "scopes", "lane", "weight", "requests/min", "tokens/min", "created", "expires"):
        table.add_column(column, overflow="fold")
    for key in there:
        table.add_row(
            key.id,
            escape(key.name),
            key.state(datetime.now(UTC)),
            ", ".join(key.scopes),
            key.lane,
            f"{key.weight:g}",
            str(key.requests_per_minute or "-"),
            str(key.tokens_per_minute or "-"),
            f"{key.created:%Y-%m-%d}",
            f"{key.expires:%Y-%m-%d}" if key.expires else "never",
        )
    out.print(table)


@commands.command("revoke")
@told
def revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id of the key: the part before the dot.")], *, file: File
) -> None:
    """Make a key count no more; a running service refuses it within seconds."""
    keys.read(file)  # a file that is not there is no new one
    with _changing(file) as there:
        key = there.get(id_)
        if key.revoked is not None:
            raise SettingsError(f"key {id_} is revoked already, since {key.revoked:%Y-%m-%d %H:%M} UTC")
        keys.write(file, there.with_key(key.model_copy(update={"revoked": datetime.now(UTC).replace(microsecond=0)})))
    typer.echo(f"{id_} is revoked")


@contextlib.contextmanager
def _changing(file: Path) -> Iterator[KeyFile]:
    """The file's keys, none if it is new, while no other command changes it. Raises SettingsError."""
    try:
        descriptor = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise SettingsError(f"the folder of {file} cannot be opened: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield keys.read(file) if file.exists() else KeyFile()
    finally:
        os.close(descriptor)


def _named(name: str) -> str:
    if not (1 <= len(name) <= 100 and name.isprintable()):
        raise SettingsError(f"a key's name has 1 to 100 printable characters, this one {len(name)}")
    return name


def _scope(asked: str) -> Scope:
    for scope in SCOPES:
        if scope == asked:
            return scope
    raise SettingsError(f"--scope must be one of {', '.join(SCOPES)}")


def _lane(asked: str) -> Priority:
    if asked == "interactive":
        return "interactive"
    if asked == "bulk":
        return "bulk"
    raise SettingsError("--lane must be interactive or bulk")
