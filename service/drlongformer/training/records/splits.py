"""Train, dev and test: every label in each in its share, and nothing in two of them.

What must stay together is a *unit*: the records of one group (`--group-by patient`), and records with the same text. Units are
dealt out by iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011: "On the stratification of multi-label data"):
the rarest label first, each unit to the part that still lacks most of it. With one label a text that is the usual stratified
split; for entities the spans are counted, for pairs the thirds of the scores, for choices the number of right answers.

Shapes: D records, U units, L labels and, last, one column of records, P parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drlongformer.errors import TrainingError
from drlongformer.training.records.record import ChoiceRecord, PairRecord, Record, SpanRecord, TextRecord, labels_of
from drlongformer.types import IntArray

Counts = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Places of the records of each part, in their order; no record is in two."""

    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training of a cross-validation: which seed, which fold is tested, and what is trained on."""

    seed: int
    fold: int
    split: Split


def split(records: Sequence[Record], *, dev: float = 0.15, test: float = 0.15, seed: int = 0) -> Split:
    """Shares of the records for dev and test, the rest for training; raises TrainingError where units are fewer than parts."""
    if dev < 0 or test < 0 or dev + test >= 1:
        raise TrainingError(f"shares {dev} for dev and {test} for test leave nothing to train on")
    units = units_of(records)
    part = _deal(records, units, (1 - dev - test, dev, test), seed)
    return Split(train=_places(part == 0), dev=_places(part == 1), test=_places(part == 2))


def folds(records: Sequence[Record], *, count: int = 5, dev: float = 0.15, seed: int = 0) -> tuple[Split, ...]:
    """Splits in which each record is tested once; `dev` is a share of what a fold does not test.

    Raises TrainingError for fewer than two folds, or fewer units than folds.
    """
    if count < 2:
        raise TrainingError(f"{count} folds; cross-validation needs 2")
    if not 0 <= dev < 1:
        raise TrainingError(f"a share of {dev} for dev leaves nothing to train on")
    units = units_of(records)
    fold = _deal(records, units, (1 / count,) * count, seed)
    return tuple(_fold(records, fold == number, dev, seed) for number in range(count))


def _fold(records: Sequence[Record], tested: NDArray[np.bool_], dev: float, seed: int) -> Split:
    others = np.flatnonzero(~tested)
    left = [records[place] for place in others.tolist()]
    part = _deal(left, units_of(left), (1 - dev, dev), seed)
    return Split(
        train=tuple(others[part == 0].tolist()),
        dev=tuple(others[part == 1].tolist()),
        test=tuple(np.flatnonzero(tested).tolist()),
    )


def trials(records: Sequence[Record], *, count: int, seeds: Sequence[int], dev: float = 0.15) -> Iterator[Trial]:
    """Every fold for every seed; each seed deals the folds anew."""
    for seed in seeds:
        for number, one in enumerate(folds(records, count=count, dev=dev, seed=seed)):
            yield Trial(seed=seed, fold=number, split=one)


def units_of(records: Sequence[Record]) -> IntArray:
    """The unit of each record `[D]`, numbered from 0: records that share a group or a text are in one."""
    unit = list(range(len(records)))

    def root(place: int) -> int:
        while unit[place] != place:
            unit[place] = unit[unit[place]]
            place = unit[place]
        return place

    first: dict[tuple[str, ...], int] = {}
    for place, record in enumerate(records):
        keys = [("text", *words(record))] + ([("group", record.group)] if record.group is not None else [])
        for key in keys:
            unit[root(first.setdefault(key, place))] = root(place)
    roots = [root(place) for place in range(len(records))]
    number = {one: at for at, one in enumerate(dict.fromkeys(roots))}
    return np.array([number[one] for one in roots], dtype=np.int64)


def words(record: Record) -> tuple[str, ...]:
    """The words of a record's text or texts: what two copies have in common, however their lines are broken."""
    match record:
        case TextRecord() | SpanRecord():
            return tuple(record.text.split())
        case PairRecord():
            return (*record.first.split(), "", *record.second.split())
        case ChoiceRecord():
            return (*(record.context or "").split(), "", *record.question.split())


def label_counts(records: Sequence[Record]) -> Counts:
    """How often each record has each label `[D, L]`; see the module for what counts as one."""
    if records and isinstance(records[0], PairRecord):
        scores = np.array([record.score for record in records if isinstance(record, PairRecord)])
        third = np.searchsorted(np.quantile(scores, (1 / 3, 2 / 3)), scores)
        return np.eye(3)[third]
    counted = [Counter(_labels(record)) for record in records]
    labels = sorted({label for one in counted for label in one})
    return np.array([[one[label] for label in labels] for one in counted], dtype=np.float64).reshape(len(records), len(labels))


def _labels(record: Record) -> tuple[str, ...]:
    return (str(len(record.answers)),) if isinstance(record, ChoiceRecord) else labels_of(record)


def _deal(records: Sequence[Record], units: IntArray, shares: Sequence[float], seed: int) -> IntArray:
    """The part of each record `[D]`; raises TrainingError where a part that has a share would stay empty."""
    wanted = sum(share > 0 for share in shares)
    found = int(units.max()) + 1 if len(units) else 0
    if found < wanted:
        raise TrainingError(f"{found} groups of records cannot fill {wanted} parts")
    counts = np.zeros((found, label_counts(records).shape[1] + 1))
    np.add.at(counts, units, np.concatenate([label_counts(records), np.ones((len(records), 1))], axis=1))
    part = stratified(counts, shares, np.random.default_rng(seed))
    _fill(part, counts[:, -1], shares)
    return part[units]


def stratified(counts: Counts, shares: Sequence[float], random: np.random.Generator) -> IntArray:
    """The part of each unit `[U]` from how often it has each label, records last: `counts` `[U, L + 1]`."""
    lacking = np.outer(shares, counts.sum(axis=0))  # [P, L + 1]
    part = np.full(len(counts), -1, dtype=np.int64)
    order = random.permutation(len(counts))
    open_parts = np.asarray(shares) > 0
    while (left := order[part[order] < 0]).size:
        totals = counts[left].sum(axis=0)
        label = int(np.argmin(np.where(totals > 0, totals, np.inf)))
        having = left[counts[left, label] > 0]
        for unit in having[np.argsort(-counts[having, label], kind="stable")]:
            # most lacking of this label, then most lacking of records, then by chance
            rank = np.lexsort((random.random(len(shares)), -lacking[:, -1], -lacking[:, label], ~open_parts))
            part[unit] = rank[0]
            lacking[rank[0]] -= counts[unit]
    return part


def _fill(part: IntArray, sizes: Counts, shares: Sequence[float]) -> None:
    """Give every part with a share at least one unit: the smallest of the part that has most units."""
    for empty in (number for number, share in enumerate(shares) if share > 0 and not (part == number).any()):
        richest = np.bincount(part, minlength=len(shares)).argmax()
        theirs = np.flatnonzero(part == richest)
        part[theirs[sizes[theirs].argmin()]] = empty


def _places(chosen: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(np.flatnonzero(chosen).tolist())
