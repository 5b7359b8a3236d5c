"""What an archive is like, told before anything is spent on it: in figures and places, never in words of a text.

One pass over the records, in bounded memory but for eight bytes a document for each of id, text and tokens. Lengths in tokens
are those of the model that will read the texts, and so are its windows.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import numpy as np

from drlongformer.errors import MalformedBody, RunError
from drlongformer.offline.reader import Reader
from drlongformer.offline.records import BadRecord, Found, Record
from drlongformer.offline.symptoms import DIGITS, symptoms
from drlongformer.serving.metrics import LENGTHS, length_class
from drlongformer.text.windows import SPECIALS, plan
from drlongformer.text.words import check_surrogates
from drlongformer.types import IntArray

PLACES: Final = 5
"""So many places are told for each thing that is wrong."""
SHARE: Final = 0.05
LEAST_SHARING: Final = 5
"""An edge line that so many documents share, and at least this many, is a common header or footer."""
EDGES: Final = 100_000
"""Forms of edge lines that are counted at a time; rare ones are forgotten past it (Misra and Gries, 1982)."""
TEXTS_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A model's way of counting. tokens: of each text, special ones of one window included. The rest are its limits."""

    tokens: Callable[[list[str]], list[int]]
    max_tokens: int
    overlap: int
    max_windows: int
    max_characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quartiles:
    """Least, median, 95th percentile, greatest, and sum."""

    least: int
    median: int
    p95: int
    greatest: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that is wrong with so many records, and where the first of them are."""

    records: int
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was found. lengths: documents by class of tokens; windows: by how many they take.

    duplicates, duplicate_ids: records beyond the first of their kind. shared_edges: documents that begin or end with a line
    that many others have there too.
    """

    files: int
    bytes: int
    encodings: Mapping[str, int]
    records: int
    bad: Mapping[str, Trouble]
    without_id: int
    duplicate_ids: int
    duplicates: int
    troubles: Mapping[str, Trouble]
    shared_edges: int
    characters: Quartiles | None
    tokens: Quartiles | None
    lengths: Mapping[str, int]
    windows: Mapping[str, int]
    too_many_windows: int

    @property
    def readable(self) -> bool:
        """Whether every record can be read, and asked of the model."""
        refused = self.troubles.keys() & {"empty", "over_max_characters"}
        return not self.bad and not refused and not self.too_many_windows


def check(reader: Reader, measure: Measure | None, tell: Callable[[int], None] = lambda _: None) -> Report:
    """Read everything; measure: None leaves tokens uncounted. tell: called with the bytes read. Raises RunError."""
    book = _Book(measure)
    for number, found in enumerate(reader):
        book.add(found)
        if number % 256 == 0:
            tell(reader.consumed)
    if not book.records:
        raise RunError("the input holds no record")
    return book.report(reader)


