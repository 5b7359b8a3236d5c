"""A finished recipe run to a bundle of the model store, with a card that says what went in and how good it is.

Licence and description are the recipe's; sets, steps, seconds and scores are those the run wrote down.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drlongformer.bundle import HeadSpec
from drlongformer.model.importing import About, export_bundle
from drlongformer.model.tokenizer_files import TokenizerFile
from drlongformer.training import trained
from drlongformer.training.recipes import Recipe
from drlongformer.training.tokenizer import served_spec
from drlongformer.training.whole import PROVENANCE, SCORES, TRAINED


def run(recipe: Recipe, *, output: Path, store: Path, name: str, version: int | None = None) -> Path:
    """Export the trained folder of a run as a bundle with fp16 weights; returns the bundle's folder."""
    folder = output / TRAINED
    model, heads = trained.load(folder)
    scores = json.loads((output / SCORES).read_text(encoding="utf-8"))
    provenance = json.loads((output / PROVENANCE).read_text(encoding="utf-8"))
    tokenizer_json = folder / "tokenizer.json"
    about = About(
        name=name,
        version=version,
        licence=recipe.licence,
        patient_data=False,
        description=recipe.description,
        training=provenance,
        scores=scores,
        readme=card(recipe, name=name, heads=heads, provenance=provenance, scores=scores),
    )
    tokenizer = TokenizerFile(content=tokenizer_json.read_bytes(), spec=served_spec(tokenizer_json))
    return export_bundle(model.eval(), heads, tokenizer, about=about, store=store, store_fp16=True)


def card(
    recipe: Recipe, *, name: str, heads: tuple[HeadSpec, ...], provenance: Mapping[str, Any], scores: Mapping[str, Any]
) -> str:
    """The model card, from what the run wrote down."""
    parts = (
        f"# {name}",
        recipe.description,
        f"Licence of the weights: {recipe.licence}. All heads read one pass of the encoder, in which `<s>` is global.",
        "## Heads",
        _table(("head", "task", "labels"), [(head.name, head.task, ", ".join(_plain(head)) or "–") for head in heads]),
        "## Training data",
        "Training splits only, all of them public; clinical cases were published as case reports, none is a hospital's record.",
        _table(("set", "policy", "licence"), [(one["name"], one["policy"], one["licence"]) for one in provenance["sets"]]),
        "## Training",
        _table(("stage", "steps", "minutes", "tokens", "last losses"), _stages(provenance["stages"])),
        "## Scores",
        "Entities count with exact ends and label. `dev` splits served to choose, `test` splits did not.",
        _table(("head", "set", "split", "score", "baseline"), _scores(recipe, scores)),
        *_notes(provenance),
    )
    return "\n\n".join(parts) + "\n"


def _notes(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """What the people who ran it have to add, if anything: interruptions, changed settings, why a score is what it is."""
    notes = provenance.get("notes", ())
    return ("## Notes", "\n".join(f"* {note}" for note in notes)) if notes else ()


def shown(score: Mapping[str, Any]) -> str:
    """One score in a line."""
    if "spearman" in score:
        return f"Spearman {score['spearman']:.3f}"
    if "micro" in score:
        micro = score["micro"]
        sizes = f"P {micro['precision']:.3f}, R {micro['recall']:.3f}, {micro['support']} wanted"
        return f"micro-F1 {micro['f1']:.3f}, macro-F1 {score['macro_f1']:.3f} ({sizes})"
    return "; ".join(
        f"{length.replace('_', ' ')} tokens: {one['accuracy']:.0%}, perplexity {one['perplexity']:.1f}"
        for length, one in score.items()
    )


def _scores(recipe: Recipe, scores: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (test.head, test.set, test.split, shown(scores[test.key]), test.baseline or "–") for test in recipe.evaluation.tests
    ]


def _stages(stages: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for stage, said in stages.items():
        last = said["last"]
        losses = ", ".join(f"{name} {loss:.2f}" for name, loss in last["losses"].items())
        rows.append((stage, f"{last['step']}", f"{last['seconds'] / 60:.0f}", f"{last['tokens']:,}", losses))
    return rows


def _plain(head: HeadSpec) -> list[str]:
    """A head's labels without BIO prefixes, each once."""
    return (
        list(dict.fromkeys(label.split("-", 1)[-1] for label in head.labels if label != "O"))
        if head.decoding
        else [*head.labels]
    )


def _table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (names, ("---",) * len(names), *rows))
