"""The data folder read by policy, and the corpus: raw text as token shards, memory-mapped.

A data folder holds `MANIFEST.json` (per set: policy, licence, files with sha256) and `<set>/<split>.jsonl`. A set whose policy
was not asked for is refused, and so is a file that differs from its checksum. A corpus is a folder as `shards.py` draws it;
texts are tokenised by the code that serves, so special strings are ordinary text and words are those of the service.

Shapes: D documents, T tokens of one document.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from drlongformer.errors import TrainingError
from drlongformer.text.runs import runs
from drlongformer.text.words import BoolArray
from drlongformer.training import disk
from drlongformer.training.shards import (
    BEGINS_WORD,
    DESCRIPTION,
    NO_LABEL,
    SHARD_TOKENS,
    TOKEN_TYPE,
    VERSION,
    FileEntry,
    Writer,
)
from drlongformer.training.tokenizer import as_served, digest
from drlongformer.types import Encoded, IntArray, Rule

BATCH_DOCUMENTS = 256
BATCH_CHARACTERS = 1_000_000


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
                yield RawDocument(text=record["text"], label=only(record["labels"]) if name == labelled else None)


def only(labels: Sequence[str]) -> str:
    """The one class of a text; raises TrainingError where it has none or several."""
    if len(labels) != 1:
        raise TrainingError(f"{len(labels)} labels on a text where one class was expected")
    return labels[0]


class Corpus:
    """Documents as content tokens, memory-mapped; `labels` `[D]` holds class numbers or NO_LABEL.

    tokenizer: the digest of the tokenizer that made it (`tokenizer.digest`). normalisation: what was put right in texts before.
    digest: tells corpora of other content apart.
    """

    def __init__(self, folder: Path, *, verify: bool = True) -> None:
        """Open a finished corpus; raises TrainingError naming any file that is absent or corrupt.

        Sizes are always checked; `verify` reads every file once against its SHA-256, about a second per gigabyte.
        """
        self.folder = folder
        if not (folder / DESCRIPTION).is_file():
            raise TrainingError(f"{folder} holds no finished corpus: it has no {DESCRIPTION}")
        described = disk.read_json(folder / DESCRIPTION)
        if described.get("version") != VERSION:
            raise TrainingError(f"{folder / DESCRIPTION} is not of version {VERSION}: write the corpus again")
        entries = [FileEntry(**entry) for entry in (described["index"], *described["shards"])]
        for entry in entries:
            entry.check(folder, content=verify)
        self.label_names: tuple[str, ...] = tuple(described["labels"])
        self.tokenizer: str = described["tokenizer"]
        self.normalisation: tuple[Rule, ...] = tuple(described.get("normalisation", ()))
        self.digest = hashlib.sha256("".join(entry.sha256 for entry in entries).encode()).hexdigest()
        self._shard, self._start, self.lengths, self.labels = np.load(folder / entries[0].file).T.astype(np.int64)
        self._shards: list[NDArray[np.uint32]] = [
            np.memmap(folder / entry.file, dtype=TOKEN_TYPE, mode="r") for entry in entries[1:]
        ]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Content tokens of all documents."""
        return int(self.lengths.sum())

    def read(self, document: int, start: int, stop: int) -> IntArray:
        """Content tokens `start:stop` of a document."""
        return (self._stored(document, start, stop) & (BEGINS_WORD - 1)).astype(np.int64)

    def starts(self, document: int, start: int, stop: int) -> BoolArray:
        """Which of the content tokens `start:stop` of a document begin a word of the text."""
        return self._stored(document, start, stop) >= BEGINS_WORD

    def _stored(self, document: int, start: int, stop: int) -> NDArray[np.uint32]:
        if not 0 <= start <= stop <= self.lengths[document]:
            raise TrainingError(f"tokens {start}:{stop} of document {document}, which has {self.lengths[document]}")
        first = self._start[document]
        stored: NDArray[np.uint32] = self._shards[self._shard[document]][first + start : first + stop]
        return stored


def write(
    folder: Path,
    documents: Iterable[RawDocument],
    tokenizer: tokenizers.Tokenizer,
    *,
    labels: Sequence[str] = (),
    normalisation: tuple[Rule, ...] = (),
    shard_tokens: int = SHARD_TOKENS,
) -> Corpus:
    """Tokenise documents into shards and read the result back; texts without a single token are left out.

    normalisation: what is put right in texts before they are tokenised.
    """
    number = {label: index for index, label in enumerate(labels)}
    served = as_served(tokenizer, normalisation=normalisation)
    with Writer(folder, shard_tokens=shard_tokens) as writer:
        for batch in batches(documents):
            for document, encoded in zip(batch, served.encode_batch([one.text for one in batch]), strict=True):
                if len(encoded):
                    label = NO_LABEL if document.label is None else number[document.label]
                    writer.append(encoded.ids, word_starts(encoded), label=label)
        writer.finish(labels=labels, tokenizer=digest(tokenizer), normalisation=normalisation)
    return Corpus(folder)


def batches(documents: Iterable[RawDocument]) -> Iterator[list[RawDocument]]:
    """Runs of documents to tokenise together."""
    return runs(documents, lambda one: len(one.text), most=BATCH_DOCUMENTS, most_characters=BATCH_CHARACTERS)


def word_starts(encoded: Encoded) -> BoolArray:
    """Which tokens `[T]` begin a word; the first always does.

    words   0 0 1 2 2      starts   1 0 1 1 0
    """
    return np.diff(encoded.words, prepend=-1) > 0
