"""The default decoder of NER: word scores from token logits, then the best sequence of tags that is legal.

A word's probability of a type is the mean over its tokens of P(B-type) + P(I-type); whether it begins an entity is what its
first token says. Viterbi then finds the best sequence in which every I-type follows B-type or I-type; a type without a B tag
may begin with I. A word that is surely of a type, but inside nothing, begins: see `LEAST_SHARE`. Entities are whole words,
so none is cut inside a word or a character.

Most words of a text are safely outside every entity, and the search runs only between these. A word is safe when calling it
O gains at least what any I-type at the next word could lose by becoming B-type, which needs nothing before it.

    words    une    fièvre  aphteuse  puis   toux             .
    best     O      B-DIS   I-DIS     O      I-DIS (illegal)  O
    found    O      B-DIS   I-DIS     O      B-DIS            O

Shapes: T tokens, W words, L tags, K entity types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from drlongformer.tasks.mention import Mention
from drlongformer.text.words import BoolArray
from drlongformer.types import Encoded, FloatArray, IntArray

Scores = NDArray[np.float64]

FLOOR = 1e-300
"""Keeps the logarithm of an impossible tag finite."""
LEAST_SHARE = 0.1
"""B has at least this share of a word's type, or a certain I after O would be answered by no entity at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagSet:
    """The tags of a head by their columns: `outside`, and per type its `begin` and `inside`, -1 where there is none."""

    types: tuple[str, ...]
    outside: int
    begin: IntArray
    inside: IntArray

    @classmethod
    def of(cls, tags: Sequence[str]) -> Self:
        """Read BIO tags in logit order; a tag without prefix is the inside tag of its own type."""
        columns = {tag: column for column, tag in enumerate(tags)}
        types = tuple(dict.fromkeys(type_of(tag) for tag in tags if tag != "O"))
        begin = [columns.get(f"B-{name}", -1) for name in types]
        inside = [columns.get(f"I-{name}", columns.get(name, -1)) for name in types]
        return cls(
            types=types,
            outside=columns.get("O", -1),
            begin=np.array(begin, dtype=np.int64),
            inside=np.array(inside, dtype=np.int64),
        )


def type_of(tag: str) -> str:
    """The entity type of a tag: `B-X` and `I-X` are of type X, any other tag is its own."""
    return tag[2:] if tag.startswith(("B-", "I-")) else tag


def mentions(probabilities: FloatArray, encoded: Encoded, *, tags: Sequence[str]) -> tuple[Mention, ...]:
    """The entities of a document from its tokens' tag probabilities `[T, L]`; tokens of blank space do not count."""
    tag_set = TagSet.of(tags)
    visible = encoded.offsets[:, 0] < encoded.offsets[:, 1]
    if not visible.any() or not tag_set.types:
        return ()
    firsts = np.flatnonzero(np.diff(encoded.words[visible], prepend=-1))
    start, end = encoded.offsets[visible].T
    word_start, word_end = np.minimum.reduceat(start, firsts), np.maximum.reduceat(end, firsts)
    scores, of_type = word_scores(probabilities[visible].astype(np.float64), firsts, tag_set)
    types, first, stop = _runs(best_states(np.log(scores + FLOOR)), tag_set)
    of_run = _run_scores(of_type, types, first, stop)
    return tuple(
        Mention(label=tag_set.types[kind], start=start, end=end, score=score)
        for kind, start, end, score in zip(
            types.tolist(), word_start[first].tolist(), word_end[stop - 1].tolist(), of_run.tolist(), strict=True
        )
    )


def word_scores(probabilities: Scores, firsts: IntArray, tags: TagSet) -> tuple[Scores, Scores]:
    """Each word's scores of O, B of every type and I of every type `[W, 1 + 2K]`, and its probability of each type `[W, K]`.

    firsts: the first token of each word.
    """
    means = np.add.reduceat(probabilities, firsts) / np.diff(firsts, append=len(probabilities))[:, None]  # [W, L]
    of_type = _columns(means, tags.begin) + _columns(means, tags.inside)
    begin, inside = (_columns(probabilities[firsts], columns) for columns in (tags.begin, tags.inside))
    either = begin + inside
    share = np.divide(begin, either, out=np.full_like(either, 0.5), where=either > 0)
    free = tags.begin < 0
    begins = of_type * np.where(free, 1.0, np.maximum(share, LEAST_SHARE))
    goes_on = of_type * np.where(free, 1.0, 1.0 - share)
    return np.concatenate([_columns(means, np.array([tags.outside])), begins, goes_on], axis=1), of_type


