"""The bodies of answers: what the pipeline found, in the words of the HTTP contract.

Each result is built from one document's outcome: the task's own fields, or with `on_error: report` the problem in their place.
Fields that do not apply are left out. Offsets are code points and become UTF-16 units here if the caller counts so.

An answer is written as pieces of JSON, one after the other, each made when it is asked for:

    {"model": ..., "results": [   {"index": 0, ..., "tokens": [   {...}, {...}   ,{...}   ]}   ,{...}   ], "usage": ...}

A piece holds at most `SLICE` tokens, entities or words. Making one holds the interpreter for milliseconds, making a large
answer in one go would hold it, and with it every other request, for seconds.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, FiniteFloat, SerializeAsAny, TypeAdapter

from drlongformer.api.problems import Problem, describe
from drlongformer.api.schemas import ClassifyRequest, CommonRequest, EmbedRequest, FillMaskRequest, NerRequest, TokenizeRequest
from drlongformer.serving.requests import Answer, DocumentResult, Embedding, Entities, TokenSpan
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.fill_mask import MaskPredictions
from drlongformer.text.offsets import utf16_places
from drlongformer.types import FloatArray

A = TypeVar("A")

SLICE: Final = 2000
"""Tokens, entities or words of one piece of an answer."""


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
    """One token that may stand in a mask's place; `token` keeps the space before a word."""

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


_PARTS: Final[TypeAdapter[list[_Part]]] = TypeAdapter(list[SerializeAsAny[_Part]])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What a task tells of one document: short fields, and one long list that is written slice by slice.

    `name` is the list's, empty where there is none; `size` is how many of its parts make one piece.
    """

    short: Mapping[str, object]
    name: str = ""
    parts: Iterable[_Part] = ()
    size: int = SLICE


def embed(request: EmbedRequest, answer: Answer[Embedding], instance: str) -> Iterator[bytes]:
    """Vectors in the encoding that was asked for."""

    def own(_text: str, found: Embedding) -> _Told:
        vector = _base64(found.vector) if request.encoding == "base64" else found.vector.tolist()
        return _Told(short={"embedding": vector, "embedding_space": found.space})

    return _whole(EmbedResult, request, answer, own, instance)


def ner(request: NerRequest, answer: Answer[Entities], instance: str) -> Iterator[bytes]:
    """Entities with their places, with their text unless that was declined."""

    def own(text: str, found: Entities) -> _Told:
        place = _places(request, text)
        entities = (
            EntityBody(
                label=entity.label,
                start=place(entity.start),
                end=place(entity.end),
                text=entity.text if request.return_text else None,
                score=entity.score,
            )
            for entity in found.entities
        )
        return _Told(short={"redacted": found.redacted}, name="entities", parts=entities)

    return _whole(NerResult, request, answer, own, instance)


def classify(request: ClassifyRequest, answer: Answer[tuple[LabelScore, ...]], instance: str) -> Iterator[bytes]:
    """Labels as they come, best first."""

    def own(_text: str, found: tuple[LabelScore, ...]) -> _Told:
        labels = (LabelBody(label=each.label, score=each.score) for each in found)
        return _Told(short={}, name="labels", parts=labels)

    return _whole(ClassifyResult, request, answer, own, instance)


def fill_mask(request: FillMaskRequest, answer: Answer[tuple[MaskPredictions, ...]], instance: str) -> Iterator[bytes]:
    """Masks with their places and predictions."""

    def own(text: str, found: tuple[MaskPredictions, ...]) -> _Told:
        place = _places(request, text)
        masks = (
            MaskBody(
                start=place(mask.start),
                end=place(mask.end),
                predictions=[
                    PredictionBody(token=each.token, token_id=each.token_id, score=each.score) for each in mask.predictions
                ],
            )
            for mask in found
        )
        words = max((len(mask.predictions) for mask in found), default=0)
        return _Told(short={}, name="masks", parts=masks, size=max(1, SLICE // max(1, words)))

    return _whole(FillMaskResult, request, answer, own, instance)


def tokenize(request: TokenizeRequest, answer: Answer[tuple[TokenSpan, ...]], instance: str) -> Iterator[bytes]:
    """Tokens with their places."""

    def own(text: str, found: tuple[TokenSpan, ...]) -> _Told:
        place = _places(request, text)
        tokens = (TokenBody(id=each.id, token=each.token, start=place(each.start), end=place(each.end)) for each in found)
        return _Told(short={"count": len(found)}, name="tokens", parts=tokens)

    return _whole(TokenizeResult, request, answer, own, instance)


def _whole(
    shape: type[ResultBody], request: CommonRequest, answer: Answer[A], own: Callable[[str, A], _Told], instance: str
) -> Iterator[bytes]:
    texts = [document.text for document in request.inputs]
    model = answer.model
    identity = ModelBody(name=model.name, version=model.version, sha256=model.sha256, precision=model.precision)
    answered = sum(result.error is None for result in answer.results)
    usage = UsageBody(documents=answered, tokens=answer.tokens)
    yield b'{"model":' + _json(identity) + b',"results":['
    for place, result in enumerate(answer.results):
        if place:
            yield b","
        yield from _result(shape, result, texts[result.index], own, instance)
    yield b'],"usage":' + _json(usage) + b"}"


def _result(
    shape: type[ResultBody], result: DocumentResult[A], text: str, own: Callable[[str, A], _Told], instance: str
) -> Iterator[bytes]:
    """One result; its long list comes last, and its slices are joined by commas."""
    if result.error is not None or result.answer is None:
        problem = describe(result.error or ValueError("no answer"), instance=instance)
        yield _json(shape(index=result.index, id=result.id, error=problem))
        return
    told = own(text, result.answer)
    counts = {"tokens": result.tokens, "windows": result.windows, "truncated": result.truncated}
    known = {"index": result.index, "id": result.id} | counts | dict(told.short)
    known.pop(told.name, None)  # the tokens of `/tokenize` stand where their number stands elsewhere
    short = _json(shape.model_validate(known))
    if told.name:
        yield short.removesuffix(b"}") + f',"{told.name}":['.encode()
        yield from _slices(iter(told.parts), told.size)
        yield b"]}"
    else:
        yield short


def _slices(parts: Iterator[_Part], size: int) -> Iterator[bytes]:
    """The inside of a JSON list, `size` parts at a time."""
    comma = b""
    while some := list(islice(parts, size)):
        yield comma + _PARTS.dump_json(some, exclude_none=True)[1:-1]
        comma = b","


def _json(body: BaseModel) -> bytes:
    return body.model_dump_json(exclude_none=True).encode()


def _places(request: CommonRequest, text: str) -> Callable[[int], int]:
    """From a code point offset to the offset the caller counts in."""
    if request.offsets == "codepoint" or text.isascii():
        return int
    places = utf16_places(text)
    return lambda offset: int(places[offset])


def _base64(vector: FloatArray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
