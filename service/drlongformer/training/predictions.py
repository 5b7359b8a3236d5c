"""What a subject answers about texts, task by task, through `tasks/` and `text/windows.py`, the code that serves.

A document becomes `Prepared`: the passes it takes, and what turns their outputs into its answer. `answered` packs the passes
of many documents into batches by tokens and lets go of a document's outputs once it is answered, so a set of any size is
scored in bounded memory. Shapes: T tokens of a document, L labels, R masked words, V vocabulary.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np

from drlongformer.bundle import HeadSpec
from drlongformer.errors import TrainingError
from drlongformer.tasks import classify, embed, ner
from drlongformer.tasks.ask import Ask
from drlongformer.tasks.ner import Entity
from drlongformer.text.windows import LEADING, SPECIALS, kept_tokens
from drlongformer.training.dataset import Special, mask_tokens, with_specials
from drlongformer.training.inference import together
from drlongformer.training.subject import Subject
from drlongformer.types import Encoded, FloatArray, IntArray, Window, WindowInput, WindowOutput

A = TypeVar("A")
T = TypeVar("T")

ENCODE_BATCH = 64
MASKED_SHARE = 0.15
MASKING_SEED = 7
UNTUNED_THRESHOLD = 0.5
"""What decides a label whose threshold was not tuned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared(Generic[A]):
    """One document made ready. tokens: of the whole of it, special tokens of one window included."""

    tokens: int
    passes: tuple[WindowInput, ...]
    finish: Callable[[Sequence[WindowOutput]], A]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Generic[A]):
    """One document's answer, and its length in tokens."""

    tokens: int
    answer: A


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAnswer:
    """The labels decided on, and the score of every label."""

    labels: frozenset[str]
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class WordAnswer:
    """Masked words of one document: the sum of their losses in nats, how many were guessed right, and how many there were."""

    loss: float
    right: int
    masked: int


def answered(subject: Subject, documents: Iterable[Prepared[A]]) -> Iterator[Answered[A]]:
    """Every document's answer, in order."""
    for group in together(documents, lambda one: sum(map(len, one.passes)), most=subject.batch_tokens):
        outputs = iter(subject.answer([one for document in group for one in document.passes]))
        for document in group:
            yield Answered(tokens=document.tokens, answer=document.finish(list(islice(outputs, len(document.passes)))))


def labels(subject: Subject, head: HeadSpec, texts: Iterable[str]) -> Iterator[Prepared[LabelAnswer]]:
    """The labels of texts: with `sigmoid` all that reach their threshold, else the best one."""
    several = head.function == "sigmoid"
    function = head.function if several else "softmax"
    thresholds = dict.fromkeys(head.labels, UNTUNED_THRESHOLD) | head.thresholds

    def prepared(encoded: Encoded) -> Prepared[LabelAnswer]:
        windows = subject.windows(len(encoded))

        def finish(outputs: Sequence[WindowOutput]) -> LabelAnswer:
            logits = classify.merge(outputs, windows, output=head.output, window_merge=head.window_merge)
            found = classify.decide(logits, labels=head.labels, function=function or "none", thresholds=thresholds)
            scores = classify.decide(logits, labels=head.labels, function=function or "none")
            return LabelAnswer(
                labels=frozenset(one.label for one in (found if several else found[:1])),
                scores={one.label: one.score for one in scores},
            )

        return _prepared(subject, head, encoded, windows, [classify.ask(output=head.output) for _ in windows], finish)

    return map(prepared, _encoded(subject, texts))


def entities(subject: Subject, head: HeadSpec, texts: Iterable[str]) -> Iterator[Prepared[tuple[Entity, ...]]]:
    """The entities of texts, decoded as the bundle says."""
    decoding = ner.Decoding(aggregation=head.decoding or "simple", thresholds=head.thresholds)

    def prepared(text: str, encoded: Encoded) -> Prepared[tuple[Entity, ...]]:
        windows = subject.windows(len(encoded))

        def finish(outputs: Sequence[WindowOutput]) -> tuple[Entity, ...]:
            return ner.decode(
                ner.merge(outputs, windows, output=head.output),
                kept_tokens(encoded, windows),
                text,
                tags=head.labels,
                decoding=decoding,
                unknown_id=subject.tokenizer.unknown_id,
            )

        return _prepared(subject, head, encoded, windows, [ner.ask(one, output=head.output) for one in windows], finish)

    for group in chunks(texts, ENCODE_BATCH):
        for text, encoded in zip(group, _encoded(subject, group), strict=True):
            yield prepared(text, encoded)


