"""Fine-tunings of one data set: one run, several seeds, a cross-validation, a learning curve; and the model that comes of them.

    output/runs/seed-0, seed-0-fold-1, size-50-seed-0 ...     a folder a run: log, checkpoint, best epoch, `done.json`
    output/cross_validation.json  learning_curve.json         scores with intervals, documents drawn anew
    output/trained/                                           the model: best epoch of the best seed, its scores and provenance

A run that is done is not done again and one that was stopped goes on, so the same command resumes whatever happened.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from drlongformer.errors import TrainingError
from drlongformer.training import disk
from drlongformer.training.base import PROVENANCE, SCORES, Base
from drlongformer.training.checkpoints import CHECKPOINT, has_run
from drlongformer.training.judging import Judged, deciding, judge, tally_of
from drlongformer.training.measure import intervals, measured
from drlongformer.training.records import bootstrap
from drlongformer.training.records.learning_curve import subsets
from drlongformer.training.records.record import Record
from drlongformer.training.records.splits import Trial, split, trials, units_of
from drlongformer.training.scores import Tally
from drlongformer.training.selection import HISTORY
from drlongformer.training.subject import Subject
from drlongformer.training.trainer import LOG
from drlongformer.training.tuning import OnLog, TaskData, TuningSettings, fit
from drlongformer.training.wanted_heads import HeadRequest
from drlongformer.types import IntArray

RUNS, TRAINED, DONE = "runs", "trained", "done.json"
CROSS_VALIDATION, LEARNING_CURVE = "cross_validation.json", "learning_curve.json"
DRAWS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """One head's documents. dev: a share of the training documents is taken where it is empty. test: may be empty."""

    request: HeadRequest
    train: tuple[Record, ...]
    dev: tuple[Record, ...] = ()
    test: tuple[Record, ...] = ()

    def dealt(self, seed: int, dev_share: float) -> Annotated:
        """The same with documents for dev, whole groups at a time; raises TrainingError where there are too few."""
        if self.dev:
            return self
        units = len(set(units_of(self.train).tolist()))
        if units < 2:
            raise TrainingError(
                f"head {self.request.name!r}: {len(self.train)} training documents, all of one text or group, leave none for"
                " dev: give --dev, or more documents"
            )
        parts = split(self.train, dev=dev_share, test=0.0, seed=seed)
        return replace(self, train=tuple(self.train[i] for i in parts.train), dev=tuple(self.train[i] for i in parts.dev))

    def lesson(self) -> TaskData:
        """What a run is given."""
        return TaskData(request=self.request, train=self.train, dev=self.dev)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where and from what runs are made."""

    base: Base
    settings: TuningSettings
    output: Path
    device: torch.device
    keep_heads: bool
    dev_share: float = 0.15
    on_log: OnLog | None = None

    def run(self, name: str, data: Sequence[Annotated], *, seed: int) -> Run:
        """Do one run, or what is left of it."""
        place = self.output / RUNS / name
        if not (place / DONE).is_file():
            fitted = fit(
                self.base,
                [one.lesson() for one in data],
                replace(self.settings, seed=seed),
                output=place,
                device=self.device,
                keep_heads=self.keep_heads,
                resume=has_run(place),
                on_log=self.on_log,
            )
            disk.replace_json(place / DONE, {"best": fitted.folder.name, "score": fitted.score, "history": fitted.history})
        done = disk.read_json(place / DONE)
        return Run(name=name, seed=seed, folder=place / done["best"], score=done["score"], data=tuple(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that is done: its best epoch's folder and dev score, and the documents it had."""

    name: str
    seed: int
    folder: Path
    score: float
    data: tuple[Annotated, ...]

    def judged(self, part: str, device: torch.device) -> dict[str, Judged]:
        """Every head on its documents of one part, `dev` or `test`; heads without any are left out."""
        subject = Subject.load(self.folder, device=str(device))
        return {
            one.request.name: judge(subject, subject.head(None, one.request.name), getattr(one, part), tune=False)
            for one in self.data
            if getattr(one, part)
        }


def begun(run: Path) -> bool:
    """Whether a run's folder holds steps that were trained: a log, an epoch judged, or a checkpoint."""
    return any((run / name).exists() for name in (LOG, HISTORY, CHECKPOINT, DONE))


def one_model(work: Workplace, data: Sequence[Annotated], *, seeds: Sequence[int]) -> Path:
    """Train with every seed, keep the one that is best on dev, and return its folder with scores and provenance."""
    runs = [work.run(f"seed-{seed}", [one.dealt(seeds[0], work.dev_share) for one in data], seed=seed) for seed in seeds]
    best = max(runs, key=lambda run: run.score)
    place = work.output / TRAINED
    scores = _scores(runs, best, work.device)
    with disk.whole(place) as beside:
        shutil.copytree(best.folder, beside)
        disk.replace_json(beside / SCORES, scores)
        disk.replace_json(beside / PROVENANCE, provenance(work, best))
    return place


