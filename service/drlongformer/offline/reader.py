"""Records out of files of every form, one after the other, in bounded memory; what is wrong with one stops none of the others.

JSON lines, CSV (quoted line ends and all), Parquet (by row batches), folders of `.txt`; lines, tables and texts may be packed
by gzip. A fault of a whole file (no such column, no Parquet) is a RunError, a fault of one record a `BadRecord` in its place.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from drlongformer.errors import RunError
from drlongformer.offline.columns import Chosen, Columns, from_json
from drlongformer.offline.encodings import AUTO, UTF8, decoded, detect, worded
from drlongformer.offline.records import BadRecord, Found, Place
from drlongformer.offline.sources import Source, shown, text_files

MAX_RECORD_CHARACTERS: Final = 1 << 24
"""Characters of one line or field: a quotation mark that is never closed must not take the whole file into memory."""
BATCH_ROWS: Final = 256
DELIMITERS: Final = (",", ";", "\t", "|")
NONE: Final = "\ud800"
"""The delimiter of tables of one column, where nothing tells which signs are part of the text: one that no encoding has."""
END: Final = "\ud801"
"""A last line that no encoding has: inside a quotation, it shows that this was never closed."""
TEXT_SUFFIX: Final = re.compile(r"(\.txt)?(\.gz)?\Z", re.IGNORECASE)
FILE: Final = Chosen(kind="document", texts={"text": "text"}, options={}, id="id")
"""What a file that is a document has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How files are read. delimiter: None finds the one under which a table has the wanted columns."""

    columns: Columns = field(default_factory=Columns)
    encoding: str = AUTO
    delimiter: str | None = None


class Reader:
    """An iterator over the records of sources. consumed: bytes read so far; encodings: files by how they were read."""

    def __init__(self, sources: Sequence[Source], manner: Manner) -> None:
        self.sources = tuple(sources)
        self.manner = manner
        self.consumed = 0
        self.encodings: Counter[str] = Counter()
        self.total = sum(source.size for source in sources)

    def __iter__(self) -> Generator[Found, None, None]:
        """Raises RunError for a file that cannot be read at all."""
        for source in self.sources:
            before = self.consumed
            with _told(source):
                yield from self._records(source)
            self.consumed = before + source.size

    def _records(self, source: Source) -> Iterator[Found]:
        if source.form == "parquet":
            return self._rows(source)
        if source.form == "text":
            return self._texts(source)
        return self._lines(source) if source.form == "jsonl" else self._table(source)

    def _lines(self, source: Source) -> Iterator[Found]:
        with self._opened(source, newline="\n") as file:
            number = 0
            while line := file.readline(MAX_RECORD_CHARACTERS):
                number += 1
                place = Place(file=source.name, unit="line", at=number)
                if len(line) == MAX_RECORD_CHARACTERS and not line.endswith("\n"):
                    while (rest := file.readline(MAX_RECORD_CHARACTERS)) and not rest.endswith("\n"):
                        pass
                    yield BadRecord(place=place, reason=f"a line of {MAX_RECORD_CHARACTERS} characters and more")
                elif not line.isspace():
                    yield from_json(place, line, self.manner.columns)

    def _table(self, source: Source) -> Iterator[Found]:
        csv.field_size_limit(MAX_RECORD_CHARACTERS)
        with self._opened(source, newline="") as file:
            head = file.readline(MAX_RECORD_CHARACTERS)
            names, delimiter = self._header(source, head)
            chosen = self.manner.columns.among(names)
            if isinstance(chosen, str):
                raise RunError(f"{source.name}: {chosen}; its first line must name them, --delimiter says what separates them")
            at = {name: names.index(name) for name in chosen.fields}
            lines = chain(iter(lambda: file.readline(MAX_RECORD_CHARACTERS), ""), [END])
            rows, line = csv.reader(lines, delimiter=delimiter), 1
            while True:
                place = Place(file=source.name, unit="line", at=line + 1)
                try:
                    row = next(rows)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield BadRecord(place=place, reason=f"not a row of CSV: {error}")
                    continue
                finally:
                    line = 1 + rows.line_num
                if row and row[-1].endswith(END):
                    if row != [END]:
                        yield BadRecord(place=place, reason="a quotation mark that is never closed takes everything behind it")
                elif len(row) == len(names):
                    yield chosen.record(place, partial(_cell, row, at))
                elif row:
                    yield BadRecord(place=place, reason=f"{len(row)} fields where the first line has {len(names)}")

    def _header(self, source: Source, head: str) -> tuple[list[str], str]:
        """The names of a table's first line, and what separates them."""
        if not head:
            raise RunError(f"{source.name} is empty: a table has a line of names")
        given = self.manner.delimiter or ("\t" if ".tsv" in Path(source.name).suffixes else None)
        tried = {delimiter: next(csv.reader([head], delimiter=delimiter)) for delimiter in ([given] if given else DELIMITERS)}
        for delimiter, names in tried.items():
            if not isinstance(self.manner.columns.among(names), str):
                return names, delimiter if given or len(names) > 1 else NONE
        delimiter, names = max(tried.items(), key=lambda item: len(item[1]))
        return names, delimiter

    def _rows(self, source: Source) -> Iterator[Found]:
        assert source.path is not None
        before = self.consumed
        with pq.ParquetFile(source.path) as file:
            schema = file.schema_arrow
            chosen = self.manner.columns.among(schema.names)
            if isinstance(chosen, str):
                raise RunError(f"{source.name}: {chosen}; it has {', '.join(schema.names[:30])}")
            row, total = 0, max(1, file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(chosen.fields)):
                for in_batch in range(batch.num_rows):
                    row += 1
                    yield chosen.record(Place(file=source.name, unit="row", at=row), partial(_value, batch, in_batch))
                self.consumed = before + source.size * row // total

    def _texts(self, source: Source) -> Iterator[Found]:
        assert source.path is not None
        if (kind := self.manner.columns.kind) != "document":
            raise RunError(f"{source.name} holds texts, each a document; a {kind} is read from JSON lines or a table")
        if source.path.is_file():
            yield self._text(source.path, source.name, shown(Path(source.path.name)))
            return
        for path in text_files(source.path):
            below = shown(path.relative_to(source.path))
            yield self._text(path, f"{source.name}/{below}", below)
            self.consumed += path.stat().st_size

    def _text(self, path: Path, name: str, id_: str) -> Found:
        """A file as one document, whose id is its name without `.txt`."""
        place = Place(file=name)
        with gzip.open(path) if name.endswith(".gz") else path.open("rb") as file:
            content = file.read(4 * MAX_RECORD_CHARACTERS + 1)
        if len(content) > 4 * MAX_RECORD_CHARACTERS:
            return BadRecord(place=place, reason=f"more than {4 * MAX_RECORD_CHARACTERS} bytes")
        encoding: str | None = self.manner.encoding
        if encoding == AUTO:
            encoding = detect(io.BytesIO(content)).encoding
        if encoding is None:
            return BadRecord(place=place, reason="its encoding cannot be told; --encoding names it")
        self.encodings[worded(encoding)] += 1
        values = {"text": decoded(content, encoding), "id": TEXT_SUFFIX.sub("", id_)}
        return FILE.record(place, values.__getitem__)

    @contextmanager
    def _opened(self, source: Source, *, newline: str) -> Iterator[TextIO]:
        """A file as text, whose bytes are counted as they are read. Raises RunError where its encoding cannot be told."""
        encoding = self._encoding(source)
        self.encodings[worded(encoding)] += 1
        raw: BinaryIO = sys.stdin.buffer if source.path is None else source.path.open("rb")
        try:
            counted = io.BufferedReader(_Counted(raw, self), buffer_size=1 << 20)
            unzipped: Any = gzip.GzipFile(fileobj=counted) if source.zipped else counted
            yield io.TextIOWrapper(unzipped, encoding=encoding, errors="surrogateescape", newline=newline)
        finally:
            if source.path is not None:
                raw.close()

    def _encoding(self, source: Source) -> str:
        if self.manner.encoding != AUTO:
            return self.manner.encoding
        if source.path is None:  # what is read once cannot be looked at before
            return UTF8
        with gzip.open(source.path) if source.zipped else source.path.open("rb") as file:
            is_json = source.form == "jsonl"
            found = detect(file, json_lines=is_json)  # type: ignore[arg-type]  # a GzipFile reads as any binary file does
        if found.encoding is None:
            raise RunError(f"{source.name} is not UTF-8 (byte {found.bad_byte}), and what it is cannot be told; say --encoding")
        return found.encoding


class _Counted(io.RawIOBase):
    """A binary file that tells its reader how many bytes went through."""

    def __init__(self, raw: BinaryIO, reader: Reader) -> None:
        self._raw = raw
        self._reader = reader

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there is something."""
        content = self._raw.read(len(buffer))
        buffer[: len(content)] = content
        self._reader.consumed += len(content)
        return len(content)


@contextmanager
def _told(source: Source) -> Iterator[None]:
    """What breaks a whole file, as a RunError that names it."""
    try:
        yield
    except pa.ArrowInvalid as error:
        raise RunError(f"{source.name} is no Parquet file that can be read") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise RunError(f"{source.name} is packed, and cannot be unpacked to its end") from error
    except (OSError, pa.ArrowException) as error:
        told = getattr(error, "strerror", None) or type(error).__name__
        raise RunError(f"{source.name} cannot be read: {told}") from error


def _cell(row: Sequence[str], at: Mapping[str, int], name: str) -> str:
    return row[at[name]]


def _value(batch: pa.RecordBatch, row: int, name: str) -> Any:
    try:
        return batch.column(name)[row].as_py()
    except UnicodeDecodeError as error:
        return error  # told as a value of the wrong kind