class _Book:
    """What is kept of the records."""

    def __init__(self, measure: Measure | None) -> None:
        self.records = 0
        self._measure = measure
        self._texts, self._ids = array("Q"), array("Q")
        self._characters, self._tokens = array("Q"), array("Q")
        self._bad: dict[str, _Noted] = {}
        self._troubles: dict[str, _Noted] = {}
        self._edges: Counter[int] = Counter()
        self._waiting: list[str] = []

    def add(self, found: Found) -> None:
        """Look at one record."""
        self.records += 1
        if isinstance(found, BadRecord):
            _note(self._bad, DIGITS.sub("#", found.reason), found, words=found.reason)
            return
        text = found.text
        assert isinstance(text, str)  # the reader of a check reads documents
        try:
            check_surrogates(text)
        except MalformedBody:
            _note(self._bad, "the text holds a lone surrogate", found)
            return
        self._characters.append(len(text))
        self._texts.append(_hash(text))
        if found.id is not None:
            self._ids.append(_hash(found.id))
        self._look(found, text)

    def report(self, reader: Reader) -> Report:
        """Everything that was found."""
        self._count_tokens()
        tokens = np.frombuffer(self._tokens, dtype=np.uint64).astype(np.int64)
        windows = Counter(self._windows(count) for count in tokens.tolist())
        lengths = Counter(length_class(count) for count in tokens.tolist())
        limit = self._measure.max_windows if self._measure else 0
        least = max(LEAST_SHARING, SHARE * len(self._texts))
        return Report(
            files=sum(reader.encodings.values()) or len(reader.sources),
            bytes=reader.total,
            encodings=dict(reader.encodings),
            records=self.records,
            bad=_told(self._bad),
            without_id=len(self._texts) - len(self._ids),
            duplicate_ids=_repeats(self._ids),
            duplicates=_repeats(self._texts),
            troubles=_told(self._troubles),
            shared_edges=max((count for count in self._edges.values() if count >= least), default=0),
            characters=_quartiles(np.frombuffer(self._characters, dtype=np.uint64).astype(np.int64)),
            tokens=_quartiles(tokens),
            lengths={name: lengths[name] for name in (*(f"le{edge}" for edge in LENGTHS), f"gt{LENGTHS[-1]}") if lengths[name]},
            windows={str(count): windows[count] for count in sorted(windows)},
            too_many_windows=sum(number for count, number in windows.items() if count > limit),
        )

    def _look(self, record: Record, text: str) -> None:
        seen, measure = symptoms(text), self._measure
        for name in ("empty", "mojibake", "wrapped", "hyphenated", "repeated"):
            if getattr(seen, name):
                _note(self._troubles, name, record)
        self._edges.update(seen.edges)
        if len(self._edges) > EDGES:
            self._edges = Counter({edge: count - 1 for edge, count in self._edges.items() if count > 1})
        if measure is None or seen.empty:
            return
        if len(text) > measure.max_characters:
            _note(self._troubles, "over_max_characters", record)
            return
        self._waiting.append(text)
        if len(self._waiting) == TEXTS_AT_ONCE:
            self._count_tokens()

    def _count_tokens(self) -> None:
        if self._waiting and self._measure is not None:
            self._tokens.extend(self._measure.tokens(self._waiting))
            self._waiting.clear()

    def _windows(self, tokens: int) -> int:
        """How many windows a document of so many tokens takes, special ones counted once."""
        assert self._measure is not None
        capacity = self._measure.max_tokens - SPECIALS
        return len(plan(max(1, tokens - SPECIALS), capacity=capacity, overlap=self._measure.overlap))


@dataclass(slots=True)
class _Noted:
    """Records with one trouble; words: how it was told of the first of them, alike: whether of all of them."""

    words: str
    alike: bool = True
    records: int = 0
    places: list[str] = field(default_factory=list)

    @property
    def told(self) -> str:
        return self.words if self.alike else f"{self.words} (the first; numbers differ)"


def _note(noted: dict[str, _Noted], name: str, found: Found, *, words: str = "") -> None:
    """Take note of a record; those of one name are told together, under the words of the first."""
    one = noted.setdefault(name, _Noted(words=words or name))
    one.alike &= one.words == (words or name)
    one.records += 1
    if len(one.places) < PLACES:
        one.places.append(str(found.place))


def _told(noted: Mapping[str, _Noted]) -> dict[str, Trouble]:
    return {one.told: Trouble(records=one.records, places=tuple(one.places)) for one in noted.values()}


def _repeats(hashes: array[int]) -> int:
    """How many are there beyond the first of each."""
    return len(hashes) - len(np.unique(np.frombuffer(hashes, dtype=np.uint64)))


def _quartiles(counts: IntArray) -> Quartiles | None:
    if not len(counts):
        return None
    least, median, p95, greatest = np.quantile(counts, (0, 0.5, 0.95, 1), method="higher").tolist()
    return Quartiles(least=least, median=median, p95=p95, greatest=greatest, total=int(counts.sum()))


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
