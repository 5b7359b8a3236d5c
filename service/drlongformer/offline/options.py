"""From flags to what is asked: each task takes its own, and a flag of another task is refused, not ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from drlongformer.errors import RunError
from drlongformer.offline.asked import WAYS, Ask, Format, Written
from drlongformer.serving.requests import RequestOptions
from drlongformer.types import Task

FLAGS: Final[Mapping[str, str]] = {"labels": "--label", "targets": "--target", "normalize": "--no-normalize"}
"""Flags that are not called as their fields."""
HOLDING_TEXTS: Final = ("brat", "note-nlp", "note-nlp-csv")
"""Forms whose own words are those of the texts."""


def task_named(name: str) -> Task:
    """The task. Raises RunError for one that is not asked of files."""
    for task in WAYS:
        if task == name:
            return task
    raise RunError(f"no task {name!r} for files; there are {', '.join(WAYS)}")


def format_named(name: str, task: Task) -> Format:
    """The form of output. Raises RunError for one that cannot hold the task's answers."""
    able = WAYS[task].formats
    for format_ in able:
        if format_ == name:
            return format_
    raise RunError(f"no format {name!r} for {task}; there are {', '.join(able)}")


def asked(task: Task, common: RequestOptions, own: Mapping[str, Any], written: Written) -> Ask:
    """The task with the fields that were given. Raises RunError for a field of another task, and for forms that cannot be."""
    way = WAYS[task]
    if foreign := sorted(own.keys() - way.fields):
        flags = ", ".join(FLAGS.get(name, f"--{name.replace('_', '-')}") for name in foreign)
        raise RunError(f"{task} knows no {flags}")
    if written.numbers != "float32" and (task, written.format) != ("embed", "parquet"):
        raise RunError("--float16 is for embeddings in Parquet")
    if not written.text and task != "ner":
        raise RunError("--no-text is for entities")
    if own.get("redact") and written.format in HOLDING_TEXTS:
        raise RunError(f"--redact writes texts without the words that {written.format} is made of; take parquet or jsonl")
    return Ask(task=task, options=way.options(common=common, **own), written=written)
