"""The data folder read by policy, and raw text turned into token shards.

A data folder holds `MANIFEST.json` (per set: policy, licence, files with sha256) and `<set>/<split>.jsonl`. A set whose policy
was not asked for is refused, and so is a file that differs from its checksum. A corpus is `tokens-00000.bin` and so on
(content tokens, one document after the other), `index.npy` and `corpus.json`; shards are memory-mapped, never read whole.

Shapes: D documents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from drlongformer.errors import TrainingError
from drlongformer.types import IntArray

NO_LABEL = -1
SHARD_TOKENS = 100_000_000
ENCODE_BATCH = 256
SHARD_TYPE = np.dtype("<u4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a model card must say of one set that was read."""

    name: str
    policy: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDocument:
    """One text to learn from; `label` is its class where the set has one class per text."""

    text: str
    label: str | None = None


class DataFolder:
    """Sets of records, readable only where their policy is one of `policies`."""

    def __init__(self, folder: Path, *, policies: Sequence[str]) -> None:
        self.folder = folder
        self.policies = tuple(policies)
        manifest = folder / "MANIFEST.json"
        if not manifest.is_file():
            raise TrainingError(f"{folder} has no MANIFEST.json")
        self._sets: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))

    def source(self, name: str) -> Source:
        """The set's policy and licence; raises TrainingError for an unknown set or a policy that was not asked for."""
        if name not in self._sets:
            raise TrainingError(f"no set {name!r} in {self.folder}")
        policy = self._sets[name]["policy"]
        if policy not in self.policies:
            raise TrainingError(f"set {name!r} has policy {policy!r}, only {', '.join(self.policies)} may be read")
        return Source(name=name, policy=policy, licence=self._sets[name]["licence"])

    def records(self, name: str, split: str) -> Iterator[dict[str, Any]]:
        """Records of one split, in order; raises TrainingError where the split is absent or altered."""
        self.source(name)
        entry = self._sets[name]["files"].get(f"{split}.jsonl")
        if entry is None:
            raise TrainingError(f"set {name!r} has no split {split!r}")
        content = (self.folder / name / f"{split}.jsonl").read_bytes()
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise TrainingError(f"{name}/{split}.jsonl differs from its checksum in MANIFEST.json")
        for line in content.decode("utf-8").splitlines():
            yield json.loads(line)

    def documents(self, names: Iterable[str], split: str, *, labelled: str | None = None) -> Iterator[RawDocument]:
        """Texts of the sets, one after the other; those of the `labelled` set carry their class."""
        for name in names:
            for record in self.records(name, split):
                yield RawDocument(text=record["text"], label=_only(record["labels"]) if name == labelled else None)


def _only(labels: Sequence[str]) -> str:
    if len(labels) != 1:
        raise TrainingError(f"{len(labels)} labels on a text where one class was expected")
    return labels[0]


class Corpus:
    """Documents as content tokens, memory-mapped; `labels` `[D]` holds class numbers or NO_LABEL."""

    def __init__(self, folder: Path) -> None:
        described = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        self.label_names: tuple[str, ...] = tuple(described["labels"])
        index = np.load(folder / "index.npy")  # [D, 4]: shard, start, length, label
        self._shard, self._start, self.lengths, self.labels = index.T.astype(np.int64)
        self._shards: list[NDArray[np.uint32]] = [
            np.memmap(folder / _shard_name(shard), dtype=SHARD_TYPE, mode="r") for shard in range(described["shards"])
        ]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Content tokens of all documents."""
        return int(self.lengths.sum())

    def read(self, document: int, start: int, stop: int) -> IntArray:
        """Content tokens `start:stop` of a document."""
        first = self._start[document]
        ids: IntArray = self._shards[self._shard[document]][first + start : first + stop].astype(np.int64)
        return ids


def write(
    folder: Path,
    documents: Iterable[RawDocument],
    tokenizer: Tokenizer,
    *,
    labels: Sequence[str] = (),
    shard_tokens: int = SHARD_TOKENS,
) -> Corpus:
    """Tokenise documents into shards and read the result back; texts without a single token are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    number = {label: index for index, label in enumerate(labels)}
    rows: list[tuple[int, int, int, int]] = []
    shard, filled = 0, 0
    file = (folder / _shard_name(shard)).open("wb")
    for document, ids in _encoded(documents, tokenizer):
        if filled and filled + len(ids) > shard_tokens:
            file.close()
            shard, filled = shard + 1, 0
            file = (folder / _shard_name(shard)).open("wb")
        np.asarray(ids, dtype=SHARD_TYPE).tofile(file)
        rows.append((shard, filled, len(ids), NO_LABEL if document.label is None else number[document.label]))
        filled += len(ids)
    file.close()
    if not rows:
        raise TrainingError("a corpus needs at least one document with a token")
    np.save(folder / "index.npy", np.array(rows, dtype=np.int64))
    described = {"labels": list(labels), "shards": shard + 1, "documents": len(rows), "tokens": sum(row[2] for row in rows)}
    (folder / "corpus.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return Corpus(folder)


def _encoded(documents: Iterable[RawDocument], tokenizer: Tokenizer) -> Iterator[tuple[RawDocument, list[int]]]:
    waiting = iter(documents)
    while batch := list(islice(waiting, ENCODE_BATCH)):
        encodings = tokenizer.encode_batch([document.text for document in batch], add_special_tokens=False)
        yield from ((document, encoding.ids) for document, encoding in zip(batch, encodings, strict=True) if encoding.ids)


def _shard_name(shard: int) -> str:
    return f"tokens-{shard:05d}.bin"
