"""One unit's reading: what the model is asked about it, and how its answers become the unit's own.

A *unit* is what is answered as one: a document, a pair of texts, a question. A `Reader` is made once per request, when what was
asked is checked (`readers.py` for documents, `pair_readers.py` for pairs and questions), and is a pure function from a unit to
its `Reading`: one `WindowInput` per pass and `finish`, from the passes' outputs to the answer. It reads in steps of
milliseconds, and refuses a unit as soon as what was read of it proves it too long. Whoever runs the passes knows nothing of
tasks. All of it may run in any thread. Here is what the readers have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from drlongformer.bundle import HeadSpec
from drlongformer.errors import AnswerTooLarge, DocumentTooLong, EmptyText
from drlongformer.serving.engine import Digest
from drlongformer.serving.models import ServedModel
from drlongformer.serving.requests import RequestOptions
from drlongformer.tasks.ask import Ask
from drlongformer.text.pairs import choice_slots
from drlongformer.text.tokenizer import Masked, Progress
from drlongformer.text.windows import SPECIALS, plan, truncate
from drlongformer.text.words import check_surrogates, has_visible
from drlongformer.types import Document, Encoded, IntArray, Location, Unit, Window, WindowInput

A = TypeVar("A")
U = TypeVar("U", bound=Unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be asked: characters of a unit before it is tokenised, its windows after, items of a request's answer.

    An item is a token told of by `tokenize`, or a word for a mask: the two answers that may be far larger than their question.
    """

    max_characters: int = 1_000_000
    max_windows: int = 64
    max_answer_items: int = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[A]):
    """A unit made ready: the passes it takes, and what becomes of their outputs, given in the same order.

    tokens: content tokens of all its texts plus the special tokens of one window; tokens_read: those of them that some window
    holds. windows: how many were planned.
    items: see `Limits`. digest: see `engine.compute`, it depends on the request alone; `finish` is given what it made.
    """

    tokens: int
    tokens_read: int
    windows: int
    items: int
    passes: tuple[WindowInput, ...]
    digest: Digest | None
    finish: Callable[[Sequence[Any]], A]

    @property
    def truncated(self) -> bool:
        """Whether content was left unread."""
        return self.tokens_read < self.tokens


Steps = Generator[None, None, A]
"""Work in steps of milliseconds, with a result in the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader(Generic[U, A]):
    """check: what can be told of a unit without tokenising it. read: all of it, step by step, where `check` raised nothing.

    least: how many tokens its passes have at least, told from not more than so many characters of its text; None for what asks
    nothing of the engine.
    """

    check: Callable[[U], None]
    read: Callable[[U], Steps[Reading[A]]]
    least: Callable[[U, int], int] | None = lambda _unit, _characters: 1

    def __call__(self, unit: U) -> Reading[A]:
        """Read one unit in one go."""
        self.check(unit)
        return finished(self.read(unit))


def finished(steps: Steps[A]) -> A:
    """The result of all steps, taken without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: A = end.value
            return result


def check_items(items: int, limits: Limits, *, whose: str) -> None:
    """Raise AnswerTooLarge for an answer larger than the limit."""
    if items > limits.max_answer_items:
        raise AnswerTooLarge(f"the answer to {whose} would hold {items} items, the limit is {limits.max_answer_items}")


def last_of(steps: Generator[Progress, None, A]) -> Steps[A]:
    """Steps whose progress nobody looks at."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: A = end.value
            return result
        yield


def check_document(document: Document, limits: Limits) -> None:
    """Raise DocumentTooLong and EmptyText for what its characters tell."""
    check_text(document.text, limits, whose=document.name, place=document.place)


def encode(model: ServedModel, document: Document, limits: Limits) -> Steps[Encoded]:
    """A document's tokens. Raises DocumentTooLong as soon as there are too many for any request."""
    return (yield from _bounded(model.tokenizer.steps(document.text), model, document, limits))


def encode_masked(model: ServedModel, document: Document, limits: Limits) -> Steps[Masked]:
    """A document's tokens and masks. Raises as `encode` does."""
    return (yield from _bounded(model.tokenizer.masked_steps(document.text), model, document, limits))


