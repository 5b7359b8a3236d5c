"""Answers written: what the pipeline found, as the bodies of `results.py`, piece by piece.

Offsets are code points and become UTF-16 units here if the caller counts so. An answer is written as pieces of JSON, one after
the other, each made when it is asked for:

    {"model": ..., "results": [   {"index": 0, ..., "tokens": [   {...}, {...}   ,{...}   ]}   ,{...}   ], "usage": ...}

A piece holds at most `SLICE` tokens, entities or words. Making one holds the interpreter for milliseconds, making a large
answer in one go would hold it, and with it every other request, for seconds.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

from pydantic import BaseModel, SerializeAsAny, TypeAdapter

from drlongformer.api.problems import describe
from drlongformer.api.requests import (
    ClassifyRequest,
    EmbedRequest,
    FillMaskRequest,
    MultipleChoiceRequest,
    NerRequest,
    SimilarityRequest,
    TextRequest,
    TokenizeRequest,
)
from drlongformer.api.results import (
    ClassifyResult,
    EmbedResult,
    EntityBody,
    FillMaskResult,
    LabelBody,
    MaskBody,
    ModelBody,
    MultipleChoiceResult,
    NerResult,
    OptionScoreBody,
    Part,
    PredictionBody,
    ResultBody,
    SimilarityResult,
    TokenBody,
    TokenizeResult,
    UsageBody,
)
from drlongformer.serving.requests import Answer, DocumentResult, Embedding, Entities, Similarity, TokenSpan
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.fill_mask import MaskPredictions
from drlongformer.tasks.multiple_choice import Choice
from drlongformer.text.offsets import utf16_places
from drlongformer.types import FloatArray

A = TypeVar("A")

SLICE: Final = 2000
"""Tokens, entities or words of one piece of an answer."""

_PARTS: Final[TypeAdapter[list[Part]]] = TypeAdapter(list[SerializeAsAny[Part]])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What a task tells of one document: short fields, and one long list that is written slice by slice.

    `name` is the list's, empty where there is none; `size` is how many of its parts make one piece.
    """

    short: Mapping[str, object]
    name: str = ""
    parts: Iterable[Part] = ()
    size: int = SLICE


def embed(request: EmbedRequest, answer: Answer[Embedding], instance: str) -> Iterator[bytes]:
    """Vectors in the encoding that was asked for."""

    def own(_index: int, found: Embedding) -> _Told:
        vector = _base64(found.vector) if request.encoding == "base64" else found.vector.tolist()
        return _Told(short={"embedding": vector, "embedding_space": found.space})

    return _whole(EmbedResult, answer, own, instance)


def ner(request: NerRequest, answer: Answer[Entities], instance: str) -> Iterator[bytes]:
    """Entities with their places, with their text unless that was declined."""

    def own(index: int, found: Entities) -> _Told:
        place = _places(request, request.inputs[index].text)
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

    return _whole(NerResult, answer, own, instance)


def classify(_request: ClassifyRequest, answer: Answer[tuple[LabelScore, ...]], instance: str) -> Iterator[bytes]:
    """Labels as they come, best first."""

    def own(_index: int, found: tuple[LabelScore, ...]) -> _Told:
        labels = (LabelBody(label=each.label, score=each.score) for each in found)
        return _Told(short={}, name="labels", parts=labels)

    return _whole(ClassifyResult, answer, own, instance)


def fill_mask(request: FillMaskRequest, answer: Answer[tuple[MaskPredictions, ...]], instance: str) -> Iterator[bytes]:
    """Masks with their places and predictions."""

    def own(index: int, found: tuple[MaskPredictions, ...]) -> _Told:
        place = _places(request, request.inputs[index].text)
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

    return _whole(FillMaskResult, answer, own, instance)


def tokenize(request: TokenizeRequest, answer: Answer[Sequence[TokenSpan]], instance: str) -> Iterator[bytes]:
    """Tokens with their places."""

    def own(index: int, found: Sequence[TokenSpan]) -> _Told:
        place = _places(request, request.inputs[index].text)
        tokens = (TokenBody(id=each.id, token=each.token, start=place(each.start), end=place(each.end)) for each in found)
        return _Told(short={"count": len(found)}, name="tokens", parts=tokens)

    return _whole(TokenizeResult, answer, own, instance)


def similarity(_request: SimilarityRequest, answer: Answer[Similarity], instance: str) -> Iterator[bytes]:
    """A score for each pair, and how it came about."""

    def own(_index: int, found: Similarity) -> _Told:
        return _Told(short={"score": found.score, "method": found.method})

    return _whole(SimilarityResult, answer, own, instance)


def multiple_choice(_request: MultipleChoiceRequest, answer: Answer[Choice], instance: str) -> Iterator[bytes]:
    """Options in the order asked, and those that are right."""

    def own(_index: int, found: Choice) -> _Told:
        choices = [OptionScoreBody(option=each.option, score=each.score) for each in found.choices]
        return _Told(short={"choices": choices, "answer": list(found.answer)})

    return _whole(MultipleChoiceResult, answer, own, instance)


def _whole(shape: type[ResultBody], answer: Answer[A], own: Callable[[int, A], _Told], instance: str) -> Iterator[bytes]:
    model = answer.model
    identity = ModelBody(name=model.name, version=model.version, sha256=model.sha256, precision=model.precision)
    answered = sum(result.error is None for result in answer.results)
    usage = UsageBody(documents=answered, tokens=answer.tokens)
    yield b'{"model":' + _json(identity) + b',"results":['
    for place, result in enumerate(answer.results):
        if place:
            yield b","
        yield from _result(shape, result, own, instance)
    yield b'],"usage":' + _json(usage) + b"}"


def _result(
    shape: type[ResultBody], result: DocumentResult[A], own: Callable[[int, A], _Told], instance: str
) -> Iterator[bytes]:
    """One result; its long list comes last, and its slices are joined by commas."""
    if result.error is not None or result.answer is None:
        problem = describe(result.error or ValueError("no answer"), instance=instance)
        yield _json(shape(index=result.index, id=result.id, error=problem))
        return
    told = own(result.index, result.answer)
    counts = {"tokens": result.tokens, "windows": result.windows, "truncated": result.truncated}
    if result.truncated:
        counts["tokens_read"] = result.tokens_read
    known = {"index": result.index, "id": result.id} | counts | dict(told.short)
    known.pop(told.name, None)  # the tokens of `/tokenize` stand where their number stands elsewhere
    short = _json(shape.model_validate(known))
    if told.name:
        yield short.removesuffix(b"}") + f',"{told.name}":['.encode()
        yield from _slices(iter(told.parts), told.size)
        yield b"]}"
    else:
        yield short


def _slices(parts: Iterator[Part], size: int) -> Iterator[bytes]:
    """The inside of a JSON list, `size` parts at a time."""
    comma = b""
    while some := list(islice(parts, size)):
        yield comma + _PARTS.dump_json(some, exclude_none=True)[1:-1]
        comma = b","


def _json(body: BaseModel) -> bytes:
    return body.model_dump_json(exclude_none=True).encode()


def _places(request: TextRequest, text: str) -> Callable[[int], int]:
    """From a code point offset to the offset the caller counts in."""
    if request.offsets == "codepoint" or text.isascii():
        return int
    places = utf16_places(text)
    return lambda offset: int(places[offset])


def _base64(vector: FloatArray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
