"""Named entities of a document, from the tag logits of its tokens.

Every token is answered by the window that keeps it, so a document's logits are joined before anything is decoded, and no
entity is cut at a window's edge. The bundle's decoder is `bio` (`bio.py`: whole words, legal tags, thresholds per label); the
other strategies have Hugging Face's meanings (`grouping.py`). Entities come in text order, `text[start:end]` is the mention,
never blank at its ends; tokens of blank space, which `grouping.py` counts, are never a mention.
Shapes: T tokens, L tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from drlongformer.errors import UnknownLabel
from drlongformer.tasks import bio, grouping
from drlongformer.tasks.ask import Ask
from drlongformer.tasks.mention import Mention
from drlongformer.text.alignment import trimmed
from drlongformer.text.windows import join, kept_rows
from drlongformer.text.words import characters
from drlongformer.types import Encoded, FloatArray, Window, WindowOutput

Aggregation = Literal["bio", "none", "simple", "first", "average", "max"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One mention: `text` is the document's `[start:end]` in code points."""

    label: str
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How tags become entities. thresholds: least score per label, for `bio`. min_score: for all.

    labels: keep only these; entity types, and with `none`, which answers tags, also tags.
    """

    aggregation: Aggregation = "bio"
    thresholds: Mapping[str, float] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    min_score: float = 0.0


def ask(window: Window, *, output: str) -> Ask:
    """A NER head reads the tokens that a window keeps."""
    return Ask(rows={output: kept_rows(window)})


def merge(outputs: Sequence[WindowOutput], windows: Sequence[Window], *, output: str) -> FloatArray:
    """The document's tag logits `[T, L]`."""
    return join([one.rows[output] for one in outputs], windows)


def decode(
    logits: FloatArray,
    encoded: Encoded,
    text: str,
    *,
    tags: Sequence[str],
    decoding: Decoding,
    unknown_id: int | None = None,
) -> tuple[Entity, ...]:
    """The entities of a text from the logits `[T, L]` of its tokens; raises UnknownLabel for a wanted label that is not there.

    unknown_id: the tokenizer's, because Hugging Face's strategies begin a word at every unknown token.
    """
    if logits.shape != (len(encoded), len(tags)):
        raise ValueError(f"logits of shape {logits.shape} for {len(encoded)} tokens and {len(tags)} tags")
    check_labels(decoding, tags)
    found = _mentions(_softmax(logits), encoded, text, tags=tags, decoding=decoding, unknown_id=unknown_id)
    return tuple(
        Entity(label=one.label, start=one.start, end=one.end, text=text[one.start : one.end], score=one.score)
        for one in sorted(found, key=lambda one: (one.start, one.end))
        if one.start < one.end and one.score >= decoding.min_score and _is_wanted(one.label, decoding)
    )


def check_labels(decoding: Decoding, tags: Sequence[str]) -> None:
    """Raise UnknownLabel, saying which there are, unless every wanted label can be the label of an entity."""
    known = labels_of(tags, decoding.aggregation)
    for place, label in enumerate(decoding.labels or ()):
        if label not in known:
            raise UnknownLabel(f"label {place} is unknown; this head has {', '.join(known)}", location=("labels", place))


def labels_of(tags: Sequence[str], aggregation: Aggregation) -> tuple[str, ...]:
    """What may be wanted of a head with these tags: the types of its entities, with `none` its tags as well."""
    named = [tag for tag in tags if tag != "O"]
    type_of = bio.type_of if aggregation in ("bio", "none") else grouping.type_of
    return tuple(dict.fromkeys([*map(type_of, named), *(named if aggregation == "none" else ())]))


def _is_wanted(label: str, decoding: Decoding) -> bool:
    wanted = decoding.labels
    return wanted is None or label in wanted or (decoding.aggregation == "none" and bio.type_of(label) in wanted)


def redact(text: str, entities: Iterable[Entity]) -> str:
    """The text with each entity replaced by `[LABEL]`; of entities that overlap, every character goes."""
    pieces, done = [], 0
    for entity in sorted(entities, key=lambda entity: (entity.start, -entity.end)):
        if entity.end > done:
            pieces += [text[done : entity.start], f"[{entity.label}]"]
            done = entity.end
    return "".join([*pieces, text[done:]])


def _mentions(
    probabilities: FloatArray,
    encoded: Encoded,
    text: str,
    *,
    tags: Sequence[str],
    decoding: Decoding,
    unknown_id: int | None,
) -> Iterable[Mention]:
    if decoding.aggregation == "bio":
        floors = {bio.type_of(label): floor for label, floor in decoding.thresholds.items()}
        return [one for one in bio.mentions(probabilities, encoded, tags=tags) if one.score >= floors.get(one.label, 0.0)]
    known = characters(text)
    raw = grouping.mentions(probabilities, encoded, known, tags=tags, strategy=decoding.aggregation, unknown_id=unknown_id)
    exact = trimmed(known, np.array([(one.start, one.end) for one in raw], dtype=np.int64).reshape(-1, 2)).tolist()
    return [replace(one, start=start, end=end) for one, (start, end) in zip(raw, exact, strict=True)]


def _softmax(logits: FloatArray) -> FloatArray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities
