"""`drlongformer import`: a Hugging Face checkpoint to a bundle, proved equal and, if asked, scored before it appears."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from drlongformer import settings
from drlongformer.cli.base import Store, needs_training_packages, out, told
from drlongformer.cli.evaluate import shown
from drlongformer.cli.normalising import NormaliseOption, rules_asked
from drlongformer.cli.precisions import (
    MaxLossOption,
    MinCosineOption,
    PrecisionsOption,
    TargetsOption,
    int8_asked,
    targets_asked,
)
from drlongformer.types import TASKS, Task

if TYPE_CHECKING:
    from drlongformer.training.gate import Gate


@told
def import_(  # noqa: PLR0913 - one parameter a flag
    source: Annotated[str, typer.Argument(help="A Hub id, such as abazoge/DrLongformer, or a folder of Hugging Face's form.")],
    *,
    name: Annotated[str, typer.Option(help="Name of the bundle.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the Hub repository.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Task to serve; all that the checkpoint has by default.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights; what the model card says by default.")] = None,
    words: Annotated[
        Literal["raw", "words"] | None,
        typer.Option(help="What the heads were trained on: running text or pre-split words; by default what the files say."),
    ] = None,
    normalise: NormaliseOption = None,
    precision: PrecisionsOption = "fp32",
    target: TargetsOption = "cpu",
    standard: Annotated[
        bool, typer.Option("--standard", help="Also write graphs that optimum and transformers' pipelines load.")
    ] = False,
    check: Annotated[Path | None, typer.Option(help="Annotations to score the bundle on before it is put in place.")] = None,
    check_head: Annotated[str | None, typer.Option(help="Head that is scored; the trained one by default.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Least score on --check; below it nothing is written.")] = None,
    max_loss: MaxLossOption = None,
    min_cosine: MinCosineOption = None,
    store: Store = Path("model_store"),
) -> None:
    """Export a checkpoint to ONNX, prove it equal, write it as a bundle."""
    targets = targets_asked(target)
    tasks, rules = _tasks(task), rules_asked(normalise) or ()
    needs_training_packages()
    gate = _gate(check, check_head, min_score)
    from drlongformer.model.importing import Wanted, import_model  # noqa: PLC0415

    scored_by = None if gate else "--check, the annotations to score on"
    int8 = int8_asked(precision, max_loss=max_loss, min_cosine=min_cosine, scored_by=scored_by)
    if int8 is not None and gate is not None:
        int8 = replace(int8, comparison=gate.int8)
    wanted = Wanted(
        tasks=tasks, word_splitting=words, normalisation=rules, standard=standard, check=gate, int8=int8, cuda="cuda" in targets
    )
    with out.status("importing") as status:

        def report(step: str) -> None:
            status.update(step)
            out.log(step, markup=False)

        folder = import_model(source, name=name, store=store, revision=revision, licence=licence, wanted=wanted, report=report)
    typer.echo(f"written: {folder}")


def _gate(gold: Path | None, head: str | None, min_score: float | None) -> Gate | None:
    if gold is not None:
        from drlongformer.training.gate import Gate  # noqa: PLC0415

        return Gate(gold=gold, head=head, min_score=min_score, watch=shown)
    if head is not None or min_score is not None:
        raise settings.SettingsError("--min-score and --check-head need --check, the annotations to score on")
    return None


def _tasks(names: list[str] | None) -> list[Task] | None:
    unknown = sorted(set(names or ()) - set(TASKS))
    if unknown:
        raise settings.SettingsError(f"no such task: {', '.join(unknown)}; there are {', '.join(TASKS)}")
    return [task for task in TASKS if task in names] if names else None
