"""Whether the card's answers are the CPU's: cosines of embeddings, and labels that changed though the CPU was sure of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from drlongformer.serving.engine import Engine, compute
from drlongformer.types import FloatArray, IntArray, WindowInput, WindowOutput

LEAST_COSINE = 0.9999
MARGIN = 0.01
"""Of probabilities: labels between which the CPU is less sure may change."""
LABELLED = ("topic", "tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exactness:
    """cosine: the lowest. changed: labels of another name. changed_for_sure: those where the CPU's margin was larger."""

    documents: int
    labels: int
    cosine: float
    changed: int
    changed_for_sure: int
    neighbours_change: float

    @property
    def holds(self) -> bool:
        """Whether the answers are the same within the stated tolerance."""
        return self.cosine >= LEAST_COSINE and not self.changed_for_sure


def compare(card: Engine, cpu: Engine, documents: Sequence[IntArray]) -> Exactness:
    """All documents packed on the card beside each one alone on the CPU, and alone on the card."""
    windows = [_everything(ids) for ids in documents]
    together = [_sound(answer) for answer in compute(card, windows, [None] * len(windows))]
    alone = [_sound(compute(card, [window], [None])[0]) for window in windows]
    wanted = [_sound(compute(cpu, [window], [None])[0]) for window in windows]
    pairs = [(got.rows[head], due.rows[head]) for got, due in zip(together, wanted, strict=True) for head in LABELLED]
    return Exactness(
        documents=len(documents),
        labels=sum(len(due) for _, due in pairs),
        cosine=min(_cosine(got, due) for got, due in zip(together, wanted, strict=True)),
        changed=sum(_changed(got, due, margin=0.0) for got, due in pairs),
        changed_for_sure=sum(_changed(got, due, margin=MARGIN) for got, due in pairs),
        neighbours_change=max(
            float(np.abs(one.rows[head] - other.rows[head]).max())
            for one, other in zip(together, alone, strict=True)
            for head in LABELLED
        ),
    )


def told(found: Exactness) -> dict[str, object]:
    """The figures, for the line of JSON."""
    return {**asdict(found), "holds": found.holds}


def _everything(ids: IntArray) -> WindowInput:
    every = np.arange(len(ids))
    return WindowInput(
        ids=ids, global_slots=(0,), rows={"topic": every[:1], "tags": every}, segments=np.zeros(len(ids), dtype=np.int64)
    )


def _sound(answer: object) -> WindowOutput:
    if not isinstance(answer, WindowOutput):
        raise TypeError(f"a window has no answer: {answer!r}")
    return answer


def _cosine(one: WindowOutput, other: WindowOutput) -> float:
    assert one.segments is not None
    assert other.segments is not None
    left, right = one.segments[0].astype(np.float64), other.segments[0].astype(np.float64)
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))


def _changed(got: FloatArray, due: FloatArray, *, margin: float) -> int:
    """Rows whose first label is another than the CPU's, though its probability was above the second's by more than `margin`."""
    shares = np.exp(due - due.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    second, first = np.sort(shares, axis=-1)[:, -2:].T
    return int(((got.argmax(-1) != due.argmax(-1)) & (first - second > margin)).sum())
