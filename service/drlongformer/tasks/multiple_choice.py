r"""Multiple choice: which of a question's options are right, from the `<s>` of pairs of texts.

A window is a pair (`text/pairs.py`). Its first text is the context, if there is one, above the question; its second is one
option (layout `each`, one window and one logit per option) or all of them (layout `joint`, one logit per letter):

    each     <s> context \n question </s></s> option </s>
    joint    <s> context \n question </s></s> a) option \n b) option ... </s>

Training, evaluation and serving build these texts here. Where they are too long, only the context is cut: `context_tokens` says
which tokens are its own; logits of several windows are merged as classification merges them, before the head's function.
Shapes: W windows, O options, L letters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeGuard

import numpy as np

from drlongformer.bundle import ANSWER
from drlongformer.errors import InvalidRequest
from drlongformer.tasks import classify
from drlongformer.tasks.ask import Ask
from drlongformer.tasks.classify import WindowMerge
from drlongformer.tasks.scoring import Function, scores
from drlongformer.types import Encoded, FloatArray, Window, WindowOutput

MAX_OPTIONS: Final = 26
MAX_OPTION_NAME: Final = 64
"""A question has at most so many options, and their names so many characters."""

THRESHOLD: Final = 0.5
"""The least score of a right answer among several, where the head names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionScore:
    """One option, by the name its asker gave it, and its score."""

    option: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Every option in the order asked, and those that are right."""

    choices: tuple[OptionScore, ...]
    answer: tuple[str, ...]


class PairTexts(NamedTuple):
    """The two texts of a window; only the first may hold context."""

    first: str
    second: str


def option_texts(question: str, options: Mapping[str, str], context: str | None) -> tuple[PairTexts, ...]:
    """Layout `each`: the texts of one window per option, in the order of the options."""
    first = _above(context, question)
    return tuple(PairTexts(first=first, second=option) for option in options.values())


def joint_text(question: str, options: Mapping[str, str], context: str | None) -> PairTexts:
    """Layout `joint`: the texts of the one window that holds all options, each on a line behind its letter."""
    lines = (f"{letter}) {option}" for letter, option in options.items())
    return PairTexts(first=_above(context, question), second="\n".join(lines))


def context_tokens(first: Encoded, context: str | None) -> int:
    """How many tokens of the first text are its context's: those that begin before it ends.

    The line break below the context is the question's, so a window without any context would begin with it.
    """
    if not _is_there(context):
        return 0
    behind = np.flatnonzero(first.offsets[:, 0] >= len(context))
    return int(behind[0]) if len(behind) else len(first)


def letters_of(options: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Layout `joint`: the head's letter for each option: its own name where all names are letters, else by its place.

    Raises InvalidRequest for more options than letters.
    """
    if len(options) > len(labels):
        raise InvalidRequest(f"{len(options)} options, this head has letters for {len(labels)}")
    return tuple(options) if set(options) <= set(labels) else tuple(labels[: len(options)])


def ask(*, output: str) -> Ask:
    """A multiple-choice head reads `<s>` of each of its windows."""
    return classify.ask(output=output)


def merge(
    outputs: Sequence[WindowOutput],
    windows: Sequence[Window],
    *,
    output: str,
    window_merge: WindowMerge,
    labels: Sequence[str],
    letters: Sequence[str] | None,
) -> FloatArray:
    """One logit per option `[O]` in either layout; letters: that of each option, None in layout `each`."""
    if letters is None:
        return _merge_each(outputs, windows, output=output, window_merge=window_merge)
    return _merge_joint(outputs, windows, output=output, window_merge=window_merge, labels=labels, letters=letters)


def _merge_each(
    outputs: Sequence[WindowOutput], windows: Sequence[Window], *, output: str, window_merge: WindowMerge
) -> FloatArray:
    """Layout `each`: one logit per option `[O]`, from W * O answers, those of the first option's windows first."""
    count, left = divmod(len(outputs), len(windows))
    if left:
        raise ValueError(f"{len(outputs)} answers about options in {len(windows)} windows each")
    of_option = [outputs[place * len(windows) : (place + 1) * len(windows)] for place in range(count)]
    return np.concatenate([classify.merge(its, windows, output=output, window_merge=window_merge) for its in of_option])


def _merge_joint(
    outputs: Sequence[WindowOutput],
    windows: Sequence[Window],
    *,
    output: str,
    window_merge: WindowMerge,
    labels: Sequence[str],
    letters: Sequence[str],
) -> FloatArray:
    """Layout `joint`: one logit per option `[O]`, from W answers about all L letters; letters: that of each option."""
    logits = classify.merge(outputs, windows, output=output, window_merge=window_merge)
    return logits[[labels.index(letter) for letter in letters]]


def decide(
    logits: FloatArray,
    *,
    options: Sequence[str],
    function: Function,
    multiple: bool,
    thresholds: Mapping[str, float] | None = None,
    letters: Sequence[str] | None = None,
) -> Choice:
    """The answer from one logit per option `[O]`; thresholds: the head's own, by letter, or `answer` where there are none.

    One answer is the option with the highest score, the first of equal ones. Several are those that reach their thresholds, in
    the order asked; where none does, the best one, because a question has an answer. Several can only be decided one by one,
    so their function is `sigmoid`.
    """
    if logits.shape != (len(options),):
        raise ValueError(f"logits of shape {logits.shape} for {len(options)} options")
    if multiple and function != "sigmoid":
        raise ValueError(f"several right answers of a head with {function}")
    found, known = scores(logits, function), thresholds or {}
    floors = [known.get(name, THRESHOLD) for name in letters or [ANSWER] * len(options)]
    right = [place for place, floor in enumerate(floors) if found[place] >= floor] if multiple else []
    return Choice(
        choices=tuple(OptionScore(option=option, score=float(score)) for option, score in zip(options, found, strict=True)),
        answer=tuple(options[place] for place in right or [int(found.argmax())]),
    )


def _above(context: str | None, question: str) -> str:
    return f"{context}\n{question}" if _is_there(context) else question


def _is_there(context: str | None) -> TypeGuard[str]:
    """A context of blank space alone is none."""
    return context is not None and not context.isspace() and context != ""
