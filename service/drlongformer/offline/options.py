"""From flags to what is asked: each task takes its own, and a flag of another task is refused, not ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from drlongformer.errors import RunError
from drlongformer.offline.asked import FORMATS, TASKS, Ask, FileTask, Format, Options, Written
from drlongformer.serving.requests import ClassifyOptions, EmbedOptions, FillMaskOptions, NerOptions, RequestOptions

OWN: Final[Mapping[FileTask, tuple[type[Options], frozenset[str]]]] = {
    "embed": (EmbedOptions, frozenset({"pooling", "normalize", "dimensions"})),
    "ner": (NerOptions, frozenset({"aggregation", "labels", "min_score"})),
    "classify": (ClassifyOptions, frozenset({"top_k", "function"})),
    "fill-mask": (FillMaskOptions, frozenset({"top_k", "targets"})),
}
"""Each task's type of options, and which of its fields a flag sets."""

FLAGS: Final[Mapping[str, str]] = {"labels": "--label", "targets": "--target", "normalize": "--no-normalize"}
"""Flags that are not called as their fields."""


def task_named(name: str) -> FileTask:
    """The task. Raises RunError for one that is not asked of files."""
    for task in TASKS:
        if task == name:
            return task
    raise RunError(f"no task {name!r} for files; there are {', '.join(TASKS)}")


def format_named(name: str, task: FileTask) -> Format:
    """The form of output. Raises RunError for one that cannot hold the task's answers."""
    able = [format_ for format_, tasks in FORMATS.items() if task in tasks]
    for format_ in able:
        if format_ == name:
            return format_
    raise RunError(f"no format {name!r} for {task}; there are {', '.join(able)}")


def asked(task: FileTask, common: RequestOptions, own: Mapping[str, Any], written: Written) -> Ask:
    """The task with the fields that were given. Raises RunError for a field of another task."""
    kind, fields = OWN[task]
    if foreign := sorted(own.keys() - fields):
        flags = ", ".join(FLAGS.get(name, f"--{name.replace('_', '-')}") for name in foreign)
        raise RunError(f"{task} knows no {flags}")
    if written.numbers != "float32" and (task, written.format) != ("embed", "parquet"):
        raise RunError("--float16 is for embeddings in Parquet")
    if not written.text and task != "ner":
        raise RunError("--no-text is for entities")
    return Ask(task=task, options=kind(common=common, **own), written=written)
