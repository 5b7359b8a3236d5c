"""The output folder: parts that appear whole, in order, so that after a kill it is known which records have their outcome.

    manifest.json                 what was asked, of what; at the end also what came of it, and every part
    documents/part-00000.parquet  one row a record: place, id, status, tokens, windows, fingerprint
    answers/part-00000.parquet    the answers (.jsonl, .csv, or a folder for brat), where there are any
    errors/part-00000.jsonl       a line a record that failed: its place and the reason, no text; only where there are any
    fingerprint.key               see `known.py`

A part is a run of successive records. Its row of `documents/` comes last, by a rename: that is the moment in which the part's
records have their outcome. What lies in the other folders without it is of a run that was killed, and is removed or replaced.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from drlongformer.errors import RunError
from drlongformer.offline import disk, known
from drlongformer.offline.outcomes import Outcome, Status
from drlongformer.offline.writer import METADATA, Writer, write_table

MANIFEST = "manifest.json"
LOCK = ".lock"
DOCUMENTS, ANSWERS, ERRORS = "documents", "answers", "errors"
FORMAT_VERSION = 1

LEDGER = pa.schema(
    [
        pa.field("record", pa.int64(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("file", pa.string(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("at", pa.int64()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("tokens", pa.int64()),
        pa.field("windows", pa.int64()),
        pa.field("truncated", pa.bool_()),
        pa.field("tokens_read", pa.int64()),
        pa.field("fingerprint", pa.binary(known.BYTES)),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEntry:
    """What a part says of itself: its number, its records from `first` on, rows of answers, records by status, tokens."""

    number: int
    first: int
    records: int
    rows: int
    statuses: Mapping[Status, int]
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """One record of a former part: its fingerprint, None where it could not be read, and whether its answer may be kept."""

    fingerprint: bytes | None
    settled: bool


class Output:
    """A folder in which one run at a time writes; open it with `start` or `resume`, and leave it as a context."""

    def __init__(self, folder: Path, asked: Mapping[str, Any], lock: int, key: bytes) -> None:
        self.folder = folder
        self.asked = asked
        self.key = key
        self.parts: list[PartEntry] = []
        self._lock = lock

    @classmethod
    def start(cls, folder: Path, asked: Mapping[str, Any], *, key: bytes | None = None) -> Self:
        """Begin in a new or empty folder; key: of a former output whose documents are known. Raises RunError."""
        with disk.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if any(entry.name not in (LOCK, known.KEY) and not _unfinished(entry) for entry in folder.iterdir()):
            raise RunError(f"{folder} is not empty; --resume goes on with a run that was stopped")
        output = cls(folder, asked, _locked(folder), key or known.new_key())
        known.write_key(folder, output.key)
        output._write_manifest({"state": "running"})  # from here on, a run that is killed can be gone on with
        output._make_folders()
        return output

    @classmethod
    def resume(cls, folder: Path, asked: Mapping[str, Any]) -> Self:
        """Go on with what was asked before, which must be the same. Raises RunError."""
        before = read_manifest(folder)["asked"]
        if changed := list(_changed(before, json.loads(json.dumps(asked)))):
            raise RunError(f"{folder} was begun otherwise, and --resume goes on with the same only: {'; '.join(changed)}")
        output = cls(folder, asked, _locked(folder), known.read_key(folder))
        output._make_folders()
        output.parts = list(entries(folder))
        for name in (ANSWERS, ERRORS):
            for path in (folder / name).iterdir():
                if _unfinished(path) or _number(path) >= len(output.parts):
                    disk.remove(path)
        return output

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    @property
    def records(self) -> int:
        """How many records have their outcome."""
        return sum(part.records for part in self.parts)

    @property
    def rows(self) -> int:
        """Rows of answers in all parts."""
        return sum(part.rows for part in self.parts)

    def commit(self, outcomes: Sequence[Outcome], writer: Writer) -> PartEntry:
        """Write the next part. Raises RunError, and then the parts before it are as they were."""
        number = len(self.parts)
        name = f"part-{number:05d}"
        answered = [one for one in outcomes if one.result is not None]
        failed = [one for one in outcomes if one.status == "failed"]
        rows = writer.write(self.folder / ANSWERS / f"{name}{writer.suffix}", answered, self.rows) if answered else 0
        if failed:
            with disk.replacing(self.folder / ERRORS / f"{name}.jsonl") as file:
                for one in failed:
                    file.write(json.dumps(_error(one), ensure_ascii=False).encode() + b"\n")
        entry = PartEntry(
            number=number,
            first=outcomes[0].number,
            records=len(outcomes),
            rows=rows,
            statuses=Counter(one.status for one in outcomes),
            tokens=sum(one.result.tokens_read for one in answered if one.result),
        )
        told = dict(self.asked) | {"part": _told(entry)}
        with disk.replacing(self.folder / DOCUMENTS / f"{name}.parquet") as file:
            write_table(_ledger(outcomes), file, told)
        self.parts.append(entry)
        return entry

    def committed(self) -> Iterator[Committed]:
        """Every record that has its outcome, in order."""
        return committed(self.folder)

    def finish(self, figures: Mapping[str, Any]) -> None:
        """Say that all records have their outcome. Raises RunError."""
        statuses = sum((Counter(part.statuses) for part in self.parts), Counter[Status]())
        totals: dict[str, int] = {"records": self.records, "tokens": sum(part.tokens for part in self.parts)}
        parts = [_told(part) for part in self.parts]
        self._write_manifest({"state": "complete", "totals": totals | dict(statuses), **figures, "parts": parts})

    def _make_folders(self) -> None:
        for name in (DOCUMENTS, ANSWERS, ERRORS):
            with disk.writing(self.folder / name):
                (self.folder / name).mkdir(exist_ok=True)

    def _write_manifest(self, state: Mapping[str, Any]) -> None:
        content = {"format_version": FORMAT_VERSION, "asked": self.asked} | dict(state)
        with disk.replacing(self.folder / MANIFEST) as file:
            file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a run wrote of itself. Raises RunError where there is none."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} is no output of a run: it has no {MANIFEST} that can be read") from error
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        raise RunError(f"{folder / MANIFEST} is not of version {FORMAT_VERSION}")
    return content


def entries(folder: Path) -> Iterator[PartEntry]:
    """The parts of an output, in order, up to the first that is not there. Raises RunError for one that cannot be read."""
    for path in _ledgers(folder):
        try:
            told = json.loads(pq.read_schema(path).metadata[METADATA])["part"]
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} cannot be read: the output was altered") from error
        yield PartEntry(**told)


def committed(folder: Path) -> Iterator[Committed]:
    """Every record of an output that has its outcome, in order."""
    for path in _ledgers(folder):
        table = pq.read_table(path, columns=["fingerprint", "status"])
        for fingerprint, status in zip(table["fingerprint"].to_pylist(), table["status"].to_pylist(), strict=True):
            yield Committed(fingerprint=fingerprint, settled=status != "failed")


def _ledgers(folder: Path) -> Iterator[Path]:
    number = 0
    while (path := folder / DOCUMENTS / f"part-{number:05d}.parquet").exists():
        yield path
        number += 1


def _ledger(outcomes: Sequence[Outcome]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "record": [one.number for one in outcomes],
        "id": [one.id for one in outcomes],
        "file": [one.place.file for one in outcomes],
        "unit": [one.place.unit for one in outcomes],
        "at": [one.place.at for one in outcomes],
        "status": [one.status for one in outcomes],
        "fingerprint": [one.fingerprint for one in outcomes],
    }
    for name in ("tokens", "windows", "truncated", "tokens_read"):
        columns[name] = [one.result and getattr(one.result, name) for one in outcomes]
    return pa.table(columns, schema=LEDGER)


def _error(one: Outcome) -> dict[str, Any]:
    place = {"file": one.place.file} | ({} if one.place.at is None else {one.place.unit: one.place.at})
    return {"record": one.number} | place | {"error": one.problem, "reason": one.reason}


def _told(entry: PartEntry) -> dict[str, Any]:
    names = ("number", "first", "records", "rows", "tokens")
    return {name: getattr(entry, name) for name in names} | {"statuses": dict(entry.statuses)}


def _locked(folder: Path) -> int:
    """Hold the folder for this process; the lock ends with it, however it ends."""
    with disk.writing(folder / LOCK):
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise RunError(f"another run is writing to {folder}") from error
    return lock


def _unfinished(path: Path) -> bool:
    return path.name.startswith(disk.UNFINISHED)


def _number(path: Path) -> int:
    """The number of a part's file or folder."""
    digits = path.name.removeprefix("part-").partition(".")[0]
    return int(digits) if digits.isdecimal() else 0


def _changed(before: Any, now: Any, place: str = "") -> Iterator[str]:
    """Where two trees of settings differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from _changed(before.get(name), now.get(name), f"{place}.{name}".removeprefix("."))
    elif before != now:
        yield f"{place} was {json.dumps(before, ensure_ascii=False)} and is {json.dumps(now, ensure_ascii=False)}"