def cross_validation(work: Workplace, data: Annotated, *, folds: int, seeds: Sequence[int]) -> dict[str, Any]:
    """Scores of every document by a model that never saw it or its group, for every seed, with intervals over documents."""
    by_seed: dict[int, dict[int, Any]] = {}
    judged: Judged | None = None
    for trial in trials(data.train, count=folds, seeds=seeds, dev=work.dev_share):
        run = work.run(f"seed-{trial.seed}-fold-{trial.fold}", [_dealt(data, trial)], seed=trial.seed)
        judged = run.judged("test", work.device)[data.request.name]
        answers = by_seed.setdefault(trial.seed, {})
        answers.update(zip(trial.split.test, judged.answers, strict=True))
    if judged is None:
        raise TrainingError("a cross-validation needs at least one seed")
    tallies = [tally_of(judged.head, data.train, [one[i] for i in range(len(data.train))]) for one in by_seed.values()]
    found = {
        "documents": len(data.train),
        "folds": folds,
        "seeds": list(seeds),
        "decides": deciding(judged.head),
        **_over_seeds(tallies, data.train),
    }
    disk.replace_json(work.output / CROSS_VALIDATION, found)
    return found


def learning_curve(work: Workplace, data: Annotated, *, sizes: Sequence[int], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Scores of models that had the first so many training documents; on test, or on dev where there is none."""
    dealt = data.dealt(seeds[0], work.dev_share)
    rows = []
    for size, places in zip(sizes, subsets(dealt.train, sizes=sizes, seed=seeds[0]), strict=True):
        part = replace(dealt, train=tuple(dealt.train[i] for i in places))
        runs = [work.run(f"size-{size}-seed-{seed}", [part], seed=seed) for seed in seeds]
        scored = "test" if dealt.test else "dev"
        judged = [run.judged(scored, work.device)[data.request.name] for run in runs]
        row = {"documents": len(part.train), "scored_on": scored, "decides": deciding(judged[0].head)}
        rows.append(row | _over_seeds([one.tally for one in judged], dealt.test or dealt.dev))
        disk.replace_json(work.output / LEARNING_CURVE, rows)
    return rows


def provenance(work: Workplace, run: Run) -> dict[str, Any]:
    """What the base had been through, and what was done here."""
    before = work.base.provenance
    learnt = [one.request.name for one in run.data]
    moved = [head.name for head in work.base.heads if work.keep_heads and head.name not in learnt]
    step = {
        "base": work.base.name,
        "seed": run.seed,
        "settings": asdict(work.settings),
        "heads": {
            one.request.name: {
                "task": one.request.task,
                "documents": {part: len(getattr(one, part)) for part in ("train", "dev", "test")},
                "groups": len({record.group for record in one.train if record.group is not None}),
            }
            for one in run.data
        },
        "moved_under": [] if work.settings.freeze_encoder else moved,
    }
    return {**before, "finetunings": [*before.get("finetunings", ()), step]}


def _dealt(data: Annotated, trial: Trial) -> Annotated:
    train, dev, test = (
        tuple(data.train[i] for i in places) for places in (trial.split.train, trial.split.dev, trial.split.test)
    )
    return replace(data, train=train, dev=dev, test=test)


def _scores(runs: Sequence[Run], best: Run, device: torch.device) -> dict[str, Any]:
    """Per head and part: scores and intervals of the model kept, and beside them the means over seeds."""
    found: dict[str, Any] = {}
    for part in ("dev", "test"):
        judged = {run.name: run.judged(part, device) for run in runs}
        for one in best.data:
            name, records = one.request.name, getattr(one, part)
            if records:
                mine = judged[best.name][name]
                groups = [record.group for record in records]
                found[f"own/{part}/{name}"] = {
                    "documents": len(records),
                    "decides": deciding(mine.head),
                    **measured(mine.tally, mine.tokens),
                    "intervals": intervals(mine.tally, groups, draws=DRAWS, seed=0),
                    **_seeds([its[name] for its in judged.values()], records),
                }
    return found


def _seeds(judged: Sequence[Judged], records: Sequence[Record]) -> dict[str, Any]:
    return {"over_seeds": _over_seeds([one.tally for one in judged], records)} if len(judged) > 1 else {}


def _over_seeds(tallies: Sequence[Tally], records: Sequence[Record]) -> dict[str, Any]:
    """The mean of each score over seeds, its interval over documents, and each seed's own."""
    everything = np.arange(len(records))
    names = tallies[0].headline(everything)
    return {
        name: {
            **_mean(tallies, name, records),
            "by_seed": [tally.headline(everything)[name] for tally in tallies],
        }
        for name in names
    }


def _mean(tallies: Sequence[Tally], name: str, records: Sequence[Record]) -> Mapping[str, Any]:
    def mean(chosen: IntArray) -> float:
        return float(np.mean([tally.headline(chosen)[name] for tally in tallies]))

    groups = [record.group for record in records]
    if len(set(_drawn(groups))) < 2:
        return {"value": mean(np.arange(len(records)))}
    found = bootstrap.of_metric(mean, documents=len(records), groups=groups, draws=DRAWS)
    return {"value": found.value, "interval": [found.low, found.high]}


def _drawn(groups: Sequence[str | None]) -> Iterator[str | int]:
    return (place if group is None else group for place, group in enumerate(groups))
