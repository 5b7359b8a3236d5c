"""What every surface's task routes do: read one of their requests, ask the pipeline, write the answer in their form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import Request, Response

from drlongformer.api.requests import (
    ClassifyRequest,
    EmbedRequest,
    FillMaskRequest,
    NerRequest,
    SimilarityRequest,
    TokenizeRequest,
)
from drlongformer.api.routes import Service, read_call
from drlongformer.api.schemas import CommonRequest
from drlongformer.serving.models import ANSWERING
from drlongformer.serving.requests import Answer, Embedding, Entities, Similarity, TokenSpan
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.fill_mask import MaskPredictions

B = TypeVar("B", bound=CommonRequest[Any])
A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Generic[B, A]):
    """A task as a surface knows it: its request, the pipeline's answer to it within so many seconds, and its form."""

    request: type[B]
    answer: Callable[[Service, B, float], Awaitable[Answer[A]]]
    shape: Callable[[B, Answer[A], str], Iterator[bytes]]

    async def respond(self, service: Service, request: Request) -> Response:
        """The whole answer to a request in JSON."""
        call = await read_call(service, request, self.request)
        return await call.reply(self.shape, self.answer(service, call.body, call.seconds))


def embed(service: Service, body: EmbedRequest, seconds: float) -> Awaitable[Answer[Embedding]]:
    """One vector per document."""
    return service.pipeline.embed(body.units, body.options(seconds))


def ner(service: Service, body: NerRequest, seconds: float) -> Awaitable[Answer[Entities]]:
    """The entities of each document."""
    return service.pipeline.ner(body.units, body.options(seconds))


def classify(service: Service, body: ClassifyRequest, seconds: float) -> Awaitable[Answer[tuple[LabelScore, ...]]]:
    """The labels of each document."""
    return service.pipeline.classify(body.units, body.options(seconds))


def fill_mask(service: Service, body: FillMaskRequest, seconds: float) -> Awaitable[Answer[tuple[MaskPredictions, ...]]]:
    """Words for each mask of each document."""
    return service.pipeline.fill_mask(body.units, body.options(seconds))


def tokenize(service: Service, body: TokenizeRequest, seconds: float) -> Awaitable[Answer[Sequence[TokenSpan]]]:
    """The tokens of each document."""
    return service.pipeline.tokenize(body.units, body.common(seconds))


def cosine(service: Service, body: SimilarityRequest, seconds: float) -> Awaitable[Answer[Similarity]]:
    """The cosine of each pair's embeddings, which is what the surfaces mean; a head for pairs only where nothing embeds."""
    model = service.models.get_for_any(body.model, ANSWERING["similarity"])
    if body.head is None and "embed" in model.bundle.tasks:
        body = body.model_copy(update={"head": model.bundle.head("embed", None).name})
    return service.pipeline.similarity(body.units, body.common(seconds))


def answers(answer: Answer[A]) -> list[A]:
    """What was found in each document. Raises what is wrong with the first that has nothing: here is no place to tell it."""
    found = []
    for result in answer.results:
        if result.answer is None:
            raise result.error or ValueError(f"document {result.index} has neither answer nor error")
        found.append(result.answer)
    return found
