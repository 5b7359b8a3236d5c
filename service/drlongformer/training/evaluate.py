"""A model scored on a recipe's test sets, or on a file of one's own: what is read, and the file of scores that is written.

    scores.json    {"subject": what answered, "settings": how, "<set>/<split>/<head>": the scores of `examine.py`, ...}
    figures/       confusion matrices and reliability plots

The file is written anew after every set, so an interrupted run keeps what it has scored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from drlongformer.bundle import HeadSpec
from drlongformer.errors import TrainingError
from drlongformer.tasks.ner import labels_of
from drlongformer.training import disk
from drlongformer.training.corpus import DataFolder
from drlongformer.training.exam import RawRecord
from drlongformer.training.examine import Figures, Options, Watch, examine, unwatched
from drlongformer.training.recipes import EvaluationRecipe, TestSet
from drlongformer.training.records import reader
from drlongformer.training.records.reader import Format
from drlongformer.training.records.record import RecordTask, digest
from drlongformer.training.records.unannotated import unannotated
from drlongformer.training.subject import Subject
from drlongformer.types import Task

FIGURES = "figures"
TRAIN = "train"
TEST = "test"
DOCUMENTS = "documents_sha256"
ANSWERED = ("kind", "sha256", "bundle", "graph_sha256", "precision")
"""What tells one model from another, of all that is said of a subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFiles:
    """Annotations of one's own. train: what baselines learn from. group_by: field that says which documents belong together."""

    test: Path
    train: Path | None = None
    format: Format = "auto"
    group_by: str | None = None
    encoding: str = "utf-8"


def run(
    recipe: EvaluationRecipe,
    *,
    trained_model: Path | Subject,
    folder: DataFolder,
    output: Path,
    options: Options | None = None,
    watch: Watch = unwatched,
) -> dict[str, Any]:
    """Score a trained folder, a bundle's folder or a loaded subject on every test set of the recipe, into a JSON file.

    Only `test` splits are read in rewritten forms: the others served to choose.
    """
    subject = trained_model if isinstance(trained_model, Subject) else Subject.load(trained_model)
    chosen = options or Options()
    found = _told(subject, chosen)
    for test in recipe.tests:
        found[test.key] = _scored(subject, test, folder, output, chosen, watch)
        disk.replace_json(output, found)
    return found


def run_files(
    subject: Subject,
    head: HeadSpec,
    files: OwnFiles,
    *,
    output: Path,
    options: Options | None = None,
    watch: Watch = unwatched,
) -> dict[str, Any]:
    """Score one head on one's own annotations, into a JSON file.

    Raises TrainingError naming file and line of each fault, and where the JSON file holds other scores.
    """
    chosen = options or Options()
    records = records_of(files.test, head, files)
    training = [] if files.train is None else records_of(files.train, head, files)
    key = f"{files.test.stem}/{head.name}"
    documents = digest(records)
    check_place(output, subject, {key: documents})
    figures = Figures(folder=output.parent / FIGURES, name=key.replace("/", "-"))
    scores = examine(subject, head, records, training=training, options=chosen, figures=figures, watch=watch)
    found = _told(subject, chosen) | {key: {**scores, DOCUMENTS: documents}}
    disk.replace_json(output, found)
    return found


def check_place(output: Path, subject: Subject, tests: Mapping[str, str | None]) -> None:
    """Raise TrainingError where a file holds scores of another model or of other tests.

    tests: by key the hash of the documents; None for a recipe's, which its data folder vouches for.
    """
    if not output.is_file():
        return
    before = disk.read_json(output)
    there = {key: value for key, value in before.items() if key not in ("subject", "settings")}
    told = before.get("subject", {})
    if any(told.get(name) != subject.provenance.get(name) for name in ANSWERED):
        raise TrainingError(f"{output} holds the scores of another model; give another output folder")
    if not there.keys() <= tests.keys() or any(there[key].get(DOCUMENTS) != tests[key] for key in there):
        raise TrainingError(f"{output} holds scores on other documents ({', '.join(there)}); give another output folder")


def _scored(
    subject: Subject, test: TestSet, folder: DataFolder, output: Path, options: Options, watch: Watch
) -> dict[str, Any]:
    head = subject.head(None, test.head)
    records = _of_set(folder, test.set, test.split, head)
    learnt_from = options.baselines and _split_file(folder, test.set, TRAIN).is_file()
    training = _of_set(folder, test.set, TRAIN, head) if learnt_from else []
    chosen = options if test.split == TEST else replace(options, robustness=False)
    figures = Figures(folder=output.parent / FIGURES, name=test.key.replace("/", "-"))
    return examine(subject, head, records, training=training, options=chosen, figures=figures, watch=watch)


def _told(subject: Subject, options: Options) -> dict[str, Any]:
    return {"subject": dict(subject.provenance), "settings": asdict(options)}


def records_of(path: Path, head: HeadSpec, files: OwnFiles) -> Sequence[Any]:
    """The annotations of a file that a head can be scored on; raises TrainingError naming file and line of each fault."""
    if head.task == "fill-mask":
        return [RawRecord(id=one.id, text=one.text) for one in unannotated(path, encoding=files.encoding)]
    return reader.read(
        path,
        task=_record_task(head.task),
        format=files.format,
        group_by=files.group_by,
        labels=_labels(head),
        encoding=files.encoding,
    )


def _of_set(folder: DataFolder, name: str, split: str, head: HeadSpec) -> Sequence[Any]:
    """The records of a split; raises TrainingError where its policy or its checksum is not as it must be."""
    deque(folder.records(name, split), maxlen=0)
    path = _split_file(folder, name, split)
    return records_of(path, head, OwnFiles(test=path))


def _split_file(folder: DataFolder, name: str, split: str) -> Path:
    return folder.folder / name / f"{split}.jsonl"


def _record_task(task: Task) -> RecordTask:
    """What the records of a head's task are called: embeddings are scored on pairs."""
    known: dict[Task, RecordTask] = {
        "classify": "classify",
        "ner": "ner",
        "embed": "similarity",
        "similarity": "similarity",
        "multiple-choice": "multiple-choice",
    }
    if task not in known:
        raise TrainingError(f"no annotations are known for task {task!r}")
    return known[task]


def _labels(head: HeadSpec) -> tuple[str, ...] | None:
    """The labels that records may have: the head's own, or any where it has none."""
    if head.task == "ner":
        return labels_of(head.labels, head.decoding or "simple")
    return head.labels if head.task == "classify" else None
