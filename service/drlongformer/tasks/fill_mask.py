"""Fill-mask: the most probable words for each mask of a document.

Each mask is read in the window whose centre is nearest, and windows without one are not read at all. A vocabulary's logits
are large, so one pass answers at most `MASKS_PER_PASS` masks; a window with more is read again. Scores are a softmax over
the whole vocabulary, also where only `targets` are wanted; equal ones come in the order of their ids.
Shapes: M masks, V vocabulary, K answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drlongformer.errors import MaskError
from drlongformer.tasks.ask import Ask
from drlongformer.text.tokenizer import Masked, Tokenizer
from drlongformer.text.windows import LEADING, centre
from drlongformer.types import FloatArray, IntArray, Window

MASKS_PER_PASS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One pass over one window: `window` is its index, `masks` the numbers of the masks it answers, in the order of rows."""

    window: int
    masks: tuple[int, ...]
    ask: Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One word for a mask, `token` as text."""

    token: str
    token_id: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPredictions:
    """One mask: where its string stands in the text, and the words for it, best first."""

    start: int
    end: int
    predictions: tuple[Prediction, ...]


def ask(masked: Masked, windows: Sequence[Window], *, output: str, mask_token: str) -> tuple[Reading, ...]:
    """The passes that answer every mask once, in the order of the masks; raises MaskError where no mask is read.

    A mask outside the windows, in what a truncated document leaves unread, is left out.
    """
    first, last = windows[0].keep_start, windows[-1].keep_stop
    places: dict[int, list[int]] = {}
    for number, token in enumerate(masked.masks):
        if first <= token < last:
            places.setdefault(centre(windows, token), []).append(number)
    if not places:
        unread = f" in the {last - first} tokens that are read" if masked.masks else ""
        raise MaskError(f"the text has no mask{unread}; a mask is written {mask_token}")
    return tuple(
        Reading(window=index, masks=tuple(some), ask=_ask(masked, windows[index], some, output))
        for index, numbers in places.items()
        for some in (numbers[i : i + MASKS_PER_PASS] for i in range(0, len(numbers), MASKS_PER_PASS))
    )


def target_ids(targets: Sequence[str], tokenizer: Tokenizer) -> IntArray:
    """Token ids of the wanted words, each once; raises MaskError naming the place of a word that is not a single token."""
    ids = []
    for place, target in enumerate(targets):
        token_id = tokenizer.single_id(target)
        if token_id is None:
            raise MaskError(f"target {place} is not a single token of this model", location=("targets", place))
        ids.append(token_id)
    return np.unique(np.array(ids, dtype=np.int64))


def predict(
    logits: FloatArray,
    spans: Sequence[tuple[int, int]],
    *,
    tokenizer: Tokenizer,
    top_k: int,
    targets: IntArray | None = None,
) -> tuple[MaskPredictions, ...]:
    """The best `top_k` words for each row of logits `[M, V]`; spans: where the mask of each row stands in the text."""
    return tuple(
        MaskPredictions(start=start, end=end, predictions=_best(row, tokenizer=tokenizer, top_k=top_k, targets=targets))
        for row, (start, end) in zip(logits, spans, strict=True)
    )


def _ask(masked: Masked, window: Window, numbers: Sequence[int], output: str) -> Ask:
    tokens = np.array([masked.masks[number] for number in numbers], dtype=np.int64)
    return Ask(rows={output: tokens - window.start + LEADING})


def _best(row: FloatArray, *, tokenizer: Tokenizer, top_k: int, targets: IntArray | None) -> tuple[Prediction, ...]:
    ids = np.arange(len(row)) if targets is None else targets
    best = ids[_top(row[ids], top_k)]
    exact = row.astype(np.float64)
    exact -= exact.max()
    scores = np.exp(exact[best]) / np.exp(exact).sum()
    return tuple(
        Prediction(token=tokenizer.decode_token(token_id), token_id=token_id, score=score)
        for token_id, score in zip(best.tolist(), scores.tolist(), strict=True)
    )


def _top(values: FloatArray, count: int) -> IntArray:
    """Places of the `count` highest values, highest first, the lower place first among equals."""
    if count >= len(values):
        return np.argsort(-values, kind="stable")
    floor = np.partition(values, len(values) - count)[len(values) - count]
    candidates = np.flatnonzero(values >= floor)
    return candidates[np.argsort(-values[candidates], kind="stable")][:count]
