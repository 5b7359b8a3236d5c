"""OpenTelemetry: one server span for each answered request, with a child for each stage; sizes and counts alone.

Spans are made when a request is over, from its record, so that nothing is spent on them while it is answered, and whatever the
log may not tell is not told here either: never a text, an id, a key; sizes of one request in classes. The caller's W3C
`traceparent` is the parent. Only this module needs the extra `otel`, and it is imported only where an endpoint is set.

    POST /ner  |----------------------------------------|
      read     |--|
      tokenize    |---|
      queue           |--------|        queue and compute of the document that was settled last,
      compute                  |----|   all laid behind one another
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.semconv.attributes import error_attributes, http_attributes, service_attributes
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import Scope

from drlongformer import __version__
from drlongformer.api.gate import OPEN_ROUTES
from drlongformer.api.record import Record, size_class

OWN: Final = "drlongformer"
NANOSECONDS: Final = 1_000_000_000
OTHER_METHOD: Final = "_OTHER"

Attributes = dict[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """One part of a request's time."""

    name: str
    seconds: float
    attributes: Attributes


class Tracing:
    """Makes the spans; what becomes of them is the processor's."""

    def __init__(self, processor: SpanProcessor) -> None:
        """`processor` takes each span when it has ended."""
        resource = Resource({service_attributes.SERVICE_NAME: OWN, service_attributes.SERVICE_VERSION: __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(OWN, __version__)
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def to(cls, endpoint: str) -> Tracing:
        """Spans are sent to this URL by OTLP over HTTP, in a thread of their own; past 2048 that wait they are dropped."""
        return cls(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))

    def write(self, scope: Scope, record: Record, *, route: str, method: str) -> None:
        """Make the spans of one answered request; probes and documents have none."""
        if route in OPEN_ROUTES:
            return
        status, now = record.status or 500, time.time_ns()
        start = now - round(record.elapsed_seconds * NANOSECONDS)
        span = self._tracer.start_span(
            f"{method} {route}",
            context=self._parent(scope),
            kind=SpanKind.SERVER,
            attributes=_told(record, route=route, method=method, status=status),
            start_time=start,
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        inside = set_span_in_context(span)
        for stage in _stages(record):
            child = self._tracer.start_span(stage.name, context=inside, attributes=stage.attributes, start_time=start)
            start = min(now, start + round(stage.seconds * NANOSECONDS))
            child.end(start)
        span.end(now)

    def close(self) -> None:
        """Send what waits, and stop."""
        self._provider.shutdown()

    def _parent(self, scope: Scope) -> Context:
        """The caller's span; none where the header is wrong or sent twice. `tracestate` could be any text and is not kept."""
        sent = Headers(scope=scope).getlist("traceparent")
        return self._propagator.extract({"traceparent": sent[0]} if len(sent) == 1 else {}, context=Context())


def _told(record: Record, *, route: str, method: str, status: int) -> Attributes:
    told: Mapping[str, str | int | None] = {
        http_attributes.HTTP_REQUEST_METHOD: OTHER_METHOD if method == "other" else method,
        http_attributes.HTTP_ROUTE: route,
        http_attributes.HTTP_RESPONSE_STATUS_CODE: status,
        error_attributes.ERROR_TYPE: record.problem,
        f"{OWN}.model": record.model,
        f"{OWN}.documents": record.documents,
        f"{OWN}.tokens": None if record.tokens is None else size_class(record.tokens),
        f"{OWN}.body_bytes": size_class(record.body_bytes),
    }
    return {name: value for name, value in told.items() if value is not None}


def _stages(record: Record) -> Iterator[_Stage]:
    if record.read_seconds is None:
        return
    yield _Stage(name="read", seconds=record.read_seconds, attributes={})
    timings = record.timings
    if timings is None:
        return
    yield _Stage(name="tokenize", seconds=timings.tokenize_seconds, attributes={})
    yield _Stage(name="queue", seconds=timings.queue_seconds, attributes={f"{OWN}.queue_tokens": timings.queue_tokens})
    batch = timings.batch
    shape: Attributes = {}
    if batch is not None:
        shape = {f"{OWN}.batch_{name}": getattr(batch, name) for name in ("documents", "windows", "slots")}
    yield _Stage(name="compute", seconds=timings.compute_seconds, attributes=shape)
