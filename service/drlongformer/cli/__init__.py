"""The command line: reads settings, builds objects, calls one method; what the commands do lives in the modules they call.

Errors of our own tree are one sentence and exit code 1, never a traceback. Imports stand inside the commands: `serve` must run
where torch is not installed, and `--help` must not wait for it where it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from drlongformer import __version__, settings
from drlongformer.cli import bench as _bench
from drlongformer.cli import check as _check
from drlongformer.cli import corpus as _corpus  # noqa: F401 - registers its commands
from drlongformer.cli import doctor as _doctor
from drlongformer.cli import evaluate as _evaluate  # noqa: F401 - registers its commands
from drlongformer.cli import finetune as _finetune  # noqa: F401 - registers its commands
from drlongformer.cli import importing, training
from drlongformer.cli import keys as _keys
from drlongformer.cli import pretrain as _pretrain  # noqa: F401 - registers its commands
from drlongformer.cli import records as _records  # noqa: F401 - registers its commands
from drlongformer.cli import run as _run
from drlongformer.cli import store as _store
from drlongformer.cli.base import Store, err, out, plain, told
from drlongformer.errors import BundleError

app = typer.Typer(
    help="Serve long French clinical documents from ONNX, and make the models that are served.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models = typer.Typer(help="The bundles of a store.", no_args_is_help=True)
app.add_typer(models, name="models")
app.add_typer(training.commands, name="train")
models.command("activate")(_store.activate)
models.command("rollback")(_store.rollback)
models.command("diff")(_store.diff)
models.command("pack")(_store.pack)
models.command("unpack")(_store.unpack)
models.command("sign")(_store.sign)
app.add_typer(_keys.commands, name="keys")
app.command("import")(importing.import_)
app.command("run")(_run.run)
app.command("check")(_check.check)
app.command("doctor")(_doctor.doctor)
app.command("bench")(_bench.bench)


@app.callback(invoke_without_command=True)
def version(*, show: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False) -> None:
    """Serve long French clinical documents from ONNX, and make the models that are served."""
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
@told
def serve(  # noqa: PLR0913 - one parameter a flag
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port.")] = None,
    store: Annotated[Path | None, typer.Option(help="Folder with the bundles.")] = None,
    model: Annotated[list[str] | None, typer.Option(metavar="NAME[:VERSION]", help="Bundle to serve; all by default.")] = None,
    default: Annotated[
        list[str] | None, typer.Option(metavar="TASK=NAME", help="Bundle that answers a task when a request names none.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="cpu|cuda[:i,...]", help="Device that computes, or several: cuda:0,cuda:1.")
    ] = None,
    engine: Annotated[str | None, typer.Option(metavar="onnxruntime|openvino", help="What computes.")] = None,
    precision: Annotated[str | None, typer.Option(metavar="fp32|fp16|bf16|int8", help="What products are computed in.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of each engine; 0 takes every core.")] = None,
    keys: Annotated[Path | None, typer.Option(metavar="FILE", help="File of API keys; every request then needs one.")] = None,
    insecure_no_keys: Annotated[
        bool | None, typer.Option("--insecure-no-keys", help="Listen beyond loopback although nobody is asked for a key.")
    ] = None,
    no_playground: Annotated[bool, typer.Option("--no-playground", help="Leave the page at `/` out.")] = False,
    log_format: Annotated[str | None, typer.Option(metavar="json|text", help="Form of the log lines.")] = None,
) -> None:
    """Serve bundles over HTTP; every other setting comes from DRLONGFORMER_... variables."""
    from drlongformer.api.app import run  # noqa: PLC0415

    run(
        settings.load(
            {
                "server": _given(
                    host=host,
                    port=port,
                    keys=keys,
                    insecure_no_keys=insecure_no_keys,
                    playground=False if no_playground else None,
                ),
                "models": _given(
                    store=store,
                    names=tuple(model) if model else None,
                    defaults=_pairs(default) if default else None,
                    device=device,
                    engine=engine,
                    precision=precision,
                    threads=threads,
                ),
                "logs": _given(format=log_format),
            }
        )
    )


def _given(**flags: Any) -> dict[str, Any]:
    """The flags that were used; the others leave the setting to the environment."""
    return {name: value for name, value in flags.items() if value is not None}


def _pairs(defaults: list[str]) -> dict[str, str]:
    pairs = dict(pair.partition("=")[::2] for pair in defaults)
    if not all(pairs.values()):
        raise settings.SettingsError("--default is written TASK=NAME")
    return pairs


@models.command("list")
@told
def list_models(*, store: Store = Path("model_store")) -> None:
    """List the bundles of a store; exit code 1 if it has none."""
    from drlongformer import bundle  # noqa: PLC0415

    table = Table("name", "version", "tasks", "served", "description", box=None)
    for name in _stored(store):
        served = bundle.find(store, name)
        for version in bundle.versions(store, name):
            found = bundle.load(store / name / str(version))
            mark = "yes" if found.folder == served else ""
            table.add_row(name, str(version), ", ".join(found.tasks), mark, found.manifest.description)
    out.print(table)


def _stored(store: Path) -> tuple[str, ...]:
    """The models of a store. Raises SettingsError where there is no store, BundleError where it is empty."""
    from drlongformer import bundle  # noqa: PLC0415

    settings.require_store(store)
    names = bundle.names(store)
    if not names:
        raise BundleError(f"the store {store} holds no model")
    return names


@models.command("verify")
@told
def verify_models(
    name: Annotated[str | None, typer.Argument(help="One model; all of them by default.")] = None,
    *,
    public_key: _store.PublicKey = None,
    store: Store = Path("model_store"),
) -> None:
    """Check every file of every version against its hash, with a key its signature; exit code 1 if one is not whole."""
    from drlongformer import bundle  # noqa: PLC0415

    broken = 0
    names = _stored(store)
    for each in [name] if name else names:
        bundle.find(store, each)
        for version in bundle.versions(store, each):
            try:
                bundle.verify(store / each / str(version), public_key=public_key or settings.load().models.public_key)
                typer.echo(f"{each}:{version} is whole")
            except BundleError as error:
                broken += 1
                err.print(f"{each}:{version} is not whole: {plain(error)}", soft_wrap=True, highlight=False)
    if broken:
        raise typer.Exit(1)
