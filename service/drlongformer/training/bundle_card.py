"""The card of a bundle made here: its heads, what it was trained on and how, its scores, as the training wrote them down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from drlongformer.bundle import HeadSpec
from drlongformer.model.bundling import About

HEADLINES = ("micro_f1", "macro_f1", "weighted_f1", "spearman", "edrm", "hamming", "exact_match", "accuracy", "perplexity")
"""Scores that a table shows, in this order, where there are any."""


def card(about: About, *, heads: tuple[HeadSpec, ...], provenance: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    """The model card; it invents nothing."""
    parts = (
        f"# {about.name}",
        about.description,
        f"Licence of the weights: {about.licence or 'not stated'}. Trained on patient data: {_yes(about.patient_data)}.",
        "## Heads",
        _table(
            ("head", "task", "labels", "global attention"),
            [(head.name, head.task, ", ".join(_plain(head)) or "–", head.global_attention) for head in heads],
        ),
        *_sets(provenance),
        *_stages(provenance),
        *_finetunings(provenance),
        *_scores(scores, provenance),
        *_notes(provenance),
    )
    return "\n\n".join(parts) + "\n"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _sets(provenance: Mapping[str, Any]) -> Iterator[str]:
    if sets := provenance.get("sets"):
        yield "## Training data"
        yield "Training splits only, all of them public."
        yield _table(("set", "policy", "licence"), [(one["name"], one["policy"], one["licence"]) for one in sets])


def _stages(provenance: Mapping[str, Any]) -> Iterator[str]:
    if stages := provenance.get("stages"):
        yield "## Training"
        rows: list[tuple[str, ...]] = []
        for stage, said in stages.items():
            last = said["last"]
            losses = ", ".join(f"{name} {loss:.2f}" for name, loss in last["losses"].items())
            rows.append((stage, f"{last['step']}", f"{last['seconds'] / 60:.0f}", f"{last['tokens']:,}", losses))
        yield _table(("stage", "steps", "minutes", "tokens", "last losses"), rows)


def _finetunings(provenance: Mapping[str, Any]) -> Iterator[str]:
    for one in provenance.get("finetunings", ()):
        yield f"## Fine-tuned from {one['base']}"
        rows: list[tuple[str, ...]] = []
        for name, its in one["heads"].items():
            count = its["documents"]
            rows.append((name, its["task"], f"{count['train']} / {count['dev']} / {count['test']}", f"{its['groups'] or '–'}"))
        yield _table(("head", "task", "documents train / dev / test", "groups"), rows)
        settings = one["settings"]
        yield (
            f"At most {settings['epochs']} epochs, the best one kept; learning rate {settings['learning_rate']:g};"
            f" encoder {'frozen' if settings['freeze_encoder'] else 'trained'};"
            f" rewritten: {', '.join(settings['augmentations']) or 'nothing'}."
        )
        if one["moved_under"]:
            yield f"The encoder moved under {', '.join(one['moved_under'])}: score these heads again before relying on them."


def _scores(scores: Mapping[str, Any], provenance: Mapping[str, Any]) -> Iterator[str]:
    rows = list(_rows(scores, provenance))
    if rows:
        yield "## Scores"
        yield "Entities count with exact ends and label. `dev` documents served to choose, `test` documents did not."
        yield _table(("documents of", "number", "scores, 95 % interval of the first", "baselines"), rows)


def _rows(scores: Mapping[str, Any], provenance: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    tests = provenance.get("recipe", {}).get("evaluation", {}).get("tests", ())
    quoted = {f"{one['set']}/{one['split']}/{one['head']}": one["baseline"] for one in tests if one.get("baseline")}
    for key, one in scores.items():
        if isinstance(one, Mapping) and (named := [name for name in HEADLINES if isinstance(one.get(name), (int, float))]):
            ends = one.get("intervals", {}).get(named[0])
            interval = f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""
            first, *others = (f"{name.replace('_', ' ')} {one[name]:.3f}" for name in named)
            beside = [*_baselines(one, named[0]), *([quoted[key]] if key in quoted else [])]
            yield key, str(one.get("documents", "–")), "; ".join([first + interval, *others]), "; ".join(beside) or "–"


def _baselines(one: Mapping[str, Any], name: str) -> Iterator[str]:
    for baseline, its in one.get("baselines", {}).items():
        if isinstance(its, Mapping) and isinstance(its.get(name), (int, float)):
            yield f"{baseline.replace('_', ' ')} {its[name]:.3f}"


def _notes(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """What the people who ran it have to add, if anything: interruptions, changed settings, why a score is what it is."""
    notes = provenance.get("notes", ())
    return ("## Notes", "\n".join(f"* {note}" for note in notes)) if notes else ()


def _plain(head: HeadSpec) -> list[str]:
    """A head's labels without BIO prefixes, each once."""
    if head.decoding is None:
        return [*head.labels]
    return list(dict.fromkeys(label.split("-", 1)[-1] for label in head.labels if label != "O"))


def _table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (names, ("---",) * len(names), *rows))
