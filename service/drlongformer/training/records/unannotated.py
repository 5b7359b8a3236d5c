"""Texts nobody has annotated: lines of `{"id", "text"}`, a `.txt` file as one text, or a folder of such files."""

from __future__ import annotations

from pathlib import Path

from drlongformer.errors import TrainingError
from drlongformer.training.records import fields
from drlongformer.training.records.faults import Line, Place, decoded, each, lines
from drlongformer.training.records.reader import check_ids
from drlongformer.training.records.record import Record, TextRecord

TXT = ".txt"


def unannotated(path: Path, *, encoding: str = "utf-8") -> list[TextRecord]:
    """The texts of a file or folder, without labels; raises TrainingError that names file and line of each fault."""
    if not path.exists():
        raise TrainingError(f"{path} does not exist")
    read = _of_files(path, encoding) if path.is_dir() or path.suffix == TXT else _of_lines(path, encoding)
    if not read:
        raise TrainingError(f"{path} holds no text")
    placed: list[tuple[Place, Record]] = list(read)
    check_ids(placed)
    return [record for _, record in read]


def _of_files(path: Path, encoding: str) -> list[tuple[Place, TextRecord]]:
    folder = path if path.is_dir() else path.parent
    return each(
        ((Place(file=file, line=1), file) for file in (sorted(path.rglob(f"*{TXT}")) if path.is_dir() else [path])),
        lambda file: TextRecord(
            id=file.relative_to(folder).with_suffix("").as_posix(), text=decoded(file, encoding=encoding), labels=()
        ),
    )


def _of_lines(file: Path, encoding: str) -> list[tuple[Place, TextRecord]]:
    return each(((line.place, line) for line in lines(file, encoding=encoding)), _text)


def _text(line: Line) -> TextRecord:
    record = fields.mapping(fields.parsed(line.text))
    return TextRecord(id=fields.identity(record, line.place.line), text=fields.string(record, "text"), labels=())
