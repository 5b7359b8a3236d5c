"""Token shards on disk: documents one after the other, written so that an interrupted run goes on to the same bytes.

    tokens-00000.bin ...   uint32 little-endian: bits 0..30 the token, bit 31 whether the token begins a word
    index.npy              int64 [D, 4]: shard, start, length, label       (index.partial while the corpus grows)
    corpus.json            counts, labels, the tokenizer's digest, size and SHA-256 of every file; written last

A document lies whole in one shard. `commit` brings everything to the disk and tells what a later writer needs to go on; what
was written after the last commit is cut off then. Shapes: D documents, T tokens of one document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from drlongformer.errors import TrainingError
from drlongformer.text.words import BoolArray
from drlongformer.training import disk
from drlongformer.types import IntArray, Rule

VERSION = 2
TOKEN_TYPE = np.dtype("<u4")
ROW_TYPE = np.dtype("<i8")
ROW_BYTES = 4 * ROW_TYPE.itemsize
BEGINS_WORD = 1 << 31
NO_LABEL = -1
SHARD_TOKENS = 100_000_000
INDEX, PARTIAL_INDEX, DESCRIPTION = "index.npy", "index.partial", "corpus.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One finished file: its size in bytes and its SHA-256."""

    file: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """What is on disk now."""
        return cls(file=path.name, bytes=path.stat().st_size, sha256=disk.sha256(path))

    def check(self, folder: Path, *, content: bool) -> None:
        """Raises TrainingError naming the file where it is absent, of another size or, if asked, of other content."""
        path = folder / self.file
        if not path.is_file():
            raise TrainingError(f"{path} is missing")
        if (found := path.stat().st_size) != self.bytes:
            raise TrainingError(f"{path} is corrupt: {found} bytes, {self.bytes} were written")
        if content and disk.sha256(path) != self.sha256:
            raise TrainingError(f"{path} is corrupt: its content differs from its SHA-256 in {DESCRIPTION}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a commit made safe: finished shards, tokens in the open one, documents and tokens in all."""

    shards: tuple[FileEntry, ...] = ()
    filled: int = 0
    documents: int = 0
    tokens: int = 0

    @classmethod
    def of(cls, content: Any) -> Self:
        """Back from `asdict` and JSON."""
        return cls(**{**content, "shards": tuple(FileEntry(**entry) for entry in content["shards"])})


class Writer:
    """Appends documents to shards; a `written` state goes on where that commit stood."""

    def __init__(self, folder: Path, *, shard_tokens: int = SHARD_TOKENS, written: Written | None = None) -> None:
        """Open the folder; raises TrainingError where it holds less than `written` says."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._shard_tokens = folder, shard_tokens
        state = written or Written()
        self._shards, self._filled = list(state.shards), state.filled
        self._documents, self._tokens = state.documents, state.tokens
        for path in folder.glob("tokens-*.bin"):
            if path.name > shard_name(len(self._shards)):
                path.unlink()
        self._open = self._next_shard()
        try:
            self._rows = disk.Appending(folder / PARTIAL_INDEX, size=self._documents * ROW_BYTES)
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files as they are."""
        self._open.close()
        self._rows.close()

    def append(self, ids: IntArray, starts: BoolArray, *, label: int = NO_LABEL) -> None:
        """Write one document of T tokens; `starts` `[T]` tells which of them begin a word."""
        if self._filled and self._filled + len(ids) > self._shard_tokens:
            self._seal()
            self._open = self._next_shard()
        self._open.write((ids.astype(TOKEN_TYPE) | (starts.astype(TOKEN_TYPE) << 31)).tobytes())
        self._rows.write(np.array([len(self._shards), self._filled, len(ids), label], dtype=ROW_TYPE).tobytes())
        self._filled += len(ids)
        self._tokens += len(ids)
        self._documents += 1

    def commit(self) -> Written:
        """Bring everything to the disk; what is returned goes on from here."""
        self._open.sync()
        self._rows.sync()
        return Written(shards=tuple(self._shards), filled=self._filled, documents=self._documents, tokens=self._tokens)

    def finish(self, *, labels: Sequence[str], tokenizer: str, normalisation: Sequence[Rule] = ()) -> None:
        """Close the corpus: `labels` by number, `tokenizer` its digest, and what was put right in texts before it read them.

        Raises TrainingError where there is no document.
        """
        if not self._documents:
            raise TrainingError("a corpus needs at least one document with a token")
        self._seal()
        self._rows.sync()
        rows = np.memmap(self._folder / PARTIAL_INDEX, dtype=ROW_TYPE, mode="r", shape=(self._documents, 4))
        with disk.Appending(self._folder / INDEX) as index:
            np.lib.format.write_array(index, rows)  # all it needs is `write`
            index.sync()
        described = {
            "version": VERSION,
            "documents": self._documents,
            "tokens": self._tokens,
            "labels": list(labels),
            "tokenizer": tokenizer,
            "normalisation": list(normalisation),
            "index": asdict(FileEntry.of(self._folder / INDEX)),
            "shards": [asdict(shard) for shard in self._shards],
        }
        disk.replace_json(self._folder / DESCRIPTION, described)
        (self._folder / PARTIAL_INDEX).unlink()

    def _next_shard(self) -> disk.Appending:
        path = self._folder / shard_name(len(self._shards))
        return disk.Appending(path, size=self._filled * TOKEN_TYPE.itemsize)

    def _seal(self) -> None:
        self._open.sync()
        self._open.close()
        self._shards.append(FileEntry.of(self._open.path))
        self._filled = 0


def shard_name(shard: int) -> str:
    """File name of a shard."""
    return f"tokens-{shard:05d}.bin"
