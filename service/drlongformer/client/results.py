"""What comes back, as frozen types: one result a document, what failed beside them, and which models answered.

Offsets are code points of the text that was sent: `text[start:end]` is the mention (UTF-16 units where `offsets="utf16"`
was asked). Shapes: N documents, C vector size.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainValidator

from drlongformer.client.errors import Problem, UnexpectedAnswer

FloatArray = NDArray[np.float32]


def _vector(value: Any) -> FloatArray:
    """`[C]`, from base64 of little-endian float32 or from numbers."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4").astype(np.float32)
    return np.asarray(value, dtype=np.float32)


Vector = Annotated[FloatArray, PlainValidator(_vector)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Which model answered; sha256 is the first 12 hex digits of its manifest's."""

    name: str
    version: int
    sha256: str
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was answered."""

    documents: int = 0
    tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(documents=self.documents + other.documents, tokens=self.tokens + other.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What every result tells; `index` counts from the first document of the call.

    tokens: content tokens counted once, plus the special tokens of one window. tokens_read: how many were read, where the
    document was truncated.
    """

    index: int
    id: str | None = None
    tokens: int
    windows: int
    truncated: bool = False
    tokens_read: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A document that could not be answered, with `on_error="report"`."""

    index: int
    id: str | None = None
    error: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The vector `[C]` of a part of the document, from states that have read all of it."""

    start: int
    end: int
    embedding: Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding(Result):
    """One document's vector `[C]`, and with `chunks` its parts'; vectors of equal `embedding_space` may be compared."""

    embedding: Vector
    embedding_space: str
    chunks: tuple[Chunk, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One mention; `text` is None with `return_text=False`."""

    label: str
    start: int
    end: int
    score: float
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entities(Result):
    """One document's entities in text order; with `redact=True` also its text without them."""

    entities: tuple[Entity, ...]
    redacted: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One label and its score."""

    label: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels(Result):
    """One document's labels, best first."""

    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis(Result):
    """What several tasks tell of one document; None for those that were not asked."""

    embedding: Vector | None = None
    embedding_space: str | None = None
    chunks: tuple[Chunk, ...] | None = None
    entities: tuple[Entity, ...] | None = None
    redacted: str | None = None
    labels: tuple[Label, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One token that may stand in a mask's place; `token` keeps the space before a word."""

    token: str
    token_id: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """One mask of the text, and what may stand there, best first: nothing behind the cut of `truncate`."""

    start: int
    end: int
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks(Result):
    """One document's masks, in text order; `masks_unread` of them stand behind the cut of `truncate`."""

    masks: tuple[Mask, ...]
    masks_unread: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity(Result):
    """The score of a pair; method: `head`, a model trained for pairs, or the `cosine` of their embeddings."""

    score: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionScore:
    """One option, by the name it was given."""

    option: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Result):
    """Every option in the order asked, and the names of those that are right."""

    choices: tuple[OptionScore, ...]
    answer: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token, and the part of the text it stands for."""

    id: int
    token: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One document's content tokens; here alone `tokens` are the tokens themselves, and `count` is their number.

    tokens: None with `return_tokens=False`.
    """

    index: int
    id: str | None = None
    tokens: tuple[Token, ...] | None = None
    count: int
    windows: int
    truncated: bool = False


R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[R]):
    """All results of a call in the order asked, without those of `failures`; several requests may have been sent for it."""

    results: tuple[R, ...]
    failures: tuple[Failure, ...] = ()
    models: tuple[Model, ...] = ()
    usage: Usage = Usage()
    requests: int = 0

    @property
    def model(self) -> Model:
        """The one model that answered. Raises UnexpectedAnswer where its version changed between two requests of the call."""
        if len(self.models) != 1:
            raise UnexpectedAnswer(
                f"{len(self.models)} versions of models answered this call; name one with model='name:version'"
            )
        return self.models[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings(Answer[Embedding]):
    """Vectors of all documents."""

    @property
    def vectors(self) -> FloatArray:
        """`[N, C]`, row n for `results[n]`. Raises UnexpectedAnswer where they may not be compared with each other."""
        spaces = {result.embedding_space for result in self.results}
        if len(spaces) > 1:
            raise UnexpectedAnswer(
                f"the vectors lie in {len(spaces)} embedding spaces; name one model with model='name:version'"
            )
        return np.stack([result.embedding for result in self.results]) if self.results else np.empty((0, 0), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """One model that is served."""

    name: str
    version: int
    sha256: str
    precision: str
    device: str
    tasks: tuple[str, ...]
    max_tokens: int
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One head of a model; `trained` false means that its answers mean nothing yet."""

    name: str
    task: str
    labels: tuple[str, ...] = ()
    pooling: str | None = None
    function: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    score_range: tuple[float, float] | None = None
    trained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request to a model may hold."""

    max_tokens: int
    window_overlap: int
    max_windows: int
    max_characters: int
    max_documents: int
    max_answer_items: int
    max_body_bytes: int
    request_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDetails(ModelSummary):
    """Everything that is told of one model."""

    versions: tuple[int, ...]
    mask_token: str
    normalisation: tuple[str, ...] = ()
    heads: tuple[Head, ...]
    limits: Limits
    provenance: Mapping[str, Any]
    scores: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelList:
    """Answer of `GET /models`."""

    models: tuple[ModelSummary, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsage:
    """What one key did on one day (UTC)."""

    day: date
    key: str
    requests: int
    documents: int
    tokens: int
    refused: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """The usage of every key since the service started, the latest day first."""

    since: datetime
    usage: tuple[KeyUsage, ...]
