"""The answers of one part, in the form that was asked for: a file, or for brat a folder, that appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from drlongformer.offline import disk, note_nlp
from drlongformer.offline.asked import Ask, Written
from drlongformer.offline.outcomes import Outcome
from drlongformer.offline.shapes import Shape, shape
from drlongformer.tasks import brat

METADATA = b"drlongformer"
"""The key of a Parquet file's metadata under which model, task and options stand, as JSON."""
MAX_NAME_BYTES = 200


class Writer(Protocol):
    """suffix: of a part's file, empty for a folder."""

    @property
    def suffix(self) -> str: ...  # noqa: D102 - told of above

    def refusal(self, id_: str | None) -> str:
        """Why a document of this id cannot be written; empty where it can."""
        ...

    def write(self, path: Path, answered: Sequence[Outcome], rows_before: int) -> int:
        """Write the answered documents of a part and return its rows. Raises RunError."""
        ...


def writer(ask: Ask, told: Mapping[str, Any]) -> Writer:
    """The writer of the form that was asked for; told: what files say of themselves, where they can."""
    written, form = ask.written, ask.written.format
    if form in ("note-nlp", "note-nlp-csv"):
        model = told["model"]
        system = f"{model['name']}:{model['version']} {model['sha256']}"
        return NoteNlp(suffix=".csv" if form == "note-nlp-csv" else ".parquet", system=system, written=written, told=told)
    if form == "brat":
        return Brat()
    shaped = shape(ask)
    return JsonLines(shape=shaped) if form == "jsonl" else Parquet(shape=shaped, told=told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parquet:
    """Tables."""

    shape: Shape
    told: Mapping[str, Any]
    suffix: str = ".parquet"

    def refusal(self, id_: str | None) -> str:  # noqa: ARG002 - every id can be written
        """Never."""
        return ""

    def write(self, path: Path, answered: Sequence[Outcome], rows_before: int) -> int:  # noqa: ARG002 - rows have no numbers
        """A table with model and options in its metadata."""
        table = self.shape.table(answered)
        space = getattr(answered[0].answer, "space", None)
        told = dict(self.told) | ({"embedding_space": space} if space else {})
        with disk.replacing(path) as file:
            write_table(table, file, told)
        return int(table.num_rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLines:
    """A line a document, in the words of the HTTP contract."""

    shape: Shape
    suffix: str = ".jsonl"

    def refusal(self, id_: str | None) -> str:  # noqa: ARG002 - every id can be written
        """Never."""
        return ""

    def write(self, path: Path, answered: Sequence[Outcome], rows_before: int) -> int:  # noqa: ARG002 - rows have no numbers
        """One JSON object a line."""
        with disk.replacing(path) as file:
            for one in answered:
                file.write(json.dumps(self._line(one), ensure_ascii=False).encode() + b"\n")
        return len(answered)

    def _line(self, one: Outcome) -> dict[str, Any]:
        assert one.result is not None
        counts = {"tokens": one.result.tokens, "windows": one.result.windows, "truncated": one.result.truncated}
        if one.result.truncated:
            counts["tokens_read"] = one.result.tokens_read
        return {"record": one.number, "id": one.id} | counts | self.shape.fields(one)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brat:
    """A folder of texts, each with its annotations beside it, named by the document's id, quoted where it fits no file name."""

    suffix: str = ""

    def refusal(self, id_: str | None) -> str:  # noqa: ARG002 - every id can be quoted
        """Never."""
        return ""

    def write(self, path: Path, answered: Sequence[Outcome], rows_before: int) -> int:  # noqa: ARG002 - rows have no numbers
        """`name.txt` and `name.ann` for each document."""
        entities, taken = 0, set[str]()
        with disk.replacing_folder(path) as folder:
            for one in answered:
                name = _file_name(one, taken)
                (folder / f"{name}.txt").write_bytes(one.document.encode())
                found = one.answer.entities
                (folder / f"{name}.ann").write_bytes(brat.standoff(one.document, found).encode())
                entities += len(found)
        return entities


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteNlp:
    """Rows of OMOP's table, as Parquet or as CSV; their ids count on from part to part."""

    suffix: str
    system: str
    written: Written
    told: Mapping[str, Any]

    def refusal(self, id_: str | None) -> str:
        """A `note_id` is a whole number."""
        return "" if note_nlp.is_note_id(id_) else "NOTE_NLP needs an id that is a whole number (note_id), and this is none"

    def write(self, path: Path, answered: Sequence[Outcome], rows_before: int) -> int:
        """The rows of the part's entities."""
        table = note_nlp.table(
            answered,
            first_id=self.written.first_id + rows_before,
            system=self.system,
            now=datetime.now(UTC),
            text=self.written.text,
        )
        with disk.replacing(path) as file:
            if self.suffix == ".csv":
                pyarrow.csv.write_csv(table, file)
            else:
                write_table(table, file, self.told)
        return int(table.num_rows)


def write_table(table: pa.Table, file: BinaryIO, told: Mapping[str, Any]) -> None:
    """Write a table with what it says of itself."""
    metadata = {METADATA: json.dumps(told, ensure_ascii=False).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), file, compression="zstd")


def _file_name(one: Outcome, taken: set[str]) -> str:
    """A name that no other document of the part has; the id quoted, or the record's number where that is too long."""
    name = quote(one.name, safe=" ")
    if not name.strip(". ") or len(name) > MAX_NAME_BYTES:
        name = str(one.number)
    if name.lower() in taken:
        name = f"{name}~{one.number}"
    taken.add(name.lower())
    return name
