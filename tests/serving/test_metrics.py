from __future__ import annotations

from dataclasses import fields

import prometheus_client
import pytest

from drlongformer.errors import DocumentTooLong, EngineFailed
from drlongformer.serving.metrics import PREFIX, SECONDS, Metrics, length_class, reason

CONTRACT = {
    "http_requests_total": {"route", "method", "status"},
    "http_request_duration_seconds": {"route"},
    "document_duration_seconds": {"task", "length", "priority", "model", "version"},
    "stage_duration_seconds": {"stage", "length", "priority"},
    "document_tokens": {"task"},
    "batch_tokens": set(),
    "batch_documents": set(),
    "batch_compute_seconds": set(),
    "token_slots_total": set(),
    "padding_slots_total": set(),
    "queue_tokens": {"priority"},
    "queue_documents": {"priority"},
    "inflight_documents": set(),
    "event_loop_lag_seconds": set(),
    "cold_shapes_total": set(),
    "device_memory_bytes": {"device", "kind"},
    "rejected_total": {"reason"},
    "cancelled_total": {"stage"},
    "deadline_exceeded_total": {"stage"},
    "engine_tokens_per_second": set(),
    "engine_busy_seconds_total": {"device"},
    "engine_failures_total": {"reason"},
    "model_info": {"name", "version", "precision", "device", "provider", "sha256"},
    "model_swaps_total": {"outcome"},
    "ready": set(),
}
PROCESS = tuple(
    f"process_{name}"
    for name in (
        "virtual_memory_bytes",
        "resident_memory_bytes",
        "start_time_seconds",
        "cpu_seconds_total",
        "open_fds",
        "max_fds",
    )
)


def instruments(metrics: Metrics) -> dict[str, prometheus_client.metrics.MetricWrapperBase]:
    return {field.name: getattr(metrics, field.name) for field in fields(metrics) if field.name != "registry"}


def test_the_instruments_are_those_of_the_contract() -> None:
    found = instruments(Metrics.create())
    assert {name: set(instrument._labelnames) for name, instrument in found.items()} == CONTRACT


def test_the_page_names_each_as_its_field() -> None:
    page = prometheus_client.generate_latest(Metrics.create().registry).decode()
    named = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")}
    assert named == {PREFIX + name for name in (*CONTRACT, *PROCESS)}


def test_durations_reach_from_5_ms_to_300_s() -> None:
    assert (SECONDS[0], SECONDS[-1]) == (0.005, 300.0)


def test_two_sets_of_instruments_share_nothing() -> None:
    one, other = Metrics.create(), Metrics.create()
    one.token_slots_total.inc(5)
    assert other.registry.get_sample_value(f"{PREFIX}token_slots_total") == 0


@pytest.mark.parametrize(
    ("tokens", "named"),
    [(1, "le512"), (512, "le512"), (513, "le1024"), (2048, "le2048"), (4096, "le4096"), (4097, "gt4096"), (10**6, "gt4096")],
)
def test_lengths_fall_into_their_class(tokens: int, named: str) -> None:
    assert length_class(tokens) == named


def test_an_error_is_labelled_by_its_name() -> None:
    assert reason(DocumentTooLong("x")) == "document_too_long"
    assert reason(EngineFailed("x")) == "engine_failed"
