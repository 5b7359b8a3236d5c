"""What `drlongformer train finetune` does: annotations and a base in, a trained folder with the new heads out.

Files become records, with every fault by file and line; documents for dev are dealt out where none are given; runs are made
(`experiments.py`); what comes of them is the model with its scores. The same order resumes whatever was stopped.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from drlongformer.errors import TrainingError
from drlongformer.training import disk, distributed, trained
from drlongformer.training.base import Base, WordSplitting, read_base
from drlongformer.training.experiments import RUNS, Annotated, Workplace, begun, cross_validation, learning_curve, one_model
from drlongformer.training.head_specs import GlobalAttention
from drlongformer.training.records import reader
from drlongformer.training.records.reader import Format
from drlongformer.training.records.record import Record, digest, labels_of
from drlongformer.training.records.splits import words
from drlongformer.training.tuning import OnLog, TuningSettings
from drlongformer.training.wanted_heads import HeadRequest
from drlongformer.types import Rule

logger = logging.getLogger(__name__)

ORDER = "order.json"
HEAD_NAME = re.compile(r"[^\W_][\w -]{0,99}")
"""Neither dots, which torch keeps for itself, nor slashes: a head's name also names files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFiles:
    """One head's annotations: files of any known format, or folders of brat."""

    request: HeadRequest
    train: Path
    dev: Path | None = None
    test: Path | None = None

    def __post_init__(self) -> None:
        if not HEAD_NAME.fullmatch(self.request.name):
            raise TrainingError(
                f"no head can be named {self.request.name!r}: letters, digits, spaces, dashes and underscores, at most 100,"
                " the first a letter or a digit"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileForm:
    """How annotations are read; group_by: field of what must stay in one split, such as a patient."""

    format: Format = "auto"
    group_by: str | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A fine-tuning as it was ordered.

    seeds: a run each, of which the best on dev is kept. folds: a cross-validation before it, 0 for none. sizes: of a learning
    curve, in training documents. word_splitting, normalisation and global_attention: by default the base's. keep_heads: whether
    heads of the base stay.
    """

    base: Path
    tasks: tuple[TaskFiles, ...]
    output: Path
    settings: TuningSettings = field(default_factory=TuningSettings)
    form: FileForm = field(default_factory=FileForm)
    seeds: tuple[int, ...] = (0,)
    folds: int = 0
    sizes: tuple[int, ...] = ()
    dev_share: float = 0.15
    word_splitting: WordSplitting | None = None
    normalisation: tuple[Rule, ...] | None = None
    global_attention: GlobalAttention | None = None
    keep_heads: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise TrainingError(f"seeds {list(self.seeds)}: at least one, each once")
        if (self.folds or self.sizes) and len(self.tasks) != 1:
            raise TrainingError(f"cross-validation and learning curves are of one head, not of {len(self.tasks)}")
        if not self.tasks:
            raise TrainingError("no task was given")


def run(order: Order, *, on_log: OnLog | None = None) -> Path:
    """Do what was ordered, or what is left of it; returns the trained folder.

    Raises TrainingError for files, bases and settings that cannot be trained on, and where the output is another order's.
    """
    with distributed.joined(order.device) as group:
        if group.size > 1:
            raise TrainingError(
                f"fine-tuning runs in one process, not in {group.size}: start the command without torchrun; to use several"
                " GPUs, start it once for each with a --device, --seeds and --output of its own"
            )
        data = [annotated(files, order.form) for files in order.tasks]
        base = read_base(order.base, word_splitting=order.word_splitting, normalisation=order.normalisation)
        attention = order.global_attention or _attention(base)
        data = [replace(one, request=replace(one.request, global_attention=attention)) for one in data]
        _same_order(order, data, rules=base.tokenizer.spec.normalisation)
        work = Workplace(
            base=base,
            settings=order.settings,
            output=order.output,
            device=group.device,
            keep_heads=order.keep_heads and (trained.is_trained(order.base) or order.settings.freeze_encoder),
            dev_share=order.dev_share,
            on_log=on_log,
        )
        if order.folds:
            cross_validation(work, data[0], folds=order.folds, seeds=order.seeds)
        if order.sizes:
            learning_curve(work, data[0], sizes=order.sizes, seeds=order.seeds)
        return one_model(work, data, seeds=order.seeds)


def annotated(files: TaskFiles, form: FileForm) -> Annotated:
    """The documents of one head; labels of dev and test must be among those of the training documents."""
    train = _read(files.train, files, form, labels=None)
    known = sorted({label for record in train for label in labels_of(record)}) or None
    dev, test = ((_read(path, files, form, labels=known) if path else ()) for path in (files.dev, files.test))
    for name, others in (("dev", dev), ("test", test)):
        _tell_shared(files.request.name, name, train, others)
    return Annotated(request=files.request, train=train, dev=dev, test=test)


def _read(path: Path, files: TaskFiles, form: FileForm, *, labels: Sequence[str] | None) -> tuple[Record, ...]:
    return tuple(
        reader.read(
            path,
            task=files.request.task,
            format=form.format,
            group_by=form.group_by,
            encoding=form.encoding,
            labels=labels,
            score_range=files.request.score_range if files.request.task == "similarity" else None,
        )
    )


def _tell_shared(head: str, name: str, train: Sequence[Record], others: Sequence[Record]) -> None:
    """Warn of texts and groups on both sides: scores on them are flattered."""
    texts, groups = {words(record) for record in train}, {record.group for record in train} - {None}
    shared = sum(words(record) in texts for record in others)
    kin = sum(record.group in groups for record in others)
    if shared or kin:
        logger.warning("head %s: %d texts of %s are in its training files too, %d by their group", head, shared, name, kin)


def _attention(base: Base) -> GlobalAttention:
    """What the base's own heads were trained with, so that all of them share a pass; `<s>` where it has none."""
    return next((head.global_attention for head in base.heads if head.global_attention in ("first", "none")), "first")


def _same_order(order: Order, data: Sequence[Annotated], *, rules: tuple[Rule, ...]) -> None:
    """Write the order down, or raise TrainingError where the folder holds another's runs.

    An order of which no run has taken its first steps binds nobody: what was wrong with it may be mended and run again.
    """
    path = order.output / ORDER
    told: dict[str, Any] = {
        "settings": repr(order.settings),
        "tasks": [repr(one.request) for one in order.tasks],
        "base": str(order.base.name),
        "documents": digest(record for one in data for record in (*one.train, *one.dev)),
    }
    if rules:  # orders of before there were any say nothing of them
        told["normalisation"] = sorted(rules)
    if path.is_file() and any(begun(run) for run in (order.output / RUNS).glob("*")):
        before = disk.read_json(path)
        if changed := sorted(name for name in told.keys() | before.keys() if before.get(name) != told.get(name)):
            other = ", ".join("tasks or settings of their heads" if name == "tasks" else name for name in changed)
            raise TrainingError(f"{order.output} holds runs with other {other}; give another output folder")
        return
    order.output.mkdir(parents=True, exist_ok=True)
    disk.replace_json(path, told)