def _bounded(steps: Generator[Progress, None, A], model: ServedModel, document: Document, limits: Limits) -> Steps[A]:
    """Give up a document that already has more tokens than the most windows hold, and is not yet read to its end."""
    manifest = model.bundle.manifest
    characters = 0
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            result: A = end.value
            return result
        characters += progress.characters
        if characters < document.characters and progress.tokens > manifest.max_tokens:
            windows = len(plan(progress.tokens, capacity=manifest.max_tokens - SPECIALS, overlap=manifest.window_overlap))
            if windows > limits.max_windows:
                raise DocumentTooLong(
                    f"{document.name} takes more than {limits.max_windows} windows, the limit: its first {characters} of "
                    f"{document.characters} characters alone have {progress.tokens} tokens and take {windows}"
                )
        yield


def check_text(text: str, limits: Limits, *, whose: str, place: Location) -> None:
    """Before tokenising, which can take long and give many times more tokens than characters.

    A text nobody can see is refused for every tokenizer alike: some have tokens for it, some have none.
    Raises DocumentTooLong, MalformedBody and EmptyText.
    """
    check_characters(len(text), limits, whose=whose, place=place)
    check_surrogates(text)
    if not has_visible(text):
        raise EmptyText(f"{whose} has no visible character", location=place)


def check_characters(characters: int, limits: Limits, *, whose: str, place: Location) -> None:
    """Raise DocumentTooLong for more characters than may be tokenised."""
    if characters > limits.max_characters:
        raise DocumentTooLong(f"{whose} has {characters} characters, the limit is {limits.max_characters}", location=place)


def check_tokens(tokens: int, *, whose: str, place: Location) -> None:
    """Raise EmptyText for a text without a token: some characters are visible, but unknown to a vocabulary."""
    if not tokens:
        raise EmptyText(f"{whose} has no character that this model's tokenizer reads", location=place)


def least_of(model: ServedModel, document: Document, options: RequestOptions, characters: int) -> int:
    """How many tokens the windows of a document have at least; where it may be cut, it is cut to an unknown length."""
    if options.overflow == "truncate":
        return 1
    return model.tokenizer.least_tokens(document.text[:characters]) + SPECIALS


def plan_windows(
    model: ServedModel, document: Document, encoded: Encoded, options: RequestOptions, limits: Limits
) -> tuple[Window, ...]:
    """The windows that are read of a document. Raises EmptyText and DocumentTooLong."""
    manifest, tokens = model.bundle.manifest, len(encoded)
    capacity = manifest.max_tokens - SPECIALS
    check_tokens(tokens, whose=document.name, place=document.place)
    if tokens > capacity and options.overflow == "truncate":
        return (truncate(tokens, capacity=capacity, side=options.truncate_side, words=encoded.words),)
    if tokens > capacity and options.overflow == "refuse":
        raise DocumentTooLong(f"{document.name} has {tokens + SPECIALS} tokens, the limit is {manifest.max_tokens}")
    windows = plan(tokens, capacity=capacity, overlap=manifest.window_overlap)
    if len(windows) > limits.max_windows:
        raise DocumentTooLong(
            f"{document.name} takes {len(windows)} windows ({tokens} tokens), the limit is {limits.max_windows}"
        )
    return windows


def document_passes(
    model: ServedModel, head: HeadSpec, encoded: Encoded, windows: Sequence[Window], asks: Sequence[Ask]
) -> tuple[WindowInput, ...]:
    """One question to the model per window and ask."""
    slots = (0,) if head.global_attention == "first" else ()
    return tuple(
        ask.about(model.tokenizer.with_specials(encoded.ids[window.start : window.stop]), global_slots=slots)
        for window, ask in zip(windows, asks, strict=True)
    )


def pair_pass(model: ServedModel, head: HeadSpec, first: IntArray, second: IntArray, ask: Ask) -> WindowInput:
    """The question about two texts in one window; `choice` makes global what Hugging Face's multiple choice does."""
    slots: tuple[int, ...] = (0,) if head.global_attention == "first" else ()
    if head.global_attention == "choice":
        slots = choice_slots(len(first), len(second))
    return ask.about(model.tokenizer.pair(first, second), global_slots=slots)


def document_reading(
    encoded: Encoded,
    windows: Sequence[Window],
    passes: tuple[WindowInput, ...],
    finish: Callable[[Sequence[Any]], A],
    *,
    items: int = 0,
    digest: Digest | None = None,
) -> Reading[A]:
    """The reading of a document in these windows."""
    read = windows[-1].keep_stop - windows[0].keep_start
    return Reading(
        tokens=len(encoded) + SPECIALS,
        tokens_read=read + SPECIALS,
        windows=len(windows),
        items=items,
        passes=passes,
        digest=digest,
        finish=finish,
    )
