"""The command line: reads settings, builds objects, calls one method; what the commands do lives in the modules they call.

Errors of our own tree are one sentence and exit code 1, never a traceback. Imports stand inside the commands: `serve` must run
where torch is not installed, and `--help` must not wait for it where it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from drlongformer import __version__, logs, settings
from drlongformer.errors import BundleError, CheckpointError, DrLongformerError
from drlongformer.types import TASKS, Task

P = ParamSpec("P")
T = TypeVar("T")

app = typer.Typer(
    help="Serve long French clinical documents from ONNX, and make the models that are served.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models = typer.Typer(help="The bundles of a store.", no_args_is_help=True)
train = typer.Typer(help="Make a model: a recipe as a whole, or stage by stage.", no_args_is_help=True)
app.add_typer(models, name="models")
app.add_typer(train, name="train")

out = Console()
err = Console(stderr=True)


def told(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose errors of our own are told in one sentence, with exit code 1."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except DrLongformerError as error:
            err.print(f"[bold red]Error:[/] {_plain(error)}", soft_wrap=True, highlight=False)
            raise typer.Exit(1) from None

    return run


def _plain(error: DrLongformerError) -> str:
    """The error as text: brackets in it are no markup."""
    return str(error).replace("[", r"\[")


@app.callback(invoke_without_command=True)
def version(*, show: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False) -> None:
    """Serve long French clinical documents from ONNX, and make the models that are served."""
    if show:
        typer.echo(__version__)
        raise typer.Exit


Store = Annotated[Path, typer.Option(help="Folder with the bundles.")]


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
    device: Annotated[str | None, typer.Option(metavar="cpu|cuda[:i]", help="Device that computes.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the engine; 0 takes every core.")] = None,
    insecure_no_keys: Annotated[
        bool | None, typer.Option("--insecure-no-keys", help="Listen beyond loopback although nobody is asked for a key.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(metavar="json|text", help="Form of the log lines.")] = None,
) -> None:
    """Serve bundles over HTTP; every other setting comes from DRLONGFORMER_... variables."""
    from drlongformer.api.app import run  # noqa: PLC0415

    run(
        settings.load(
            {
                "server": _given(host=host, port=port, insecure_no_keys=insecure_no_keys),
                "models": _given(
                    store=store,
                    names=tuple(model) if model else None,
                    defaults=_pairs(default) if default else None,
                    device=device,
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


@app.command()
@told
def doctor() -> None:
    """Tell what is installed, which device is used and why; exit code 1 if the service could not start."""
    from drlongformer import doctor as examination  # noqa: PLC0415

    table = Table("what", "found", box=None)
    for finding in examination.findings(settings.load()):
        table.add_row(finding.what, finding.found)
    out.print(table)
    for sentence in examination.models(settings.load()):
        typer.echo(sentence)


@app.command("import")
@told
def import_(
    source: Annotated[str, typer.Argument(help="A Hub id, such as abazoge/DrLongformer, or a folder of Hugging Face's form.")],
    *,
    name: Annotated[str, typer.Option(help="Name of the bundle.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the Hub repository.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Task to serve; all that the checkpoint has by default.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights; what the model card says by default.")] = None,
    store: Store = Path("model_store"),
) -> None:
    """Export a checkpoint to ONNX, prove it equal, write it as a bundle."""
    _needs_training_packages()
    from drlongformer.model.importing import import_model  # noqa: PLC0415

    with out.status("importing") as status:

        def report(step: str) -> None:
            status.update(step)
            out.log(step, markup=False)

        folder = import_model(
            source, name=name, store=store, revision=revision, tasks=_tasks(task), licence=licence, report=report
        )
    typer.echo(f"written: {folder}")


def _tasks(names: list[str] | None) -> list[Task] | None:
    unknown = sorted(set(names or ()) - set(TASKS))
    if unknown:
        raise settings.SettingsError(f"no such task: {', '.join(unknown)}; there are {', '.join(TASKS)}")
    return [task for task in TASKS if task in names] if names else None


def _needs_training_packages() -> None:
    if util.find_spec("torch") is None:
        raise CheckpointError("this needs torch: install the package with its `train` extra, under constraints.txt")


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
    store: Store = Path("model_store"),
) -> None:
    """Check every file of every version against its hash; exit code 1 if one is not whole."""
    from drlongformer import bundle  # noqa: PLC0415

    broken = 0
    names = _stored(store)
    for each in [name] if name else names:
        bundle.find(store, each)
        for version in bundle.versions(store, each):
            try:
                bundle.verify(store / each / str(version))
                typer.echo(f"{each}:{version} is whole")
            except BundleError as error:
                broken += 1
                err.print(f"{each}:{version} is not whole: {_plain(error)}", soft_wrap=True, highlight=False)
    if broken:
        raise typer.Exit(1)


Recipe = Annotated[str, typer.Argument(help="Name of a recipe; `train recipes` lists them.")]
Data = Annotated[Path, typer.Option(help="Data folder with its MANIFEST.json.")]
Output = Annotated[Path, typer.Option(help="What is written.")]
Seconds = Annotated[float | None, typer.Option(help="Time budget; the recipe's by default.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")]


@train.command("recipes")
@told
def train_recipes() -> None:
    """List the recipes and what each makes."""
    table = Table("recipe", "what it makes", box=None)
    for name, meaning in _commands().recipes().items():
        table.add_row(name, meaning)
    out.print(table)


@train.command("run")
@told
def train_run(recipe: Recipe, *, data: Data, output: Output) -> None:
    """Run a whole recipe, or what is left of it."""
    typer.echo(f"trained: {_commands().recipe(recipe, data=data, output=output)}")


@train.command("tokenizer")
@told
def train_tokenizer(
    recipe: Recipe,
    *,
    data: Data,
    output: Output,
    min_documents: Annotated[int | None, typer.Option(help="Words met in fewer documents take no part.")] = None,
    vocab_size: Annotated[int | None, typer.Option(help="Tokens; the recipe's by default.")] = None,
) -> None:
    """Learn a recipe's tokenizer."""
    written = _commands().tokenizer(recipe, data=data, output=output, min_documents=min_documents, vocab_size=vocab_size)
    typer.echo(f"written: {written}")


