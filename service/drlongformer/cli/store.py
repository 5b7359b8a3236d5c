"""`drlongformer models activate|rollback|diff|pack|unpack|sign`: what is served, what changes with it, how it is carried."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from drlongformer import bundle, settings
from drlongformer.cli.base import Store, err, out, told
from drlongformer.settings import SettingsError

Name = Annotated[str, typer.Argument(help="The model.")]
Version = Annotated[int, typer.Argument(min=1, help="One of its versions.")]
PrivateKey = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Sign with this private key (PEM, elliptic curve); needs the extra `signing`."),
]
PublicKey = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Refuse what is not signed for this key; DRLONGFORMER_MODELS__PUBLIC_KEY.")
]
PasswordFile = Annotated[Path | None, typer.Option(metavar="FILE", help="File whose first line is the private key's password.")]


@told
def activate(name: Name, version: Version, *, store: Store = Path("model_store")) -> None:
    """Have a version served, once every file of it is verified; running services swap to it within seconds."""
    settings.require_store(store)
    before = bundle.activate(store, name, version, public_key=settings.load().models.public_key)
    typer.echo(f"{name}:{version} is active" + (f", before it was {before}" if before not in (None, version) else ""))


@told
def rollback(name: Name, *, store: Store = Path("model_store")) -> None:
    """Have the version served that was active before the last `activate` or `rollback`."""
    settings.require_store(store)
    typer.echo(f"{name}:{bundle.rollback(store, name, public_key=settings.load().models.public_key)} is active")


@told
def pack(
    name: Name,
    version: Version,
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Archive to write; it must not exist.")],
    private_key: PrivateKey = None,
    password_file: PasswordFile = None,
    store: Store = Path("model_store"),
) -> None:
    """Write one version into one file, for a host that nothing is downloaded to; the same bundle gives the same bytes."""
    settings.require_store(store)
    size = bundle.pack(store, name, version, out, private_key=private_key, password=_password(password_file))
    typer.echo(f"{out} holds {name}:{version}, {size:,} bytes" + (", signed" if private_key else ""))


@told
def unpack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive that `pack` wrote.")],
    *,
    public_key: PublicKey = None,
    store: Store = Path("model_store"),
) -> None:
    """Put the version of an archive into the store, once every file of it is verified; nothing is activated."""
    settings.require_store(store)
    folder = bundle.unpack(file, store, public_key=public_key or settings.load().models.public_key)
    typer.echo(f"{folder.parent.name}:{folder.name} is in {store}")


@told
def sign(
    name: Name,
    version: Version,
    *,
    private_key: Annotated[Path, typer.Option(metavar="FILE", help="Private key (PEM, elliptic curve).")],
    password_file: PasswordFile = None,
    store: Store = Path("model_store"),
) -> None:
    """Sign a version in its place, over a signature that it may have; the key's owner says: these are the files I made."""
    settings.require_store(store)
    folder = bundle.find(store, name, version)
    bundle.verify(folder)
    typer.echo(f"{bundle.sign(folder, private_key, password=_password(password_file))} is written")


def _password(file: Path | None) -> str | None:
    """The first line of a file; a password on the command line would stand in the list of processes."""
    return None if file is None else file.read_text(encoding="utf-8").split("\n", maxsplit=1)[0]


@told
def diff(
    name: Name,
    old: Version,
    new: Version,
    *,
    texts: Annotated[Path, typer.Option(metavar="FILE|FOLDER", help='JSON lines with "text", or a folder of .txt files.')],
    limit: Annotated[int, typer.Option(min=1, help="Most texts to read.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object instead of tables.")] = False,
    store: Store = Path("model_store"),
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 takes every core.")] = 0,
) -> None:
    """Tell what two versions answer differently on texts of yours: entities, classes, embeddings; nothing is activated."""
    from drlongformer.serving.differences import differences  # noqa: PLC0415
    from drlongformer.serving.engines import Compute  # noqa: PLC0415

    settings.require_store(store)
    sample = read_texts(texts, limit=limit)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("texts", total=2 * len(sample))
        found = differences(
            store, name, old, new, sample, compute=Compute(threads=threads), progress=lambda done: bar.advance(task, done)
        )
    written: dict[str, Any] = {"model": name, "old": old, "new": new, "texts": len(sample)} | asdict(found)
    for head in written["heads"]:
        if head["flips"] is not None:
            head["flips"] = [{"old": a, "new": b, "texts": n} for (a, b), n in head["flips"].items()]
    if as_json:
        typer.echo(json.dumps(written, ensure_ascii=False))
    else:
        _show(written)


def read_texts(path: Path, *, limit: int) -> list[str]:
    """The texts of a file or a folder, at most so many. Raises SettingsError, which names a file and line and no text."""
    try:
        if path.is_dir():
            texts = [file.read_text(encoding="utf-8") for file in sorted(path.glob("*.txt"))[:limit]]
        else:
            lines = enumerate(path.read_text(encoding="utf-8").split("\n"), start=1)
            filled = itertools.islice(((number, line) for number, line in lines if line.strip()), limit)
            texts = [_text(line, f"{path}:{number}") for number, line in filled]
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not all UTF-8") from None
    if not texts:
        raise SettingsError(f'{path} holds no text: JSON lines with "text", or a folder of .txt files')
    return texts


def _text(line: str, place: str) -> str:
    try:
        record = json.loads(line)
    except ValueError:
        raise SettingsError(f"{place} is not JSON") from None
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise SettingsError(f'{place} has no string "text"')
    return text


def _show(found: dict[str, Any]) -> None:
    out.print(f"{found['model']}: version {found['new']} against {found['old']}, {found['texts']} texts")
    for head in found["heads"]:
        failed = f", {head['failed']} not answered by both" if head["failed"] else ""
        out.print(f"\n{head['task']} {escape(head['head'])}: {head['texts']} texts{failed}")
        if head["entities"] is not None:
            _table(("label", "kept", "gained", "lost"), [(label, *each.values()) for label, each in head["entities"].items()])
        if head["flips"] is not None:
            _table(("old", "new", "texts"), [tuple(each.values()) for each in head["flips"]])
        if head["drift"] is not None:
            known = {name: "-" if value is None else f"{value:.6f}" for name, value in head["drift"].items()}
            _table(("cosine: lowest", "median", "mean"), [tuple(known.values())])
    for which in ("old", "new"):
        if heads := found[f"only_{which}"]:
            out.print(f"\nonly in version {found[which]}: {escape(', '.join(heads))}")


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        out.print("  no change")
        return
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    out.print(table)
