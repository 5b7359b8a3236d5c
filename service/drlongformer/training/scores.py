"""Scores from wanted and found answers: classification, entities, similarity; pure functions of plain values.

F1 is 0 where nothing was wanted and nothing found. Entities count when label, start and end all agree, as seqeval's strict
mode counts tags; here spans of characters are compared, so tokenisation cannot flatter the score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import spearmanr

from drlongformer.training.spans import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class F1:
    """Precision, recall and their harmonic mean; support is the number wanted."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """All labels counted together (micro), each by itself, and the plain mean of these (macro)."""

    micro: F1
    macro_f1: float
    by_label: Mapping[str, F1]


def label_scores(wanted: Sequence[Collection[str]], found: Sequence[Collection[str]]) -> Scores:
    """Labels of documents; with one label each, micro-F1 is the accuracy."""
    pairs = list(zip(wanted, found, strict=True))
    return _scores(
        wanted=Counter(label for labels, _ in pairs for label in labels),
        found=Counter(label for _, labels in pairs for label in labels),
        right=Counter(label for want, have in pairs for label in set(want) & set(have)),
    )


def span_scores(wanted: Sequence[Collection[Span]], found: Sequence[Collection[Span]]) -> Scores:
    """Entities of documents, exact spans and labels."""
    pairs = list(zip(wanted, found, strict=True))
    return _scores(
        wanted=Counter(span.label for spans, _ in pairs for span in spans),
        found=Counter(span.label for _, spans in pairs for span in spans),
        right=Counter(span.label for want, have in pairs for span in set(want) & set(have)),
    )


def spearman(wanted: Sequence[float], found: Sequence[float]) -> float:
    """Rank correlation, ties shared."""
    return float(spearmanr(wanted, found).statistic)


def _scores(*, wanted: Counter[str], found: Counter[str], right: Counter[str]) -> Scores:
    by_label = {label: _f1(wanted[label], found[label], right[label]) for label in sorted(wanted | found)}
    return Scores(
        micro=_f1(wanted.total(), found.total(), right.total()),
        macro_f1=sum(one.f1 for one in by_label.values()) / max(1, len(by_label)),
        by_label=by_label,
    )


def _f1(wanted: int, found: int, right: int) -> F1:
    return F1(
        precision=right / found if found else 0.0,
        recall=right / wanted if wanted else 0.0,
        f1=2 * right / (wanted + found) if wanted + found else 0.0,
        support=wanted,
    )
