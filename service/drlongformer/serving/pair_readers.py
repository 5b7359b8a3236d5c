"""The readers of pairs of texts and of questions with options: what is read together in one window.

Two texts to compare must fit together, else they are refused (or cut, where that was asked for). Of a question only the
context is read in windows: each holds a part of it, the whole question, and one option or all (`tasks/multiple_choice.py` tells
how). All options see the same windows, so the longest option says how much of the context fits beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from drlongformer.bundle import Bundle, HeadSpec
from drlongformer.errors import DocumentTooLong, InvalidRequest
from drlongformer.serving.models import ServedModel
from drlongformer.serving.reading import (
    Limits,
    Reader,
    Reading,
    Steps,
    check_characters,
    check_text,
    check_tokens,
    last_of,
    pair_pass,
)
from drlongformer.serving.requests import ChoiceOptions, RequestOptions, Similarity
from drlongformer.tasks import multiple_choice as choice_task
from drlongformer.tasks import similarity as similarity_task
from drlongformer.tasks.multiple_choice import Choice, PairTexts
from drlongformer.text.pairs import PAIR_SPECIALS, plan_part, truncate_pair
from drlongformer.text.windows import truncate
from drlongformer.types import Encoded, IntArray, Pair, Question, Window, WindowOutput

SEVERAL: Final = "sigmoid"
"""The function of heads that decide each option by itself."""


def similarity(model: ServedModel, head: HeadSpec, options: RequestOptions, limits: Limits) -> Reader[Pair, Similarity]:
    """Read pairs for the score of a head that sees both texts together."""
    capacity = model.bundle.manifest.max_tokens - PAIR_SPECIALS

    def check(pair: Pair) -> None:
        for text in (pair.first, pair.second):
            check_text(text.text, limits, whose=text.name, place=text.place)

    def read(pair: Pair) -> Steps[Reading[Similarity]]:
        first = yield from last_of(model.tokenizer.steps(pair.first.text))
        second = yield from last_of(model.tokenizer.steps(pair.second.text))
        for text, encoded in ((pair.first, first), (pair.second, second)):
            check_tokens(len(encoded), whose=text.name, place=text.place)
        tokens = len(first) + len(second)
        if tokens > capacity and options.overflow != "truncate":
            raise DocumentTooLong(
                f"pair {pair.index} has {tokens + PAIR_SPECIALS} tokens, the limit is {capacity + PAIR_SPECIALS}; "
                "its two texts are read together, in one window"
            )
        one, other = truncate_pair(
            len(first), len(second), capacity=capacity, side=options.truncate_side, words=(first.words, second.words)
        )

        def finish(outputs: Sequence[WindowOutput]) -> Similarity:
            score = similarity_task.decide(
                outputs[0], head_output=head.output, function=head.function or "none", score_range=head.score_range
            )
            return Similarity(score=score, method="head")

        ask = similarity_task.ask(output=head.output)
        return Reading(
            tokens=tokens + PAIR_SPECIALS,
            tokens_read=len(one) + len(other) + PAIR_SPECIALS,
            windows=1,
            items=0,
            passes=(pair_pass(model, head, _cut(first, one), _cut(second, other), ask),),
            digest=None,
            finish=finish,
        )

    return Reader(check=check, read=read)


def multiple_choice(model: ServedModel, options: ChoiceOptions, limits: Limits) -> Reader[Question, Choice]:
    """Read questions for their right options. Raises InvalidRequest where several are asked of a head for one."""
    head = choice_head(model.bundle, options)

    def read(question: Question) -> Steps[Reading[Choice]]:
        letters = choice_task.letters_of(tuple(question.options), head.labels) if head.layout == "joint" else None
        asked = yield from _asked(model, question, letters)
        cut = _windows_of(model, question, asked, options.common)
        _check_windows(question, cut, asked, limits)

        def finish(outputs: Sequence[WindowOutput]) -> Choice:
            logits = choice_task.merge(
                outputs, cut.windows, output=head.output, window_merge=head.window_merge, labels=head.labels, letters=letters
            )
            return choice_task.decide(
                logits,
                options=tuple(question.options),
                function=head.function or "softmax",
                multiple=options.multiple,
                thresholds=head.thresholds,
                letters=letters,
            )

        ask = choice_task.ask(output=head.output)
        passes = tuple(pair_pass(model, head, first, second.ids, ask) for second in asked.seconds for first in cut.firsts)
        tokens = len(asked.first) + sum(map(len, asked.seconds)) + PAIR_SPECIALS
        return Reading(
            tokens=tokens,
            tokens_read=tokens - cut.unread,
            windows=len(passes),
            items=0,
            passes=passes,
            digest=None,
            finish=finish,
        )

    return Reader(check=lambda question: _check_question(question, limits), read=read)


def choice_head(bundle: Bundle, options: ChoiceOptions) -> HeadSpec:
    """The head that was named; without a name the first that can say what is asked. Raises UnsupportedTask, InvalidRequest."""
    head = bundle.head("multiple-choice", options.common.head)
    if not options.multiple or head.function == SEVERAL:
        return head
    for other in bundle.manifest.heads:
        if options.common.head is None and other.task == head.task and other.function == SEVERAL:
            return other
    raise InvalidRequest(f"head {head.name!r} was trained for one right answer; it cannot tell several", location=("multiple",))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question's tokens: of its first text, of which the first `context` are the context's, and of each second text."""

    first: Encoded
    context: int
    seconds: tuple[Encoded, ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest second text."""
        return max(map(len, self.seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """The first texts to read, one a window, and the windows that weigh them: over the context, else over the whole text.

    unread: tokens of the context that no window holds.
    """

    firsts: tuple[IntArray, ...]
    windows: tuple[Window, ...]
    unread: int


def _check_question(question: Question, limits: Limits) -> None:
    """Before tokenising: every text is there, and all together are within the limit."""
    whose, place = f"question {question.index}", question.place
    check_characters(question.characters, limits, whose=whose, place=place)
    check_text(question.question, limits, whose=whose, place=(*place, "question"))
    for number, option in enumerate(question.options.values()):
        check_text(option, limits, whose=f"option {number} of {whose}", place=(*place, "options", number))


def _asked(model: ServedModel, question: Question, letters: Sequence[str] | None) -> Steps[_Asked]:
    texts = _texts(question, letters)
    first = yield from last_of(model.tokenizer.steps(texts[0].first))
    seconds: list[Encoded] = []
    for pair in texts:
        second = yield from last_of(model.tokenizer.steps(pair.second))
        seconds.append(second)
    context = choice_task.context_tokens(first, question.context)
    whose, place = f"question {question.index}", question.place
    check_tokens(len(first) - context, whose=whose, place=(*place, "question"))
    for number, second in enumerate(seconds):
        check_tokens(len(second), whose=f"option {number} of {whose}", place=(*place, "options", number))
    return _Asked(first=first, context=context, seconds=tuple(seconds))


def _texts(question: Question, letters: Sequence[str] | None) -> tuple[PairTexts, ...]:
    if letters is None:
        return choice_task.option_texts(question.question, question.options, question.context)
    lettered = dict(zip(letters, question.options.values(), strict=True))
    return (choice_task.joint_text(question.question, lettered, question.context),)


def _windows_of(model: ServedModel, question: Question, asked: _Asked, options: RequestOptions) -> _Cut:
    """The first texts that fit beside the longest second one. Raises DocumentTooLong."""
    manifest, tokens = model.bundle.manifest, len(asked.first)
    room = manifest.max_tokens - PAIR_SPECIALS - asked.longest
    if tokens <= room:
        whole = Window(start=0, stop=tokens, keep_start=0, keep_stop=tokens)
        return _Cut(firsts=(asked.first.ids,), windows=(whole,), unread=0)
    capacity = room - (tokens - asked.context)
    if not asked.context or capacity < 1 or options.overflow == "refuse":
        without = asked.context if capacity < 1 else 0
        raise DocumentTooLong(
            f"question {question.index} has {tokens - without + asked.longest + PAIR_SPECIALS} tokens in its longest window"
            f"{' without its context' if without else ''}, the limit is {manifest.max_tokens}"
        )
    if options.overflow == "truncate":
        windows: tuple[Window, ...] = (
            truncate(asked.context, capacity=capacity, side=options.truncate_side, words=asked.first.words[: asked.context]),
        )
    else:
        windows = plan_part(asked.context, capacity=capacity, overlap=manifest.window_overlap)
    rest = asked.first.ids[asked.context :]
    firsts = tuple(np.concatenate([_cut(asked.first, window), rest]) for window in windows)
    read = windows[-1].keep_stop - windows[0].keep_start
    return _Cut(firsts=firsts, windows=windows, unread=asked.context - read)


def _check_windows(question: Question, cut: _Cut, asked: _Asked, limits: Limits) -> None:
    windows = len(cut.windows) * len(asked.seconds)
    if windows > limits.max_windows:
        raise DocumentTooLong(
            f"question {question.index} takes {windows} windows ({len(cut.windows)} of its context for each of "
            f"{len(asked.seconds)} options), the limit is {limits.max_windows}"
        )


def _cut(encoded: Encoded, window: Window) -> IntArray:
    return encoded.ids[window.start : window.stop]
