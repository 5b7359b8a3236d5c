"""The bodies of answers, in the words of the HTTP contract; `/openapi.json` shows their schemas, `answers.py` fills them.

Each result is one unit's: the task's own fields, or with `on_error: report` the problem in their place. Fields that do not
apply are left out.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, FiniteFloat

from drlongformer.api.problems import Problem
from drlongformer.tasks.similarity import Method


class Part(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelBody(Part):
    """Which model answered; sha256 is the first 12 hex digits of its manifest's."""

    name: str
    version: int
    sha256: str
    precision: str


class UsageBody(Part):
    """What the request cost."""

    documents: int
    tokens: int


class ResultBody(Part):
    """One document's result; with `on_error: report` a bad document has `error` and nothing else.

    tokens: content tokens counted once, plus the special tokens of one window. tokens_read: how many of them were read, told
    where the document was truncated.
    """

    index: int
    id: str | None = None
    tokens: int | None = None
    windows: int | None = None
    truncated: bool | None = None
    tokens_read: int | None = None
    error: Problem | None = None


R = TypeVar("R", bound=ResultBody)


class AnswerBody(Part, Generic[R]):
    """One result per document, in the order asked."""

    model: ModelBody
    results: list[R]
    usage: UsageBody


class ChunkBody(Part):
    """The vector of a part of the document, the code points from `start` to `end`."""

    start: int
    end: int
    embedding: list[FiniteFloat] | str


class EmbedResult(ResultBody):
    """One vector, as numbers or as base64 of little-endian float32; vectors of equal `embedding_space` may be compared.

    chunks: those of the document's parts, in their order, where they were asked for.
    """

    embedding: list[FiniteFloat] | str | None = None
    embedding_space: str | None = None
    chunks: list[ChunkBody] | None = None


class EntityBody(Part):
    """One mention: `text` is exactly the input from `start` to `end`."""

    label: str
    start: int
    end: int
    text: str | None = None
    score: FiniteFloat


class NerResult(ResultBody):
    """Entities in text order."""

    entities: list[EntityBody] | None = None
    redacted: str | None = None


class LabelBody(Part):
    """One label and its score."""

    label: str
    score: FiniteFloat


class ClassifyResult(ResultBody):
    """Labels, best first."""

    labels: list[LabelBody] | None = None


class AnalyzeResult(EmbedResult, NerResult, ClassifyResult):
    """Every task's fields; those of tasks that were not asked are left out."""


class PredictionBody(Part):
    """One token that may stand in a mask's place; `token` keeps the space before a word."""

    token: str
    token_id: int
    score: FiniteFloat


class MaskBody(Part):
    """One mask of the text, and what may stand there: nothing where it stands behind the cut of `truncate`."""

    start: int
    end: int
    predictions: list[PredictionBody]


class FillMaskResult(ResultBody):
    """One entry per mask, in text order. masks_unread: how many have no predictions, told where `truncate` cut some off."""

    masks: list[MaskBody] | None = None
    masks_unread: int | None = None


class TokenBody(Part):
    """One token, and the part of the text it stands for."""

    id: int
    token: str
    start: int
    end: int


class TokenizeResult(ResultBody):
    """The content tokens, unless `return_tokens` was false, and how many they are."""

    tokens: list[TokenBody] | None = None  # type: ignore[assignment]  # the one route whose answer is the tokens
    count: int | None = None


class SimilarityResult(ResultBody):
    """How alike two texts are; `method` is `head`, trained for pairs, or the `cosine` of their embeddings."""

    score: FiniteFloat | None = None
    method: Method | None = None


class OptionScoreBody(Part):
    """One option, by the name it was given, and its score."""

    option: str
    score: FiniteFloat


class MultipleChoiceResult(ResultBody):
    """Every option in the order asked, and the names of those that are right, at least one."""

    choices: list[OptionScoreBody] | None = None
    answer: list[str] | None = None


class EmbedAnswer(AnswerBody[EmbedResult]):
    """Answer of `POST /embed`."""


class NerAnswer(AnswerBody[NerResult]):
    """Answer of `POST /ner`."""


class ClassifyAnswer(AnswerBody[ClassifyResult]):
    """Answer of `POST /classify`."""


class AnalyzeAnswer(AnswerBody[AnalyzeResult]):
    """Answer of `POST /analyze`."""


class FillMaskAnswer(AnswerBody[FillMaskResult]):
    """Answer of `POST /fill-mask`."""


class TokenizeAnswer(AnswerBody[TokenizeResult]):
    """Answer of `POST /tokenize`."""


class SimilarityAnswer(AnswerBody[SimilarityResult]):
    """Answer of `POST /similarity`."""


class MultipleChoiceAnswer(AnswerBody[MultipleChoiceResult]):
    """Answer of `POST /multiple-choice`."""
