"""A trained folder to a bundle of the model store, with a card that says what went in and how good it is.

The folder may be that of a fine-tuning, of a recipe's run (its `trained/` is taken), or any other that `trained.py` wrote.
What its own training wrote down is believed: sets, settings, scores. Licence and patient data are said by whoever ships,
unless a recipe says them.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from drlongformer.bundle import Bundle, HeadSpec, Manifest, Precision
from drlongformer.errors import TrainingError
from drlongformer.model.bundling import About, Extras, Report, check_name, export_bundle
from drlongformer.model.card import told_of_int8
from drlongformer.model.rounding import Int8
from drlongformer.serving.engine import OnnxEngine
from drlongformer.training import disk, evaluate, trained
from drlongformer.training.base import PROVENANCE, SCORES
from drlongformer.training.bundle_card import card
from drlongformer.training.corpus import DataFolder
from drlongformer.training.examine import Options
from drlongformer.training.precisions import compared
from drlongformer.training.recipes import EvaluationRecipe, TestSet
from drlongformer.training.subject import Subject
from drlongformer.types import HIDDEN

logger = logging.getLogger(__name__)

TRAINED = "trained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What whoever ships a model says of it; None leaves it to the recipe.

    halved: store the matrices as fp16. scores: a file of scores to put in. data: the data folder of the recipe that trained the
    model; the exported graph is then scored on the recipe's test sets, and these scores are put in. int8: also write an int8
    graph, scored beside the other one where data are given. cuda: also write the fp16 graph for cards.
    """

    licence: str | None = None
    description: str | None = None
    patient_data: bool | None = None
    halved: bool | None = None
    scores: Path | None = None
    data: Path | None = None
    int8: Int8 | None = None
    cuda: bool = False


def run(
    folder: Path,
    *,
    store: Path,
    name: str,
    version: int | None = None,
    statement: Statement | None = None,
    report: Report = logger.info,
) -> Path:
    """Export a trained folder as a bundle; returns the bundle's folder.

    Raises BundleError for a name that no bundle can have, TrainingError for a folder that is not trained, and where nobody
    says whether patient data went in.
    """
    check_name(name)
    said = statement or Statement()
    place = trained_folder(folder)
    model, heads = trained.load(place)
    heads = _with_embedding(heads)
    provenance = _beside(place, PROVENANCE)
    examined = None if said.data is None else _examination(provenance, said.data)
    scores = _scores(said, place) if examined is None else {}
    recipe = provenance.get("recipe", {})
    about = About(
        name=name,
        version=version,
        base_model=_base(provenance),
        licence=said.licence or recipe.get("licence"),
        patient_data=_patient_data(said, provenance),
        description=said.description or recipe.get("description") or _described(heads),
        training=provenance,
        scores=scores,
    )
    about = replace(about, readme=lambda manifest: _readme(about, heads, provenance, manifest))
    return export_bundle(
        model.eval(),
        heads,
        trained.tokenizer_of(place),
        about=about,
        store=store,
        store_fp16=bool(recipe) if said.halved is None else said.halved,
        extras=Extras(check=examined, int8=_compared(said.int8, examined), cuda=said.cuda),
        report=report,
    )


def _readme(about: About, heads: tuple[HeadSpec, ...], provenance: dict[str, Any], manifest: Manifest) -> str:
    told = card(about, heads=heads, provenance=provenance, scores=manifest.scores)
    rules, int8 = ", ".join(manifest.tokenizer.normalisation), told_of_int8(manifest)
    parts = (
        told.rstrip("\n"),
        *(("## Normalisation", f"Put right in texts before they are read, in training and serving: {rules}.") if rules else ()),
        *(("## The int8 graph", *int8) if int8 else ()),
    )
    return "\n\n".join(parts) + "\n"


def _compared(wanted: Int8 | None, examined: Examination | None) -> Int8 | None:
    """The int8 graph that is wanted, with the examination of the fp32 one repeated on it."""
    if wanted is None or examined is None:
        return wanted
    return replace(wanted, comparison=lambda bundle, scores: compared(bundle, scores, examined(bundle, "int8")))


def _scores(said: Statement, place: Path) -> dict[str, Any]:
    """Those said, else those of the training."""
    if said.scores is None:
        return _beside(place, SCORES)
    content: dict[str, Any] = disk.read_json(said.scores)
    return content


class Examination(Protocol):
    """Scores a graph of a bundle on the test sets of a recipe."""

    def __call__(self, bundle: Bundle, precision: Precision = "fp32") -> dict[str, Any]:
        """The scores, with baselines and rewritten texts for the fp32 graph alone."""
        ...


def _examination(provenance: dict[str, Any], data: Path) -> Examination:
    """What scores a bundle's graph on the test sets of the recipe that trained it."""
    if "recipe" not in provenance:
        raise TrainingError("no recipe trained this model, so it has no test sets of its own; score it with `train evaluate`")
    recipe = provenance["recipe"]
    asked = EvaluationRecipe(tests=tuple(TestSet(**test) for test in recipe["evaluation"]["tests"]))
    folder = DataFolder(data, policies=recipe["policies"])

    def examined(bundle: Bundle, precision: Precision = "fp32") -> dict[str, Any]:
        subject = Subject.of_bundle(bundle, OnnxEngine(bundle, precision=precision))
        options = Options() if precision == "fp32" else Options(baselines=False, robustness=False)
        with tempfile.TemporaryDirectory() as scratch:
            output = Path(scratch) / SCORES
            return evaluate.run(asked, trained_model=subject, folder=folder, output=output, options=options)

    return examined


def _with_embedding(heads: tuple[HeadSpec, ...]) -> tuple[HeadSpec, ...]:
    """Every encoder can embed by its mean; where nothing trained that, the bundle says so, as an import does."""
    if any(head.task == "embed" for head in heads):
        return heads
    read: Literal["none", "first"] = "first" if any(head.global_attention == "first" for head in heads) else "none"
    return (*heads, HeadSpec(name="embed", task="embed", output=HIDDEN, pooling="mean", global_attention=read, trained=False))


def trained_folder(folder: Path) -> Path:
    """The folder itself, or the `trained/` in it."""
    for place in (folder, folder / TRAINED):
        if trained.is_trained(place):
            return place
    if not folder.is_dir():
        raise TrainingError(f"there is no folder {folder}")
    raise TrainingError(f"{folder} holds no trained model: neither {trained.DESCRIBED} nor {TRAINED}/{trained.DESCRIBED}")


def _beside(place: Path, name: str) -> dict[str, Any]:
    """What the training wrote down, in the trained folder or, by a recipe's run, beside it; empty where there is nothing."""
    for path in (place / name, place.parent / name):
        if path.is_file():
            content: dict[str, Any] = disk.read_json(path)
            return content
    return {}


def _patient_data(said: Statement, provenance: dict[str, Any]) -> bool:
    """What was said, but once patient data went in, they stay in; a recipe reads public sets only."""
    before = bool(provenance.get("patient_data", False))
    if said.patient_data is None:
        if "recipe" in provenance and "finetunings" not in provenance:
            return before
        raise TrainingError("a bundle says whether patient data went into it: give --patient-data or --no-patient-data")
    return said.patient_data or before


def _base(provenance: dict[str, Any]) -> str | None:
    """What the first fine-tuning began with."""
    return next((str(one["base"]) for one in provenance.get("finetunings", ())), None)


def _described(heads: tuple[HeadSpec, ...]) -> str:
    return f"Fine-tuned: {', '.join(f'{head.name} ({head.task})' for head in heads)}."
