"""The frozen types that flow from stage to stage: text, tokens, windows, and what the model is asked and answers.

A *document* is one text; a *pair* and a *question* are several that are answered together. A *window* is what the model reads
in one go: special tokens around a run of the document's content tokens. A window's *rows* are the token positions whose last
hidden state a head reads.

Shapes: T tokens of a document or window, R rows of one head, S segments, C hidden size, L outputs of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from drlongformer.errors import InputError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]

Task = Literal["embed", "ner", "classify", "fill-mask", "similarity", "multiple-choice"]
TASKS: tuple[Task, ...] = ("embed", "ner", "classify", "fill-mask", "similarity", "multiple-choice")

Rule = Literal["encoding", "pages", "hyphens", "lines"]
RULES: tuple[Rule, ...] = ("encoding", "pages", "hyphens", "lines")
"""What may be put right in a text before it is read, in the order in which it is (`text/normalisation.py`)."""

HIDDEN = "hidden"
"""The built-in head of every encoder: the last hidden state itself (identity), `[R, C]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A range of a text, and what is read in its place."""

    start: int
    stop: int
    replacement: str


A = TypeVar("A")

MADE_TOGETHER: Final = 500


class Made(Sequence[A]):
    """A long sequence whose elements are made whenever they are asked for, some hundred at a time.

    Hundreds of thousands of objects at once would be walked by Python's collector again and again, for a tenth of a second in
    which nothing else runs; `make(start, stop)` gives a few of them from what arrays hold.
    """

    __slots__ = ("_count", "_make")

    def __init__(self, count: int, make: Callable[[int, int], Sequence[A]]) -> None:
        self._count = count
        self._make = make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> A: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[A]: ...
    def __getitem__(self, place: int | slice) -> A | Sequence[A]:
        found = range(self._count)[place]
        if isinstance(found, int):
            return self._make(found, found + 1)[0]
        return tuple(self[each] for each in found)

    def __iter__(self) -> Iterator[A]:
        for start in range(0, self._count, MADE_TOGETHER):
            yield from self._make(start, min(start + MADE_TOGETHER, self._count))

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Made | tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))


Location = tuple[str | int, ...]
"""The path to a field of a request."""


class Unit(Protocol):
    """What is read, computed and answered as one: `index` is its place in the request, `id` the caller's own name for it.

    fault: what is wrong with it already, where only its own result is to tell; nothing else of it is then looked at.
    """

    @property
    def index(self) -> int: ...  # noqa: D102 - told of above

    @property
    def id(self) -> str | None: ...  # noqa: D102

    @property
    def fault(self) -> InputError | None: ...  # noqa: D102

    @property
    def characters(self) -> int:
        """Length of all its texts."""
        ...

    @property
    def place(self) -> Location:
        """Where it stands in the request."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text as the caller sent it; `called` and `location` are for one that is part of something else."""

    index: int
    text: str
    id: str | None = None
    called: str = ""
    location: Location = ()
    fault: InputError | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.called or f"document {self.index}"

    @property
    def characters(self) -> int:
        """Length of its text."""
        return len(self.text)

    @property
    def place(self) -> Location:
        """Where it stands in the request."""
        return self.location or ("inputs", self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two texts to compare."""

    index: int
    first: Document
    second: Document
    id: str | None = None
    location: Location = ()
    fault: InputError | None = None

    @property
    def characters(self) -> int:
        """Length of both texts."""
        return self.first.characters + self.second.characters

    @property
    def place(self) -> Location:
        """Where it stands in the request."""
        return self.location or ("inputs", self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question with its options by name, in their order, and the text that it is asked about, if any."""

    index: int
    question: str
    options: Mapping[str, str]
    context: str | None = None
    id: str | None = None
    location: Location = ()
    fault: InputError | None = None

    @property
    def characters(self) -> int:
        """Length of all texts."""
        return sum(map(len, (self.question, self.context or "", *self.options.values())))

    @property
    def place(self) -> Location:
        """Where it stands in the request."""
        return self.location or ("inputs", self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Content tokens of one document, without special tokens.

    ids: `[T]` token ids. offsets: `[T, 2]` half-open code point ranges of the untouched text. words: `[T]` number of the
    word each token belongs to, never decreasing.
    """

    ids: IntArray
    offsets: IntArray
    words: IntArray

    def __post_init__(self) -> None:
        if self.offsets.shape != (len(self.ids), 2) or self.words.shape != self.ids.shape:
            raise ValueError(
                f"ids {self.ids.shape}, offsets {self.offsets.shape} and words {self.words.shape} do not fit together"
            )

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Content tokens `start:stop` are read together; `keep_start:keep_stop` are those that lie nearest this window's centre.

    The kept ranges of a document's windows cover it exactly, without overlap.
    """

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    def __post_init__(self) -> None:
        if not self.start <= self.keep_start < self.keep_stop <= self.stop:
            raise ValueError(f"window {self.start}:{self.stop} cannot keep {self.keep_start}:{self.keep_stop}")

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowInput:
    """What the model is asked about one window.

    ids: `[T]` with special tokens. global_slots: token positions with global attention. rows: per head name, the token
    positions `[R]` it reads. segments: `[T]` number of the segment each token is summed into, -1 for none, or no sums at all.
    """

    ids: IntArray
    global_slots: tuple[int, ...] = ()
    rows: Mapping[str, IntArray]
    segments: IntArray | None = None

    def __post_init__(self) -> None:
        length = len(self.ids)
        if not length:
            raise ValueError("a window has at least one token")
        if len(set(self.global_slots)) != len(self.global_slots):
            raise ValueError(f"global slots repeat: {self.global_slots}")
        for name, slots in (("global", np.asarray(self.global_slots)), *self.rows.items()):
            if len(slots) and not (0 <= slots.min() and slots.max() < length):
                raise ValueError(f"{name} slots {slots.min()}..{slots.max()} lie outside a window of {length} tokens")
        if self.segments is not None and self.segments.shape != self.ids.shape:
            raise ValueError(f"{length} tokens but segments of shape {self.segments.shape}")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOutput:
    """The model's answer about one window.

    rows: per head name `[R, L]`, in the order asked. segments: `[S, C]` sums of last hidden states over each segment.
    """

    rows: Mapping[str, FloatArray]
    segments: FloatArray | None = None
