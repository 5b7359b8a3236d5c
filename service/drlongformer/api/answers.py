"""The bodies of answers: what the pipeline found, in the words of the HTTP contract.

Each result is built from one document's outcome: the task's own fields, or with `on_error: report` the problem in their place.
Fields that do not apply are left out. Offsets are code points and become UTF-16 units here if the caller counts so.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, FiniteFloat

from drlongformer.api.problems import Problem, describe
from drlongformer.api.schemas import ClassifyRequest, CommonRequest, EmbedRequest, FillMaskRequest, NerRequest, TokenizeRequest
from drlongformer.serving.requests import Answer, DocumentResult, Embedding, Entities, TokenSpan
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.fill_mask import MaskPredictions
from drlongformer.text.offsets import utf16_places
from drlongformer.types import FloatArray

A = TypeVar("A")
Fields = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelBody(_Part):
    """Which model answered; sha256 is the first 12 hex digits of its manifest's."""

    name: str
    version: int
    sha256: str
    precision: str


class UsageBody(_Part):
    """What the request cost."""

    documents: int
    tokens: int


class ResultBody(_Part):
    """One document's result; with `on_error: report` a bad document has `error` and nothing else.

    tokens: content tokens counted once, plus the special tokens of one window.
    """

    index: int
    id: str | None = None
    tokens: int | None = None
    windows: int | None = None
    truncated: bool | None = None
    error: Problem | None = None


R = TypeVar("R", bound=ResultBody)


class AnswerBody(_Part, Generic[R]):
    """One result per document, in the order asked."""

    model: ModelBody
    results: list[R]
    usage: UsageBody


class EmbedResult(ResultBody):
    """One vector, as numbers or as base64 of little-endian float32; vectors of equal `embedding_space` may be compared."""

    embedding: list[FiniteFloat] | str | None = None
    embedding_space: str | None = None


class EntityBody(_Part):
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


class LabelBody(_Part):
    """One label and its score."""

    label: str
    score: FiniteFloat


class ClassifyResult(ResultBody):
    """Labels, best first."""

    labels: list[LabelBody] | None = None


class PredictionBody(_Part):
    """One token that may stand in a mask's place."""

    token: str
    token_id: int
    score: FiniteFloat


class MaskBody(_Part):
    """One mask of the text, and what may stand there."""

    start: int
    end: int
    predictions: list[PredictionBody]


class FillMaskResult(ResultBody):
    """One entry per mask, in text order."""

    masks: list[MaskBody] | None = None


class TokenBody(_Part):
    """One token, and the part of the text it stands for."""

    id: int
    token: str
    start: int
    end: int


class TokenizeResult(ResultBody):
    """The content tokens, and how many they are."""

    tokens: list[TokenBody] | None = None  # type: ignore[assignment]  # the one route whose answer is the tokens
    count: int | None = None


class EmbedAnswer(AnswerBody[EmbedResult]):
    """Answer of `POST /embed`."""


class NerAnswer(AnswerBody[NerResult]):
    """Answer of `POST /ner`."""


class ClassifyAnswer(AnswerBody[ClassifyResult]):
    """Answer of `POST /classify`."""


class FillMaskAnswer(AnswerBody[FillMaskResult]):
    """Answer of `POST /fill-mask`."""


class TokenizeAnswer(AnswerBody[TokenizeResult]):
    """Answer of `POST /tokenize`."""


def embed(request: EmbedRequest, answer: Answer[Embedding], instance: str) -> EmbedAnswer:
    """Vectors in the encoding that was asked for."""

    def own(_text: str, found: Embedding) -> Fields:
        vector = _base64(found.vector) if request.encoding == "base64" else found.vector.tolist()
        return {"embedding": vector, "embedding_space": found.space}

    return EmbedAnswer(**_whole(request, answer, own, instance))


def ner(request: NerRequest, answer: Answer[Entities], instance: str) -> NerAnswer:
    """Entities with their places, with their text unless that was declined."""

    def own(text: str, found: Entities) -> Fields:
        place = _places(request, text)
        entities = [
            {
                "label": entity.label,
                "start": place(entity.start),
                "end": place(entity.end),
                "text": entity.text if request.return_text else None,
                "score": entity.score,
            }
            for entity in found.entities
        ]
        return {"entities": entities, "redacted": found.redacted}

    return NerAnswer(**_whole(request, answer, own, instance))


def classify(request: ClassifyRequest, answer: Answer[tuple[LabelScore, ...]], instance: str) -> ClassifyAnswer:
    """Labels as they come, best first."""

    def own(_text: str, found: tuple[LabelScore, ...]) -> Fields:
        return {"labels": [{"label": each.label, "score": each.score} for each in found]}

    return ClassifyAnswer(**_whole(request, answer, own, instance))


def fill_mask(request: FillMaskRequest, answer: Answer[tuple[MaskPredictions, ...]], instance: str) -> FillMaskAnswer:
    """Masks with their places and predictions."""

    def own(text: str, found: tuple[MaskPredictions, ...]) -> Fields:
        place = _places(request, text)
        masks = [
            {
                "start": place(mask.start),
                "end": place(mask.end),
                "predictions": [
                    {"token": each.token, "token_id": each.token_id, "score": each.score} for each in mask.predictions
                ],
            }
            for mask in found
        ]
        return {"masks": masks}

    return FillMaskAnswer(**_whole(request, answer, own, instance))


def tokenize(request: TokenizeRequest, answer: Answer[tuple[TokenSpan, ...]], instance: str) -> TokenizeAnswer:
    """Tokens with their places."""

    def own(text: str, found: tuple[TokenSpan, ...]) -> Fields:
        place = _places(request, text)
        tokens = [{"id": each.id, "token": each.token, "start": place(each.start), "end": place(each.end)} for each in found]
        return {"tokens": tokens, "count": len(found)}

    return TokenizeAnswer(**_whole(request, answer, own, instance))


def _whole(request: CommonRequest, answer: Answer[A], own: Callable[[str, A], Fields], instance: str) -> Fields:
    texts = [document.text for document in request.inputs]
    model = answer.model
    return {
        "model": ModelBody(name=model.name, version=model.version, sha256=model.sha256, precision=model.precision),
        "results": [_result(result, texts[result.index], own, instance) for result in answer.results],
        "usage": UsageBody(documents=len(answer.results), tokens=answer.tokens),
    }


def _result(result: DocumentResult[A], text: str, own: Callable[[str, A], Fields], instance: str) -> Fields:
    named = {"index": result.index, "id": result.id}
    if result.error is not None or result.answer is None:
        return named | {"error": describe(result.error or ValueError("no answer"), instance=instance)}
    counts = {"tokens": result.tokens, "windows": result.windows, "truncated": result.truncated}
    return named | counts | own(text, result.answer)


def _places(request: CommonRequest, text: str) -> Callable[[int], int]:
    """From a code point offset to the offset the caller counts in."""
    if request.offsets == "codepoint" or text.isascii():
        return int
    places = utf16_places(text)
    return lambda offset: int(places[offset])


def _base64(vector: FloatArray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