def best_states(scores: Scores) -> IntArray:
    """The legal sequence of states with the highest sum of scores `[W, 1 + 2K]`."""
    states: IntArray = scores.argmax(axis=1)
    illegal = _illegal(states, scores.shape[1] // 2)
    if not illegal.any():
        return states
    edges = np.flatnonzero(np.diff(~_safe(scores), prepend=False, append=False))
    for start, stop in edges.reshape(-1, 2).tolist():
        if illegal[start:stop].any():
            states[start:stop] = viterbi(scores[start:stop])
    return states


def viterbi(scores: Scores) -> IntArray:
    """The legal sequence with the highest sum of scores, searched in full; before the first word stands O."""
    kinds = scores.shape[1] // 2
    begin, inside = slice(1, 1 + kinds), slice(1 + kinds, None)
    came_from = np.zeros(scores.shape, dtype=np.int64)
    numbers = np.arange(1, 1 + kinds)
    total = scores[0].copy()
    total[inside] = -np.inf
    for word in range(1, len(scores)):
        came_from[word] = total.argmax()
        goes_on = np.maximum(total[begin], total[inside])
        came_from[word, inside] = np.where(total[begin] >= total[inside], numbers, numbers + kinds)
        total[:] = total.max()
        total[inside] = goes_on
        total += scores[word]
    states = np.empty(len(scores), dtype=np.int64)
    states[-1] = total.argmax()
    for word in range(len(scores) - 1, 0, -1):
        states[word - 1] = came_from[word, states[word]]
    return states


def _illegal(states: IntArray, kinds: int) -> BoolArray:
    """Words whose I does not follow its own type."""
    before = np.concatenate([[0], states[:-1]])
    illegal: BoolArray = (states > kinds) & (before != states) & (before != states - kinds)
    return illegal


def _safe(scores: Scores) -> BoolArray:
    """Words that are O in a best legal sequence whatever their neighbours are."""
    begin, inside = np.split(scores[:, 1:], 2, axis=1)
    gain = scores[:, 0] - scores[:, 1:].max(axis=1)
    loss = np.append(np.maximum(inside - begin, 0.0).max(axis=1)[1:], 0.0)
    safe: BoolArray = gain >= loss
    return safe


def _runs(states: IntArray, tags: TagSet) -> tuple[IntArray, IntArray, IntArray]:
    """Type, first word and stop of each entity; words of a type without a B tag that touch are one."""
    kinds = len(tags.types)
    types = np.where(states > 0, (states - 1) % kinds, -1)
    same = types == np.concatenate([[-1], types[:-1]])
    begins = (states > 0) & (states <= kinds) & ~(same & (tags.begin[types] < 0))
    firsts = np.flatnonzero(begins)
    breaks = np.append(np.flatnonzero(begins | (types < 0)), len(types))
    return types[firsts], firsts, breaks[np.searchsorted(breaks, firsts, side="right")]


def _run_scores(of_type: Scores, types: IntArray, firsts: IntArray, stops: IntArray) -> Scores:
    """Mean probability of its type over the words of each run."""
    sizes = stops - firsts
    run_starts = np.cumsum(sizes) - sizes
    words = np.arange(sizes.sum()) + np.repeat(firsts - run_starts, sizes)
    means: Scores = np.add.reduceat(of_type[words, np.repeat(types, sizes)], run_starts) / sizes
    return means


def _columns(values: Scores, columns: IntArray) -> Scores:
    """Columns of an array, zeros for column -1."""
    chosen: Scores = values[:, columns] * (columns >= 0)
    return chosen
