"""Annotations of any known format as records, with every check: `read(path, task="ner")`.

All faults of a file are told together, by file and line. What holds for a whole set is checked here: its ids differ, and it
is not empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict, Unpack, get_args, overload

from drlongformer.errors import TrainingError
from drlongformer.training.records import brat, doccano, fields, jsonl, label_studio
from drlongformer.training.records.faults import Line, Place, decoded, lines, told
from drlongformer.training.records.record import ChoiceRecord, PairRecord, Record, RecordTask, SpanRecord, TextRecord
from drlongformer.training.records.source import Source

Format = Literal["auto", "jsonl", "brat", "doccano", "label-studio"]


class Options(TypedDict, total=False):
    """How a set is read; every one of them may be left out.

    format: "auto" looks at the file. group_by: field that names what must stay in one split. labels: the only ones allowed.
    encoding: of the files, UTF-8 by default. score_range: what the scores of pairs must lie in, both ends included.
    """

    format: Format
    group_by: str | None
    labels: Sequence[str] | None
    encoding: str
    score_range: tuple[float, float] | None


@overload
def read(path: Path, *, task: Literal["ner"], **options: Unpack[Options]) -> list[SpanRecord]: ...
@overload
def read(path: Path, *, task: Literal["classify"], **options: Unpack[Options]) -> list[TextRecord]: ...
@overload
def read(path: Path, *, task: Literal["similarity"], **options: Unpack[Options]) -> list[PairRecord]: ...
@overload
def read(path: Path, *, task: Literal["multiple-choice"], **options: Unpack[Options]) -> list[ChoiceRecord]: ...
@overload
def read(path: Path, *, task: RecordTask, **options: Unpack[Options]) -> Sequence[Record]: ...
def read(path: Path, *, task: RecordTask, **options: Unpack[Options]) -> Sequence[Record]:
    """The records of a file or folder, in its order; raises TrainingError that names file and line of each fault."""
    labels = options.get("labels")
    source = Source(
        path=path,
        task=task,
        group_by=options.get("group_by"),
        labels=None if labels is None else frozenset(labels),
        encoding=options.get("encoding", "utf-8"),
    )
    placed = READERS[_format(source, options.get("format", "auto"))](source)
    if not placed:
        raise TrainingError(f"{path} holds no record")
    check_ids(placed)
    if (bounds := options.get("score_range")) is not None:
        check_scores(placed, bounds)
    return [record for _, record in placed]


READERS: Mapping[Format, Callable[[Source], list[tuple[Place, Record]]]] = {
    "jsonl": jsonl.read,
    "brat": brat.read,
    "doccano": doccano.read,
    "label-studio": label_studio.read,
}


def _format(source: Source, asked: Format) -> Format:
    if asked not in get_args(Format):
        raise TrainingError(f"no format {asked!r}; there are {', '.join(get_args(Format))}")
    if not source.path.exists():
        raise TrainingError(f"{source.path} does not exist")
    if source.path.is_dir() != (asked == "brat") and asked != "auto":
        raise TrainingError(f"{source.path} is {'a folder' if source.path.is_dir() else 'a file'}, which is not {asked}'s form")
    return _recognised(source) if asked == "auto" else asked


def _recognised(source: Source) -> Format:
    """The format of a folder or file, by what it holds."""
    if source.path.is_dir():
        if not any(source.path.rglob("*.ann")):
            raise TrainingError(f"{source.path} holds no .ann file of brat; name one file of another format")
        return "brat"
    if decoded(source.path, encoding=source.encoding).removeprefix("\ufeff").lstrip().startswith("["):
        return "label-studio"
    first = next(iter(lines(source.path, encoding=source.encoding)), None)
    if first is None:
        raise TrainingError(f"{source.path} is empty")
    record = _object(first)
    theirs = {"ner": {"label", "labels", "relations"}, "classify": {"label"}}.get(source.task, set())
    return "doccano" if theirs & record.keys() else "jsonl"


def _object(line: Line) -> fields.Fields:
    try:
        return fields.mapping(fields.parsed(line.text))
    except TrainingError as error:
        raise TrainingError(f"{line.place}: {error}") from None


def check_scores(placed: Sequence[tuple[Place, Record]], bounds: tuple[float, float]) -> None:
    """Raise TrainingError where a pair's score lies outside the bounds."""
    low, high = bounds
    scored = [(place, record.score) for place, record in placed if isinstance(record, PairRecord)]
    if faults := [
        f"{place}: the score {score:g} is outside {low:g} to {high:g}, the --score-range"
        for place, score in scored
        if not low <= score <= high
    ]:
        raise TrainingError(told(faults))


def check_ids(placed: Sequence[tuple[Place, Record]]) -> None:
    """Raise TrainingError where two records have one id."""
    first: dict[str, Place] = {}
    faults = []
    for place, record in placed:
        if record.id in first:
            faults.append(f"{place}: the id is that of {first[record.id]} too")
        first.setdefault(record.id, place)
    if faults:
        raise TrainingError(told(faults))
