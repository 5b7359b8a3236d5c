"""What may be asked of the pipeline and what comes back: the frozen types on both of its ends.

A request is a list of documents and one set of options; its answer holds one result per document, in order. Options carry the
field names and defaults of the HTTP contract, so that the web, files and the cluster ask in the same words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from drlongformer.errors import DrLongformerError, InvalidRequest
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.ner import Entity
from drlongformer.tasks.similarity import Method
from drlongformer.types import FloatArray, Task

Priority = Literal["interactive", "bulk"]
PRIORITIES: tuple[Priority, ...] = ("interactive", "bulk")

Chunks = Literal["sentences", "paragraphs"] | tuple[tuple[tuple[int, int], ...], ...]
"""Parts of documents by their kind, or as half-open ranges of characters, a list of them for each document."""

A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """With whom a request shares its turns in its lane, and with what weight; those without a name share one."""

    name: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """What every task understands.

    model: `name` or `name:version`. overflow: what happens past the model's length. deadline_seconds: from now; past it the
    request fails. on_error: whether one bad document refuses the request, or is reported in its own result.
    """

    model: str | None = None
    head: str | None = None
    overflow: Literal["windows", "refuse", "truncate"] = "windows"
    truncate_side: Literal["head", "tail"] = "head"
    priority: Priority = "interactive"
    deadline_seconds: float | None = None
    on_error: Literal["fail", "report"] = "fail"
    caller: Caller = Caller()

    def __post_init__(self) -> None:
        if self.deadline_seconds is not None and not self.deadline_seconds > 0:
            raise InvalidRequest(f"a deadline of {self.deadline_seconds} seconds; it must be positive")
        if self.truncate_side == "tail" and self.overflow != "truncate":
            raise InvalidRequest(
                f"the tail is what a cut keeps; overflow {self.overflow!r} cuts nothing, 'truncate' does",
                location=("truncate_side",),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOptions:
    """pooling: None for the head's own. dimensions: keep the first so many, then normalise again.

    chunks: of which parts of each document to give the vectors, too; they are means, so `cls` is refused beside them.
    """

    common: RequestOptions = field(default_factory=RequestOptions)
    pooling: Literal["cls", "mean"] | None = None
    normalize: bool = True
    dimensions: int | None = None
    chunks: Chunks | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NerOptions:
    """aggregation: None for the bundle's decoder. labels: keep only these. redact: also give the redacted text.

    A document of which only a part is read cannot be redacted: InvalidRequest.
    """

    common: RequestOptions = field(default_factory=RequestOptions)
    aggregation: Literal["simple", "first", "average", "max", "none"] | None = None
    labels: tuple[str, ...] | None = None
    min_score: float = 0.0
    redact: bool = False

    def __post_init__(self) -> None:
        if self.redact and self.common.overflow == "truncate":
            raise InvalidRequest(
                "a redacted text needs the whole document read; overflow 'truncate' would leave its rest as it is",
                location=("redact",),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyOptions:
    """top_k: None for all labels. function: None for the head's own."""

    common: RequestOptions = field(default_factory=RequestOptions)
    top_k: int | None = None
    function: Literal["softmax", "sigmoid", "none"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FillMaskOptions:
    """targets: score only these words; each must be a single token."""

    common: RequestOptions = field(default_factory=RequestOptions)
    top_k: int = 5
    targets: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceOptions:
    """multiple: whether several options may be right; only heads that decide each by itself can tell."""

    common: RequestOptions = field(default_factory=RequestOptions)
    multiple: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which model answered; sha256 is the first 12 hex digits of its manifest's."""

    name: str
    version: int
    sha256: str
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeOptions:
    """Which tasks are answered in one pass, each with its own options, of whose `common` only the head counts."""

    common: RequestOptions = field(default_factory=RequestOptions)
    embed: EmbedOptions | None = None
    ner: NerOptions | None = None
    classify: ClassifyOptions | None = None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that are asked."""
        asked: dict[Task, object] = {"embed": self.embed, "ner": self.ner, "classify": self.classify}
        return tuple(task for task, options in asked.items() if options is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The vector `[C]` of the code points `start:end` of a document, pooled from states that have read all of it."""

    start: int
    end: int
    vector: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """One document's vector `[C]`, and those of its chunks if asked for; vectors of equal `space` may be compared."""

    vector: FloatArray
    space: str
    chunks: tuple[Chunk, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entities:
    """One document's entities in text order, and its text without them if that was asked for."""

    entities: tuple[Entity, ...]
    redacted: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What several tasks say of one document; None for those that were not asked."""

    embed: Embedding | None = None
    ner: Entities | None = None
    classify: tuple[LabelScore, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """The score of a pair; method: `head`, a model that read both texts together, or the `cosine` of their embeddings."""

    score: float
    method: Method


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSpan:
    """One token: its id, its string, and the code points `start:end` of the text that it stands for.

    start equals end for a token of blank space alone. Tokens that spell one character together have the same span.
    """

    id: int
    token: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentResult(Generic[A]):
    """One document's outcome: an answer or an error, never both.

    tokens: content tokens of the whole document counted once, plus the special tokens of one window. windows: how many were
    read. truncated: whether content was left unread, as asked by `overflow="truncate"`; tokens_read: how many of `tokens` were
    read. shared_tokens: how many of `tokens_read` an earlier result of the request counts already: they were computed once.
    """

    index: int
    id: str | None
    tokens: int
    tokens_read: int
    windows: int
    truncated: bool = False
    shared_tokens: int = 0
    answer: A | None = None
    error: DrLongformerError | None = None

    def __post_init__(self) -> None:
        if (self.answer is None) == (self.error is None):
            raise ValueError(f"document {self.index} has {'neither answer nor error' if self.error is None else 'both'}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchShape:
    """What went into an engine together."""

    documents: int
    windows: int
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where a request's time went; queue and compute are those of the document that was settled last.

    queue_tokens: token slots that waited for the engines when it came. batch: what that last document was computed beside.
    """

    tokenize_seconds: float
    queue_seconds: float
    compute_seconds: float
    total_seconds: float
    queue_tokens: int = 0
    batch: BatchShape | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[A]):
    """A request's answer: one result per document, in the order asked, all from one version of one model."""

    model: ModelIdentity
    results: tuple[DocumentResult[A], ...]
    timings: Timings

    @property
    def tokens(self) -> int:
        """Tokens that were read of all documents that were answered, as usage, quotas and metrics count them."""
        return sum(result.tokens_read - result.shared_tokens for result in self.results if result.error is None)