def vectors(subject: Subject, head: HeadSpec, texts: Iterable[str]) -> Iterator[Prepared[FloatArray]]:
    """The unit vectors of texts, `[C]` each. Raises TrainingError for a head without pooling."""
    pooling = head.pooling
    if pooling is None:
        raise TrainingError(f"head {head.name!r} has no pooling")

    def prepared(encoded: Encoded) -> Prepared[FloatArray]:
        windows = subject.windows(len(encoded))

        def finish(outputs: Sequence[WindowOutput]) -> FloatArray:
            return embed.finish(embed.merge(outputs, windows, pooling=pooling), normalize=True, dimensions=None)

        asks = [embed.ask(window, pooling=pooling, only=len(windows) == 1) for window in windows]
        return _prepared(subject, head, encoded, windows, asks, finish)

    return map(prepared, _encoded(subject, texts))


def masked_words(subject: Subject, head: HeadSpec, texts: Iterable[str]) -> Iterator[Prepared[WordAnswer]]:
    """15 % of each text's tokens, masked as in pretraining and guessed by the window that keeps them.

    Which tokens are masked depends on the text's tokens alone, not on its neighbours or on how it is cut into windows.
    """
    special = Special.of(subject.spec)
    for encoded in _encoded(subject, texts):
        random = np.random.default_rng((MASKING_SEED, zlib.crc32(encoded.ids.tobytes())))
        ids = with_specials(encoded.ids, special)
        masked, slots = mask_tokens(ids, special, random, share=MASKED_SHARE)
        yield _masked(subject, head, masked[1:-1], encoded.ids, slots - LEADING)


def _masked(subject: Subject, head: HeadSpec, masked: IntArray, whole: IntArray, chosen: IntArray) -> Prepared[WordAnswer]:
    """One text whose `chosen` content tokens `[R]` were masked."""
    passes, wanted = [], []
    for window in subject.windows(len(whole)):
        mine = chosen[(window.keep_start <= chosen) & (chosen < window.keep_stop)]
        if len(mine):
            ask = Ask(rows={head.output: mine - window.start + LEADING})
            passes.append(_pass(subject, head, masked, window, ask))
            wanted.append(whole[mine])

    def finish(outputs: Sequence[WindowOutput]) -> WordAnswer:
        found = [_guessed(output.rows[head.output], ids) for output, ids in zip(outputs, wanted, strict=True)]
        loss, right = (sum(part) for part in zip(*found, strict=True)) if found else (0.0, 0)
        return WordAnswer(loss=float(loss), right=int(right), masked=sum(len(ids) for ids in wanted))

    return Prepared(tokens=len(whole) + SPECIALS, passes=tuple(passes), finish=finish)


def _guessed(logits: FloatArray, wanted: IntArray) -> tuple[float, int]:
    """Summed loss and right guesses of some masked words from their logits `[R, V]`."""
    exact = logits.astype(np.float64)
    best = exact.max(axis=1)
    total = best + np.log(np.exp(exact - best[:, None]).sum(axis=1))
    loss = total - exact[np.arange(len(wanted)), wanted]
    return float(loss.sum()), int((exact.argmax(axis=1) == wanted).sum())


def _prepared(
    subject: Subject,
    head: HeadSpec,
    encoded: Encoded,
    windows: Sequence[Window],
    asks: Sequence[Ask],
    finish: Callable[[Sequence[WindowOutput]], A],
) -> Prepared[A]:
    passes = tuple(_pass(subject, head, encoded.ids, window, ask) for window, ask in zip(windows, asks, strict=True))
    return Prepared(tokens=len(encoded) + SPECIALS, passes=passes, finish=finish)


def _pass(subject: Subject, head: HeadSpec, ids: IntArray, window: Window, ask: Ask) -> WindowInput:
    global_slots = (0,) if head.global_attention == "first" else ()
    return ask.about(subject.tokenizer.with_specials(ids[window.start : window.stop]), global_slots=global_slots)


def _encoded(subject: Subject, texts: Iterable[str]) -> Iterator[Encoded]:
    """Tokens of texts, some at a time. Raises TrainingError for a text of which the tokenizer reads nothing."""
    number = 0
    for group in chunks(texts, ENCODE_BATCH):
        for encoded in subject.tokenizer.encode_batch(group):
            number += 1
            if not len(encoded):
                raise TrainingError(f"text {number} has no character that this model's tokenizer reads")
            yield encoded


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Runs of at most `size` items."""
    waiting = iter(items)
    while group := list(islice(waiting, size)):
        yield group
