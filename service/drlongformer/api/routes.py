"""The routes: JSON to options, one call of the pipeline, the answer's body. No decision about models or texts is made here."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar

import prometheus_client
from fastapi import APIRouter, Request, Response
from fastapi import Path as PathField
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from drlongformer.api import answers, catalogue, gate, results
from drlongformer.api.audit import AuditLog
from drlongformer.api.documentation import for_reading, for_task
from drlongformer.api.examples import EXAMPLES
from drlongformer.api.json_body import parse_steps
from drlongformer.api.lifecycle import Lifecycle
from drlongformer.api.pieces import PiecewiseResponse, joined
from drlongformer.api.record import Record, record_of
from drlongformer.api.requests import (
    AnalyzeRequest,
    ClassifyRequest,
    EmbedRequest,
    FillMaskRequest,
    MultipleChoiceRequest,
    NerRequest,
    SimilarityRequest,
    TokenizeRequest,
)
from drlongformer.api.room import allowed_seconds
from drlongformer.api.schemas import CommonRequest, read
from drlongformer.api.slow import Slow, SlowReport
from drlongformer.api.unpacking import content_coding
from drlongformer.errors import DeadlineExceeded
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models
from drlongformer.serving.pipeline import Pipeline
from drlongformer.serving.reading import Steps, finished
from drlongformer.serving.requests import Answer
from drlongformer.serving.swap import Swapper
from drlongformer.settings import Settings

if TYPE_CHECKING:  # the extra `otel`, where it is asked for
    from drlongformer.api.tracing import Tracing

_JSON_TYPE = re.compile(r"application/json(\s*;\s*charset\s*=\s*\"?utf-8\"?)?\s*", re.IGNORECASE)

LARGE_BYTES: Final = 32 * 1024
"""Bodies up to this size are read by the event loop itself: the worst of them take it 20 ms."""

ModelName = Annotated[str, PathField(description="`name` or `name:version`.", examples=["drlongformer-mini"])]

B = TypeVar("B", bound=CommonRequest[Any])
A = TypeVar("A")


REQUESTS: tuple[type[CommonRequest[Any]], ...] = (
    EmbedRequest,
    NerRequest,
    ClassifyRequest,
    AnalyzeRequest,
    FillMaskRequest,
    SimilarityRequest,
    MultipleChoiceRequest,
    TokenizeRequest,
)
"""Every body that the routes read."""


class Health(BaseModel):
    """Answer of the health routes; anything but 200 is a problem."""

    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the routes stand on."""

    pipeline: Pipeline
    models: Models
    metrics: Metrics
    lifecycle: Lifecycle
    settings: Settings
    access: gate.Access | None = None
    audit: AuditLog | None = None
    swapper: Swapper | None = None
    tracing: Tracing | None = None
    slow: Slow = field(default_factory=partial(Slow, EXAMPLES))
    since: datetime = field(default_factory=partial(datetime.now, UTC))


