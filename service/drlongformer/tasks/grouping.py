"""NER strategies of Hugging Face's TokenClassificationPipeline, with its meanings: `none`, `simple`, `first`, `average`, `max`.

`none` answers tokens, `simple` groups neighbouring tokens of one type, the others first make the tokens of a word agree: on
the tag of its first token, on the highest mean score, or on the tag of its most certain token. A token goes on with a word
unless a space touches its beginning; a group ends at another type or at a B tag. All tokens count, also those of blank space.
Shapes: T tokens, L tags, U units (tokens or words), G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from drlongformer.tasks.mention import Mention
from drlongformer.text.words import BoolArray, Characters
from drlongformer.types import Encoded, FloatArray, IntArray

Strategy = Literal["none", "simple", "first", "average", "max"]

SPACE = ord(" ")


def mentions(
    probabilities: FloatArray,
    encoded: Encoded,
    text: Characters,
    *,
    tags: Sequence[str],
    strategy: Strategy,
    unknown_id: int | None = None,
) -> tuple[Mention, ...]:
    """The groups of a document, those of tag O left out, from its tokens' tag probabilities `[T, L]`."""
    if not len(encoded):
        return ()
    firsts = np.arange(len(encoded))
    if strategy in ("first", "average", "max"):
        firsts = np.flatnonzero(~_goes_on(encoded, text, unknown_id))
    scores = _agreed(probabilities, firsts, strategy)  # [U, L]
    columns, best = scores.argmax(axis=1), scores.max(axis=1)
    if strategy == "none":
        names, begins = list(tags), np.arange(len(firsts))
    else:
        names, begins = [type_of(tag) for tag in tags], _group_begins(columns, tags)
    sums = np.add.reduceat(best.astype(np.float64), begins)
    scores_of_groups = sums / np.diff(begins, append=len(best))
    starts = encoded.offsets[firsts[begins], 0]
    ends = encoded.offsets[np.append(firsts[begins][1:], len(encoded)) - 1, 1]
    return tuple(
        Mention(label=names[column], start=start, end=end, score=score)
        for column, start, end, score in zip(
            columns[begins].tolist(), starts.tolist(), ends.tolist(), scores_of_groups.tolist(), strict=True
        )
        if names[column] != "O"
    )


def type_of(tag: str) -> str:
    """The type under which a group is answered: what follows the first hyphen of its tag."""
    return tag.split("-", 1)[-1]


def _goes_on(encoded: Encoded, text: Characters, unknown_id: int | None) -> BoolArray:
    """Tokens that belong to the word of the token before them."""
    space = np.append(text.codes == SPACE, False)
    start = encoded.offsets[:, 0]
    goes_on: BoolArray = (start > 0) & ~space[np.maximum(start - 1, 0)] & ~space[start] & (encoded.ids != unknown_id)
    goes_on[0] = False
    return goes_on


def _agreed(probabilities: FloatArray, firsts: IntArray, strategy: Strategy) -> FloatArray:
    """One row of tag scores for each word `[U, L]`."""
    if strategy == "average":
        sizes = np.diff(firsts, append=len(probabilities))[:, None].astype(np.float32)
        return (np.add.reduceat(probabilities, firsts) / sizes).astype(np.float32)
    if strategy == "max":
        return probabilities[_most_certain(probabilities.max(axis=1), firsts)]
    return probabilities[firsts]


def _most_certain(certainty: FloatArray, firsts: IntArray) -> IntArray:
    """The token of highest certainty of each word, the first of equals."""
    word = np.repeat(np.arange(len(firsts)), np.diff(firsts, append=len(certainty)))
    order = np.lexsort((-certainty, word))
    return order[firsts]


def _group_begins(columns: IntArray, tags: Sequence[str]) -> IntArray:
    """Units at which a group begins: another type than the unit before, or a B tag."""
    types = [tag[2:] if tag.startswith(("B-", "I-")) else tag for tag in tags]
    number = {name: i for i, name in enumerate(dict.fromkeys(types))}
    type_of_unit = np.array([number[name] for name in types])[columns]
    is_begin = np.array([tag.startswith("B-") for tag in tags])[columns]
    return np.flatnonzero((np.diff(type_of_unit, prepend=-1) != 0) | is_begin)