@train.command("corpus")
@told
def train_corpus(
    recipe: Recipe, *, data: Data, tokenizer: Annotated[Path, typer.Option(help="A tokenizer.json.")], output: Output
) -> None:
    """Tokenise a recipe's raw texts into shards."""
    typer.echo(f"written: {_commands().corpus(recipe, data=data, tokenizer_json=tokenizer, output=output)}")


@train.command("pretrain")
@told
def train_pretrain(
    recipe: Recipe,
    *,
    tokenizer: Annotated[Path, typer.Option(help="A tokenizer.json.")],
    corpus: Annotated[Path, typer.Option(help="Folder that `train corpus` wrote.")],
    output: Output,
    seconds: Seconds = None,
    resume: Resume = False,
) -> None:
    """Train on masked words."""
    checkpoint = _commands().pretrain(
        recipe, tokenizer_json=tokenizer, corpus=corpus, output=output, seconds=seconds, resume=resume
    )
    typer.echo(f"trained: {checkpoint}")


@train.command("finetune")
@told
def train_finetune(
    recipe: Recipe,
    *,
    pretrained: Annotated[Path, typer.Option(help="Checkpoint that `train pretrain` wrote.")],
    data: Data,
    output: Output,
    seconds: Seconds = None,
    resume: Resume = False,
) -> None:
    """Train all heads on a pretrained checkpoint."""
    trained = _commands().finetune(recipe, pretrained=pretrained, data=data, output=output, seconds=seconds, resume=resume)
    typer.echo(f"trained: {trained}")


@train.command("evaluate")
@told
def train_evaluate(
    recipe: Recipe, *, model: Annotated[Path, typer.Option(help="A trained folder.")], data: Data, output: Output
) -> None:
    """Score a trained folder on a recipe's test sets."""
    out.print_json(data=_commands().evaluate(recipe, model=model, data=data, output=output))


@train.command("ship")
@told
def train_ship(
    recipe: Recipe,
    *,
    run: Annotated[Path, typer.Option(help="Output folder of `train run`.")],
    name: Annotated[str, typer.Option(help="Name of the bundle.")],
    version: Annotated[int | None, typer.Option(help="Version; the next one by default.")] = None,
    store: Store = Path("model_store"),
) -> None:
    """Export a finished recipe as a bundle, with a card of its data and scores."""
    typer.echo(f"written: {_commands().ship(recipe, run=run, store=store, bundle=name, version=version)}")


def _commands() -> ModuleType:
    """What trains, once it is known that its packages are there; its progress is logged for people."""
    _needs_training_packages()
    from drlongformer.training import commands  # noqa: PLC0415

    logs.configure(style="text", level="info")
    return commands