def task_routes(service: Service) -> APIRouter:
    """The routes that read documents."""
    router = APIRouter()
    pipeline = service.pipeline

    @router.post("/embed", **for_task("/embed", EmbedRequest, results.EmbedAnswer))
    async def embed(request: Request) -> Response:
        """One vector for each document."""
        call = await read_call(service, request, EmbedRequest)
        return await call.reply(answers.embed, pipeline.embed(call.body.units, call.body.options(call.seconds)))

    @router.post("/ner", **for_task("/ner", NerRequest, results.NerAnswer))
    async def ner(request: Request) -> Response:
        """Entities with their exact places in the text."""
        call = await read_call(service, request, NerRequest)
        return await call.reply(answers.ner, pipeline.ner(call.body.units, call.body.options(call.seconds)))

    @router.post("/classify", **for_task("/classify", ClassifyRequest, results.ClassifyAnswer))
    async def classify(request: Request) -> Response:
        """Labels with their scores, best first."""
        call = await read_call(service, request, ClassifyRequest)
        return await call.reply(answers.classify, pipeline.classify(call.body.units, call.body.options(call.seconds)))

    @router.post("/analyze", **for_task("/analyze", AnalyzeRequest, results.AnalyzeAnswer))
    async def analyze(request: Request) -> Response:
        """Several tasks about each document, from one pass of the model where their heads were trained alike."""
        call = await read_call(service, request, AnalyzeRequest)
        return await call.reply(answers.analyze, pipeline.analyze(call.body.units, call.body.options(call.seconds)))

    @router.post("/fill-mask", **for_task("/fill-mask", FillMaskRequest, results.FillMaskAnswer))
    async def fill_mask(request: Request) -> Response:
        """Words that may stand where the text has a mask."""
        call = await read_call(service, request, FillMaskRequest)
        return await call.reply(answers.fill_mask, pipeline.fill_mask(call.body.units, call.body.options(call.seconds)))

    @router.post("/similarity", **for_task("/similarity", SimilarityRequest, results.SimilarityAnswer))
    async def similarity(request: Request) -> Response:
        """How alike two texts are: by the model's head for pairs, else by the cosine of their embeddings."""
        call = await read_call(service, request, SimilarityRequest)
        return await call.reply(answers.similarity, pipeline.similarity(call.body.units, call.body.common(call.seconds)))

    @router.post("/multiple-choice", **for_task("/multiple-choice", MultipleChoiceRequest, results.MultipleChoiceAnswer))
    async def multiple_choice(request: Request) -> Response:
        """Which of a question's options are right, with or without a text that it is asked about."""
        call = await read_call(service, request, MultipleChoiceRequest)
        coming = pipeline.multiple_choice(call.body.units, call.body.options(call.seconds))
        return await call.reply(answers.multiple_choice, coming)

    @router.post("/tokenize", **for_task("/tokenize", TokenizeRequest, results.TokenizeAnswer))
    async def tokenize(request: Request) -> Response:
        """The model's tokens, and the part of the text each stands for."""
        call = await read_call(service, request, TokenizeRequest)
        return await call.reply(answers.tokenize, pipeline.tokenize(call.body.units, call.body.common(call.seconds)))

    return router


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[B]):
    """A request that was read: its body, the seconds it was allowed, and those that are left of them."""

    body: B
    allowed: float
    seconds: float
    record: Record
    pipeline: Pipeline

    async def reply(self, shape: Callable[[B, Answer[A], str], Iterator[bytes]], coming: Awaitable[Answer[A]]) -> Response:
        """The answer, and into the record what headers, log and metrics tell of it."""
        try:
            answer = await coming
        except DeadlineExceeded:
            if self.record.elapsed_seconds < self.allowed:
                raise  # it was told ahead that the deadline cannot be met, and why
            raise DeadlineExceeded(
                f"the deadline of {self.allowed:g} seconds passed before every document was answered"
            ) from None
        self.record.admitted = False  # the pipeline is done with it, and counts no refusal from here on
        self.record.timings = answer.timings
        self.record.tokens = answer.tokens
        self.record.model = f"{answer.model.name}:{answer.model.version}"
        pieces = joined(shape(self.body, answer, self.record.request_id))
        return PiecewiseResponse(await self.pipeline.beside(pieces, since=time.monotonic() - self.record.elapsed_seconds))


async def read_call(service: Service, request: Request, model: type[B]) -> Call[B]:
    """A request in JSON for one of our own models of it."""
    service.lifecycle.require_started()
    _require_json(request)
    return await begin(service, request, partial(_body, model=model, max_documents=service.settings.limits.max_documents))


