"""Fill-mask: the most probable words for each mask of a document.

Each mask is read in the window whose centre is nearest, and windows without one are not read at all. A vocabulary's logits
are large, so one pass answers at most `MASKS_PER_PASS` masks; a window with more is read again, and of every pass only the
best words are kept (`best`) until the document is answered (`predict`). Scores are a softmax over the whole vocabulary, also
where only `targets` are wanted; equal ones come in the order of their ids.
Shapes: M masks, V vocabulary, K answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drlongformer.errors import MaskError
from drlongformer.tasks.ask import Ask
from drlongformer.text.tokenizer import Masked, Tokenizer
from drlongformer.text.windows import LEADING, centre
from drlongformer.types import FloatArray, IntArray, Made, Window

MASKS_PER_PASS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One pass over one window: `window` is its index, `masks` the numbers of the masks it answers, in the order of rows."""

    window: int
    masks: tuple[int, ...]
    ask: Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class BestWords:
    """What is kept of one pass: for each mask the token ids `[M, K]` of its words, best first, and their scores `[M, K]`."""

    ids: IntArray
    scores: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One word for a mask, `token` as text."""

    token: str
    token_id: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPredictions:
    """One mask: where its string stands in the text, and the words for it, best first; none where no window holds it."""

    start: int
    end: int
    predictions: Sequence[Prediction]


def ask(
    masked: Masked, windows: Sequence[Window], *, output: str, mask_token: str, whose: str = "the text"
) -> tuple[Reading, ...]:
    """The passes that answer every mask once, in the order of the masks; raises MaskError where no mask is read.

    A mask outside the windows, in what a truncated document leaves unread, is asked nothing (`unread`).
    """
    first, last = windows[0].keep_start, windows[-1].keep_stop
    places: dict[int, list[int]] = {}
    for number, token in enumerate(masked.masks):
        if first <= token < last:
            places.setdefault(centre(windows, token), []).append(number)
    if not places:
        unread = f" in the {last - first} tokens that are read" if masked.masks else ""
        raise MaskError(f"{whose} has no mask{unread}; a mask is written {mask_token}")
    return tuple(
        Reading(window=index, masks=tuple(some), ask=_ask(masked, windows[index], some, output))
        for index, numbers in places.items()
        for some in (numbers[i : i + MASKS_PER_PASS] for i in range(0, len(numbers), MASKS_PER_PASS))
    )


def unread(masked: Masked, windows: Sequence[Window]) -> tuple[int, ...]:
    """The numbers of the masks that stand in what a truncated document leaves unread."""
    first, last = windows[0].keep_start, windows[-1].keep_stop
    return tuple(number for number, token in enumerate(masked.masks) if not first <= token < last)


def check_mask(text: str, *, whose: str, mask_token: str) -> None:
    """Raise MaskError for a text that does not hold the mask's string, before it is tokenised."""
    if mask_token not in text:
        raise MaskError(f"{whose} has no mask; a mask is written {mask_token}")


def target_ids(targets: Sequence[str], tokenizer: Tokenizer) -> IntArray:
    """Token ids of the wanted words, each once; raises MaskError naming the place of a word that is not a single token."""
    ids = []
    for place, target in enumerate(targets):
        token_id = tokenizer.single_id(target)
        if token_id is None:
            raise MaskError(f"target {place} is not a single token of this model", location=("targets", place))
        ids.append(token_id)
    return np.unique(np.array(ids, dtype=np.int64))


def best(logits: FloatArray, *, top_k: int, targets: IntArray | None = None) -> BestWords:
    """The best `top_k` words for each row of logits `[M, V]`."""
    ids = np.stack([_best(row, top_k, targets) for row in logits])
    scores = np.stack([_scores(row, its) for row, its in zip(logits, ids, strict=True)])
    return BestWords(ids=ids, scores=scores)


def predict(best: BestWords, spans: Sequence[tuple[int, int]], *, tokenizer: Tokenizer) -> tuple[MaskPredictions, ...]:
    """The words of each mask of a pass as text; spans: where each mask stands in the document."""
    return tuple(
        MaskPredictions(start=start, end=end, predictions=_words(ids, scores, tokenizer))
        for ids, scores, (start, end) in zip(best.ids, best.scores, spans, strict=True)
    )


def _words(ids: IntArray, scores: NDArray[np.float64], tokenizer: Tokenizer) -> Sequence[Prediction]:
    """The words of one mask."""

    def make(start: int, stop: int) -> list[Prediction]:
        found = zip(ids[start:stop].tolist(), scores[start:stop].tolist(), strict=True)
        return [Prediction(token=tokenizer.decode_token(token_id), token_id=token_id, score=score) for token_id, score in found]

    return Made(len(ids), make)


def _ask(masked: Masked, window: Window, numbers: Sequence[int], output: str) -> Ask:
    tokens = np.array([masked.masks[number] for number in numbers], dtype=np.int64)
    return Ask(rows={output: tokens - window.start + LEADING})


def _best(row: FloatArray, top_k: int, targets: IntArray | None) -> IntArray:
    return _top(row, top_k) if targets is None else targets[_top(row[targets], top_k)]


def _scores(row: FloatArray, ids: IntArray) -> NDArray[np.float64]:
    exact = row.astype(np.float64)
    exact -= exact.max()
    scores: NDArray[np.float64] = np.exp(exact[ids]) / np.exp(exact).sum()
    return scores


def _top(values: FloatArray, count: int) -> IntArray:
    """Places of the `count` highest values, highest first, the lower place first among equals."""
    if count >= len(values):
        return np.argsort(-values, kind="stable")
    floor = np.partition(values, len(values) - count)[len(values) - count]
    candidates = np.flatnonzero(values >= floor)
    return candidates[np.argsort(-values[candidates], kind="stable")][:count]
