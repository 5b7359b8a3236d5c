"""What a subject answers about texts that are read together: the similarity of pairs, the options of questions.

The counterpart of `predictions.py` for windows of two texts, with the texts that `tasks/multiple_choice.py` makes. A pair must
fit one window; of a question only the context is read through several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from drlongformer.bundle import HeadSpec
from drlongformer.errors import TrainingError
from drlongformer.tasks import multiple_choice, similarity
from drlongformer.tasks.multiple_choice import Choice, PairTexts
from drlongformer.text.pairs import PAIR_SPECIALS, choice_slots, plan_part, truncate_pair
from drlongformer.text.windows import truncate
from drlongformer.training.predictions import ENCODE_BATCH, Prepared, chunks, vectors
from drlongformer.training.records.record import ChoiceRecord, PairRecord
from drlongformer.training.subject import Subject
from drlongformer.types import FloatArray, IntArray, Window, WindowInput, WindowOutput


def cosines(subject: Subject, head: HeadSpec, pairs: Iterable[PairRecord]) -> Iterator[Prepared[float]]:
    """The cosine of each pair's embeddings; a pair is as long as its longer text."""
    sides = vectors(subject, head, (text for record in pairs for text in (record.first, record.second)))
    for first, second in zip(sides, sides, strict=True):
        yield _cosine(first, second)


def _cosine(first: Prepared[FloatArray], second: Prepared[FloatArray]) -> Prepared[float]:
    cut = len(first.passes)
    return Prepared(
        tokens=max(first.tokens, second.tokens),
        passes=first.passes + second.passes,
        finish=lambda outputs: similarity.cosine(first.finish(outputs[:cut]), second.finish(outputs[cut:])),
    )


def pair_scores(subject: Subject, head: HeadSpec, pairs: Iterable[PairRecord]) -> Iterator[Prepared[float]]:
    """The score of each pair, read in one window. Raises TrainingError for a pair that does not fit.

    A subject that cuts reads the beginnings of both texts, the shorter one whole where it takes less than half the room.
    """
    for group in chunks(pairs, ENCODE_BATCH):
        encoded = subject.tokenizer.encode_batch([text for record in group for text in (record.first, record.second)])
        for record, first, second in zip(group, encoded[::2], encoded[1::2], strict=True):
            yield _pair_score(subject, head, record, first.ids, second.ids)


def _pair_score(subject: Subject, head: HeadSpec, record: PairRecord, first: IntArray, second: IntArray) -> Prepared[float]:
    tokens = len(first) + len(second) + PAIR_SPECIALS
    most = min(subject.max_tokens, subject.cut_tokens or subject.max_tokens)
    if subject.cuts_pairs or subject.cut_tokens is not None:
        kept = truncate_pair(len(first), len(second), capacity=most - PAIR_SPECIALS, side="head")
        first, second = (text[part.start : part.stop] for text, part in zip((first, second), kept, strict=True))
    elif tokens > most:
        raise TrainingError(f"pair {record.id!r} has {tokens} tokens, a window of this model {most}")
    function = head.function or "none"
    return Prepared(
        tokens=tokens,
        passes=(_window(subject, head, first, second),),
        finish=lambda outputs: similarity.decide(
            outputs[0], head_output=head.output, function=function, score_range=head.score_range
        ),
    )


def choices(
    subject: Subject, head: HeadSpec, questions: Iterable[ChoiceRecord], *, several: bool
) -> Iterator[Prepared[Choice]]:
    """The options chosen for each question, one or `several`; only a `sigmoid` head can choose several.

    Raises TrainingError for a question with more options than the head has letters, or that fits no window.
    """
    return (_choice(subject, head, question, several=several and head.function == "sigmoid") for question in questions)


def _choice(subject: Subject, head: HeadSpec, question: ChoiceRecord, *, several: bool) -> Prepared[Choice]:
    names = tuple(question.options)
    if head.layout == "joint" and len(names) > len(head.labels):
        raise TrainingError(f"question {question.id!r} has {len(names)} options, head {head.name!r} {len(head.labels)} letters")
    letters = multiple_choice.letters_of(names, head.labels) if head.layout == "joint" else None
    pairs = _texts(question, letters)
    first, *seconds = subject.tokenizer.encode_batch([pairs[0].first, *(one.second for one in pairs)])
    longest = max(len(one) for one in seconds) + PAIR_SPECIALS
    context = multiple_choice.context_tokens(first, question.context)
    windows, firsts = _read_through(subject, question, first.ids, context=context, beside=longest)

    def finish(outputs: Sequence[WindowOutput]) -> Choice:
        logits = multiple_choice.merge(
            outputs, windows, output=head.output, window_merge=head.window_merge, labels=head.labels, letters=letters
        )
        function, thresholds = head.function or "none", head.thresholds
        return multiple_choice.decide(
            logits, options=names, function=function, multiple=several, thresholds=thresholds, letters=letters
        )

    passes = tuple(_window(subject, head, asked, second.ids) for second in seconds for asked in firsts)
    return Prepared(tokens=len(first) + longest, passes=passes, finish=finish)


def _texts(question: ChoiceRecord, letters: Sequence[str] | None) -> Sequence[PairTexts]:
    """The two texts of each window; a `joint` head reads its own letters before the options."""
    if letters is None:
        return multiple_choice.option_texts(question.question, question.options, question.context)
    lettered = dict(zip(letters, question.options.values(), strict=True))
    return (multiple_choice.joint_text(question.question, lettered, question.context),)


def _read_through(
    subject: Subject, question: ChoiceRecord, first: IntArray, *, context: int, beside: int
) -> tuple[tuple[Window, ...], list[IntArray]]:
    """The windows of a question's context, and the first text of each: its part of the context, then the question.

    beside: tokens that the rest of a window takes. A subject that cuts reads the context's beginning. Raises TrainingError for
    a question that fits no window.
    """
    tokens, asked = len(first), first[context:]
    most = min(subject.max_tokens, subject.cut_tokens or subject.max_tokens)
    room = most - beside - len(asked)
    if tokens + beside <= most or (subject.cut_tokens is not None and room < 1):
        return (Window(start=0, stop=tokens, keep_start=0, keep_stop=tokens),), [first]
    if room < 1 or not context:
        alone = len(asked) + beside
        raise TrainingError(f"question {question.id!r} has {alone} tokens without context, a window of this model {most}")
    if subject.cut_tokens is not None:
        windows: tuple[Window, ...] = (truncate(context, capacity=room, side="head"),)
    else:
        windows = plan_part(context, capacity=room, overlap=subject.window_overlap)
    return windows, [np.concatenate([first[window.start : window.stop], asked]) for window in windows]


def _window(subject: Subject, head: HeadSpec, first: IntArray, second: IntArray) -> WindowInput:
    """Two texts as one window that asks the head's `<s>`."""
    attention: dict[str, tuple[int, ...]] = {"none": (), "first": (0,), "choice": choice_slots(len(first), len(second))}
    return similarity.ask(output=head.output).about(
        subject.tokenizer.pair(first, second),
        global_slots=attention[head.global_attention],
    )