async def begin(service: Service, request: Request, reading: Callable[[bytes], Steps[B]]) -> Call[B]:
    """Everything that is checked before the pipeline sees a request; from here on the pipeline counts refusals."""
    service.lifecycle.require_started()
    record, limits = record_of(request.scope), service.settings.limits
    allowed = allowed_seconds(request.headers, longest=limits.request_seconds)
    sent = await request.body()
    steps = reading(sent)
    body = await service.pipeline.beside(steps) if len(sent) > LARGE_BYTES else finished(steps)
    left = allowed - record.elapsed_seconds
    body = gate.asked_by(record.key, body)
    if left <= 0:
        service.metrics.deadline_exceeded_total.labels(stage="receive").inc(len(body.units))
        raise DeadlineExceeded(f"the deadline of {allowed:g} seconds passed while the request was read")
    record.admitted, record.documents, record.read_seconds = True, len(body.units), record.elapsed_seconds
    return Call(body=body, allowed=allowed, seconds=left, record=record, pipeline=service.pipeline)


def _body(sent: bytes, model: type[B], *, max_documents: int) -> Steps[B]:
    """The body of a request, in steps: those of a large one are taken in a thread, so that the event loop serves others."""
    value = yield from parse_steps(sent)
    yield
    return read(model, value, max_documents=max_documents)


def _require_json(request: Request) -> None:
    if not _JSON_TYPE.fullmatch(request.headers.get("content-type", "")):
        raise HTTPException(415, "the body must be sent with Content-Type: application/json, in UTF-8")
    require_coding(request)


def require_coding(request: Request) -> None:
    """Raise 415 for a body that is packed in a way that is not unpacked here."""
    if content_coding(request.headers) not in ("identity", "gzip"):
        told = "the body must be sent without Content-Encoding, or with gzip alone"
        raise HTTPException(415, told, headers={"Accept-Encoding": "gzip"})


def reading_routes(service: Service) -> APIRouter:
    """The routes that tell of the service itself."""
    router = APIRouter()

    @router.get("/models", **for_reading("Every model that is served.", catalogue.ModelList, tag="models"))
    async def models() -> Response:
        """The models, their versions and tasks."""
        return _json(catalogue.summaries(service.models))

    @router.get("/models/{name}", **for_reading("One model.", catalogue.ModelDetails, tag="models"))
    async def model(name: ModelName) -> Response:
        """Heads, labels, mask string, limits, provenance and scores of `name` or `name:version`."""
        found = service.models.get(name, None)
        return _json(catalogue.details(found, service.models, service.settings.limits))

    @router.get("/livez", **for_reading("The process answers and no engine hangs.", Health, tag="service"))
    async def livez() -> Response:
        """Whether the process should go on living."""
        service.models.require_alive()
        return _json(Health(status="alive"))

    @router.get("/readyz", **for_reading("New requests are welcome.", Health, tag="service"))
    @router.get("/health", **for_reading("The same as /readyz.", Health, tag="service"))
    async def readyz() -> Response:
        """Whether new requests should be sent here."""
        service.lifecycle.require_ready()
        service.models.require_alive()
        return _json(Health(status="ready"))

    @router.get("/usage", **for_reading("What each key did, by day.", gate.UsageReport, tag="service"))
    async def usage() -> Response:
        """Requests, documents, tokens and refusals of every key on every day (UTC), since this process started."""
        return _json(gate.report(service.access, since=service.since))

    @router.get("/debug/slow", **for_reading("The slowest requests lately.", SlowReport, tag="service"))
    async def slow() -> Response:
        """Where the time of the slowest of the last 2000 task requests went, what waited when they came; figures alone."""
        return _json(service.slow.report())

    @router.get("/metrics", response_class=PlainTextResponse, **for_reading("Prometheus' text format.", tag="service"))
    async def metrics() -> Response:
        """Every counter, gauge and histogram."""
        text = prometheus_client.generate_latest(service.metrics.registry)
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    answer_head(router)
    return router


def answer_head(router: APIRouter) -> None:
    """Let HEAD be asked wherever GET is; the server leaves the body out. A route of its own keeps it out of the document."""
    for route in [route for route in router.routes if isinstance(route, APIRoute) and "GET" in (route.methods or ())]:
        router.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)


def _json(body: BaseModel) -> Response:
    return Response(body.model_dump_json(), media_type="application/json")
