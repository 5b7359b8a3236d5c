"""Every instrument of `/metrics`, as one object that is handed to those who observe.

Each has its own registry, so two services in one process (or one test after another) never share a count. Labels are bounded:
tasks, length classes, lanes, stages, devices and names of errors; never a text, a key or a document's id.
Who counts: the batcher what concerns batches and the queue, the pipeline what concerns documents and every request it refuses,
the HTTP layer what concerns requests and those it refuses before the pipeline sees them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

PREFIX = "drlongformer_"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
TOKENS = tuple(2.0**power for power in range(4, 19))
COUNTS = tuple(2.0**power for power in range(10))
LENGTHS = (512, 1024, 2048, 4096)


def length_class(tokens: int) -> str:
    """The class of a document's length: `le512`, `le1024`, `le2048`, `le4096` or `gt4096`."""
    return next((f"le{limit}" for limit in LENGTHS if tokens <= limit), f"gt{LENGTHS[-1]}")


def reason(error: BaseException) -> str:
    """An error as a label: `DocumentTooLong` is `document_too_long`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(error).__name__).lower()


def _about(text: str, *labels: str, buckets: Sequence[float] | None = None) -> Mapping[str, Any]:
    """What an instrument is made of; the buckets of a histogram are SECONDS unless given."""
    return {"documentation": text, "labelnames": labels} | ({"buckets": buckets} if buckets else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The instruments, each named as its field, with its help and its labels; `registry` exposes them."""

    registry: CollectorRegistry
    http_requests_total: Counter = field(metadata=_about("Requests answered.", "route", "method", "status"))
    http_request_duration_seconds: Histogram = field(metadata=_about("Request to last byte.", "route"))
    document_duration_seconds: Histogram = field(
        metadata=_about("Request to answered document.", "task", "length", "priority", "model", "version")
    )
    stage_duration_seconds: Histogram = field(
        metadata=_about(
            "One document's time in one stage: tokenize, queue, compute or postprocess.", "stage", "length", "priority"
        )
    )
    document_tokens: Histogram = field(metadata=_about("Tokens of a document.", "task", buckets=TOKENS))
    batch_tokens: Histogram = field(metadata=_about("Real tokens of a batch.", buckets=TOKENS))
    batch_documents: Histogram = field(metadata=_about("Different documents in a batch.", buckets=COUNTS))
    batch_compute_seconds: Histogram = field(metadata=_about("Time of a batch in the engine."))
    token_slots_total: Counter = field(metadata=_about("Token slots computed."))
    padding_slots_total: Counter = field(metadata=_about("Token slots computed that held no token."))
    queue_tokens: Gauge = field(metadata=_about("Tokens that wait for an engine.", "priority"))
    queue_documents: Gauge = field(metadata=_about("Documents with a window that waits for an engine.", "priority"))
    inflight_documents: Gauge = field(metadata=_about("Documents accepted and not yet answered."))
    event_loop_lag_seconds: Histogram = field(metadata=_about("How late the event loop wakes a sleeper."))
    cold_shapes_total: Counter = field(metadata=_about("Batches with a number of blocks that their engine had not run before."))
    device_memory_bytes: Gauge = field(metadata=_about("Memory of an accelerator.", "device", "kind"))
    rejected_total: Counter = field(
        metadata=_about(
            "Refused or failed: requests, each once, and documents that a request with on_error=report was told of; "
            "never one whose caller left.",
            "reason",
        )
    )
    cancelled_total: Counter = field(
        metadata=_about(
            "Documents whose caller left, by stage: tokenize, queue, compute or postprocess; at stage receive, requests "
            "whose caller left before the body was read. These are never in rejected_total.",
            "stage",
        )
    )
    deadline_exceeded_total: Counter = field(
        metadata=_about(
            "Documents whose deadline passed, or could not be met (stage admission); their request is in rejected_total.",
            "stage",
        )
    )
    engine_tokens_per_second: Gauge = field(
        metadata=_about("Real tokens per second of an engine that computes, recent batches.")
    )
    engine_busy_seconds_total: Counter = field(metadata=_about("Time an engine computed.", "device"))
    engine_failures_total: Counter = field(metadata=_about("Batches that failed in an engine.", "reason"))
    model_info: Gauge = field(
        metadata=_about("1 for each model served.", "name", "version", "precision", "device", "provider", "sha256")
    )
    model_swaps_total: Counter = field(metadata=_about("Versions that were to be served in place of others.", "outcome"))
    ready: Gauge = field(metadata=_about("1 when requests are accepted."))

    @classmethod
    def create(cls) -> Metrics:
        """Fresh instruments on a registry of their own, and beside them the process's: memory, processor time, start, files."""
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a timestamp beside every counter would double the page
        registry = CollectorRegistry()
        ProcessCollector(namespace=PREFIX.rstrip("_"), registry=registry)
        kinds = get_type_hints(cls)
        made = {
            each.name: kinds[each.name](
                PREFIX + each.name,
                registry=registry,
                **({"buckets": SECONDS} if kinds[each.name] is Histogram else {}) | each.metadata,
            )
            for each in fields(cls)
            if each.metadata
        }
        return cls(registry=registry, **made)
