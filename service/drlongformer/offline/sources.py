"""Which files are read, in what order and as what: files and folders as they are named, standard input as `-`.

A folder holds documents as `.txt` files, or the parts of a table (`.jsonl`, `.csv`, `.tsv`, `.parquet`), and not both. Files
come in the order of their names, so that two runs see the same records in the same order. Links are not followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drlongformer.errors import RunError

Form = Literal["jsonl", "csv", "parquet", "text"]
FORMS: tuple[Form, ...] = ("jsonl", "csv", "parquet", "text")

STDIN = "-"
ZIPPED = ".gz"
SUFFIXES: Mapping[str, Form] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file, or one folder of texts (as a whole). path: None for standard input. size: bytes, 0 where nobody knows."""

    path: Path | None
    name: str
    form: Form
    size: int

    @property
    def zipped(self) -> bool:
        """Whether it is packed by gzip."""
        return self.name.endswith(ZIPPED)


def find(inputs: Sequence[str], form: Form | None = None) -> tuple[Source, ...]:
    """The sources of these inputs, in order; `form` is for those whose names do not tell. Raises RunError."""
    if list(inputs).count(STDIN) > 1:
        raise RunError("standard input can be read once")
    return tuple(source for name in inputs for source in _sources(name, form))


def text_files(folder: Path) -> Iterator[Path]:
    """The texts below a folder, folder by folder, in the order of their names."""
    with os.scandir(folder) as entries:
        known = sorted(entries, key=lambda entry: entry.name)
    for entry in known:
        if entry.is_dir(follow_symlinks=False):
            yield from text_files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False) and _form(entry.name) == "text":
            yield Path(entry.path)


def shown(path: Path) -> str:
    r"""A path in words that can be written: bytes of a name that are not UTF-8 as `\xe9`."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def _sources(name: str, form: Form | None) -> Iterator[Source]:
    path = Path(name)
    if name == STDIN:
        if form not in (None, "jsonl", "csv"):
            raise RunError(f"standard input is read as jsonl or csv, not as {form}")
        yield Source(path=None, name="standard input", form=form or "jsonl", size=0)
    elif path.is_dir():
        yield from _folder(path, form)
    elif path.is_file():
        known = form or _form(path.name)
        if known is None:
            raise RunError(f"{shown(path)}: its name does not tell what it is; say --input-format {'|'.join(FORMS)}")
        yield Source(path=path, name=shown(path), form=known, size=path.stat().st_size)
    else:
        raise RunError(f"there is no file or folder {shown(path)}")


def _folder(folder: Path, form: Form | None) -> Iterator[Source]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith((".", "_")))
    there = {known for file in files if (known := _form(file.name)) is not None}
    if form is None and len(there) > 1:
        raise RunError(f"{shown(folder)} holds {' and '.join(sorted(there))}; say with --input-format which to read")
    wanted: Form = next(iter(there), "text") if form is None else form
    if wanted != "text":
        chosen = [file for file in files if _form(file.name) == wanted]
        yield from (Source(path=file, name=shown(file), form=wanted, size=file.stat().st_size) for file in chosen)
        if not chosen:
            raise RunError(f"{shown(folder)} holds no file to read as {wanted}")
        return
    sizes = [file.stat().st_size for file in text_files(folder)]
    if not sizes:
        raise RunError(f"{shown(folder)} holds no file to read: .txt, .jsonl, .csv, .tsv, .parquet (in sub-folders .txt alone)")
    yield Source(path=folder, name=shown(folder), form="text", size=sum(sizes))


def _form(name: str) -> Form | None:
    return SUFFIXES.get(Path(name.removesuffix(ZIPPED)).suffix.lower())
