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
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from pydantic import BaseModel, SerializeAsAny, TypeAdapter

from drlongformer.api.problems import describe
from drlongformer.api.requests import (
    AnalyzeEmbed,
    AnalyzeNer,
    AnalyzeRequest,
    ClassifyRequest,
    EmbedFields,
    EmbedRequest,
    FillMaskRequest,
    MultipleChoiceRequest,
    NerFields,
    NerRequest,
    SimilarityRequest,
    TextRequest,
    TokenizeRequest,
)
from drlongformer.api.results import (
    AnalyzeResult,
    ChunkBody,
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
from drlongformer.serving.requests import Analysis, Answer, DocumentResult, Embedding, Entities, Similarity, TokenSpan
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.fill_mask import MaskPredictions
from drlongformer.tasks.multiple_choice import Choice
from drlongformer.text.offsets import utf16_places
from drlongformer.types import FloatArray

A = TypeVar("A")

SLICE: Final = 2000
"""Tokens, entities or words of one piece of an answer."""

NUMBERS: Final = 16_000
"""Numbers of one piece of an answer, where it holds the vectors of chunks."""

_PARTS: Final[TypeAdapter[list[Part]]] = TypeAdapter(list[SerializeAsAny[Part]])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """A long list; `size` is how many of its parts make one piece."""

    parts: Iterable[Part]
    size: int = SLICE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What a task tells of one document: short fields, and long lists by their names, which are written slice by slice."""

    short: Mapping[str, object] = field(default_factory=dict)
    long: Mapping[str, _Parts] = field(default_factory=dict)


def embed(request: EmbedRequest, answer: Answer[Embedding], instance: str) -> Iterator[bytes]:
    """Vectors in the encoding that was asked for."""

    def own(index: int, found: Embedding) -> _Told:
        return _embedding(request, found, _places(request, request.inputs[index].text))

    return _whole(EmbedResult, answer, own, instance)


def ner(request: NerRequest, answer: Answer[Entities], instance: str) -> Iterator[bytes]:
    """Entities with their places, with their text unless that was declined."""

    def own(index: int, found: Entities) -> _Told:
        return _entities(request, found, _places(request, request.inputs[index].text))

    return _whole(NerResult, answer, own, instance)


def classify(_request: ClassifyRequest, answer: Answer[tuple[LabelScore, ...]], instance: str) -> Iterator[bytes]:
    """Labels as they come, best first."""
    return _whole(ClassifyResult, answer, lambda _, found: _labels(found), instance)


def analyze(request: AnalyzeRequest, answer: Answer[Analysis], instance: str) -> Iterator[bytes]:
    """The fields of every task that was asked."""

    def own(index: int, found: Analysis) -> _Told:
        place = _places(request, request.inputs[index].text)
        told = []
        if found.embed is not None:
            told.append(_embedding(request.embed or AnalyzeEmbed(), found.embed, place))
        if found.ner is not None:
            told.append(_entities(request.ner or AnalyzeNer(), found.ner, place))
        if found.classify is not None:
            told.append(_labels(found.classify))
        short = {name: value for each in told for name, value in each.short.items()}
        return _Told(short=short, long={name: parts for each in told for name, parts in each.long.items()})

    return _whole(AnalyzeResult, answer, own, instance)


def _embedding(asked: EmbedFields, found: Embedding, place: Callable[[int], int]) -> _Told:
    write = partial(_vector, encoding=asked.encoding)
    short = {"embedding": write(found.vector), "embedding_space": found.space}
    if found.chunks is None:
        return _Told(short=short)
    chunks = (ChunkBody(start=place(each.start), end=place(each.end), embedding=write(each.vector)) for each in found.chunks)
    return _Told(short=short, long={"chunks": _Parts(parts=chunks, size=max(1, NUMBERS // len(found.vector)))})


def _entities(asked: NerFields, found: Entities, place: Callable[[int], int]) -> _Told:
    entities = (
        EntityBody(
            label=entity.label,
            start=place(entity.start),
            end=place(entity.end),
            text=entity.text if asked.return_text else None,
            score=entity.score,
        )
        for entity in found.entities
    )
    return _Told(short={"redacted": found.redacted}, long={"entities": _Parts(parts=entities)})


def _labels(found: tuple[LabelScore, ...]) -> _Told:
    return _Told(long={"labels": _Parts(parts=(LabelBody(label=each.label, score=each.score) for each in found))})


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
        unread = sum(not mask.predictions for mask in found)
        short = {"masks_unread": unread} if unread else {}
        return _Told(short=short, long={"masks": _Parts(parts=masks, size=max(1, SLICE // max(1, words)))})

    return _whole(FillMaskResult, answer, own, instance)


def tokenize(request: TokenizeRequest, answer: Answer[Sequence[TokenSpan]], instance: str) -> Iterator[bytes]:
    """Tokens with their places, or their number alone."""

    def own(index: int, found: Sequence[TokenSpan]) -> _Told:
        if not request.return_tokens:
            return _Told(short={"count": len(found), "tokens": None})
        place = _places(request, request.inputs[index].text)
        tokens = (TokenBody(id=each.id, token=each.token, start=place(each.start), end=place(each.end)) for each in found)
        return _Told(short={"count": len(found)}, long={"tokens": _Parts(parts=tokens)})

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
    """One result; its long lists come last, and their slices are joined by commas."""
    if result.error is not None or result.answer is None:
        problem = describe(result.error or ValueError("no answer"), instance=instance)
        yield _json(shape(index=result.index, id=result.id, error=problem))
        return
    told = own(result.index, result.answer)
    counts = {"tokens": result.tokens, "windows": result.windows, "truncated": result.truncated}
    if result.truncated:
        counts["tokens_read"] = result.tokens_read
    known = {"index": result.index, "id": result.id} | counts | dict(told.short)
    for name in told.long:
        known.pop(name, None)  # the tokens of `/tokenize` stand where their number stands elsewhere
    short = _json(shape.model_validate(known))
    yield short.removesuffix(b"}") if told.long else short
    for name, long in told.long.items():
        yield f',"{name}":['.encode()
        yield from _slices(iter(long.parts), long.size)
        yield b"]"
    if told.long:
        yield b"}"


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


def _vector(vector: FloatArray, *, encoding: str) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    numbers: list[float] = vector.tolist()
    return numbers
