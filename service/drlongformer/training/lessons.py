"""What fine-tuning by a recipe learns from: each source is a set, how much of it a step draws, and the head it teaches.

How they are drawn is in `sources.py` and `pairing.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSource:
    """A set of texts with one class each; every step draws `pairs` pairs of windows that share part of a hierarchy.

    code: field of a record's `meta` whose prefixes of `levels` characters are the hierarchy that embeddings learn.
    body: field of `meta` whose first entry is where a text's body begins, behind what all texts share; half of the windows
    are of the body alone.
    masked_chance: how often a window is also masked and asked for the masked words, so that fill-mask is not forgotten.
    augmentations: of `records/augment.py`; half of the windows are rewritten by one of them.
    """

    head: str
    set: str
    code: str
    body: str
    levels: tuple[int, ...]
    pairs: int
    window_tokens: tuple[int, ...]
    masked_chance: float
    augmentations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanAnnotation:
    """One split of one set whose character spans a head learns."""

    head: str
    set: str
    split: str = "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanSource:
    """Documents with spans, `documents` of them a step; one text annotated in several sets teaches all their heads at once.

    augmentations: of `records/augment.py`; half of the documents are rewritten by one of them, unless a window is too short
    for what comes of it.
    """

    annotations: tuple[SpanAnnotation, ...]
    documents: int
    augmentations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSource:
    """Two windows of each of `documents` raw documents a step: masked words, and closeness of one document's parts."""

    sets: tuple[str, ...]
    documents: int
    window_tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSource:
    """Scored pairs of texts, `pairs` of them a step.

    head: the similarity head that reads both texts in one window, or None. score_range: the least and the highest score.
    contrastive: whether the two texts' embeddings are also compared, each in a window of its own.
    """

    set: str
    pairs: int
    head: str | None = None
    score_range: tuple[float, float] = (0.0, 5.0)
    contrastive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KinSource:
    """Pairs of a set with a hierarchy (see ClassSource), scored by the levels they share, for a similarity head.

    text_tokens: how much is read of each text's body, from its beginning.
    """

    head: str
    set: str
    code: str
    body: str
    levels: tuple[int, ...]
    pairs: int
    text_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceSource:
    """Questions with options, `questions` of them a step; layout: each option in a window of its own, or all in one.

    several: whether a question may have more than one right answer, so that each option is judged by itself. One such set
    makes its head's options independent for all of the head's sets.
    """

    head: str
    set: str
    questions: int
    several: bool
    layout: Literal["each", "joint"] = "each"


Source = ClassSource | SpanSource | RawSource | PairSource | KinSource | ChoiceSource
