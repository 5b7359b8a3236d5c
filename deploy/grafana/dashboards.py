"""Grafana's dashboards as code, one row a question; the JSON that Grafana is provisioned with is written from here.

    python -m deploy.grafana.dashboards        (`make dashboards`)

A test compares the files with this module, runs every query against a real Prometheus, and finds every metric in a live
scrape (those of GPUs in the list that the exporter is given).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import gpu
from deploy.grafana.panels import Panel, dashboard, each, lines

FOLDER: Final = Path(__file__).parent / "dashboards"
TASKS: Final = 'job="drlongformer",route!~"/readyz|/livez|/health|/metrics"'
"""Requests of callers, not those that ask how the service is."""

NOW = (
    Panel(
        title="Replicas ready", about="Of those that are scraped.", kind="stat", lines=lines(ready="sum(drlongformer_ready)")
    ),
    Panel(
        title="Requests",
        about="Answered a second, whatever the answer.",
        kind="stat",
        unit="reqps",
        lines=lines(requests=f"sum(rate(drlongformer_http_requests_total{{{TASKS}}}[5m]))"),
    ),
    Panel(
        title="Errors of ours",
        about="Share of answers that were 5xx; the objective allows 0.1 %.",
        kind="stat",
        unit="percentunit",
        lines=lines(errors="drlongformer:http_errors:ratio_rate5m"),
    ),
    Panel(
        title="Short notes later than 2.5 s",
        about="Share of interactive documents of at most 512 tokens; the objective allows 1 %.",
        kind="stat",
        unit="percentunit",
        lines=lines(late="drlongformer:short_documents_late:ratio_rate5m"),
    ),
    Panel(
        title="Tokens",
        about="Real tokens computed a second, over all replicas.",
        kind="stat",
        lines=lines(tokens="sum(rate(drlongformer_batch_tokens_sum[5m]))"),
    ),
    Panel(
        title="Backlog",
        about="How long the engines need for what waits, at their speed of late; the longest of the replicas.",
        kind="stat",
        unit="s",
        lines=lines(backlog="max(drlongformer:backlog_seconds)"),
    ),
)

REQUESTS = (
    Panel(
        title="Rate by route",
        about="Requests answered a second.",
        unit="reqps",
        lines=each(f"sum by (route) (rate(drlongformer_http_requests_total{{{TASKS}}}[$__rate_interval]))", "{{route}}"),
    ),
    Panel(
        title="Errors by route and status",
        about="4xx are the callers', 429 means full, 5xx are ours; 499 are callers who left.",
        unit="reqps",
        lines=each(
            'sum by (route, status) (rate(drlongformer_http_requests_total{status=~"[45].."}[$__rate_interval]))',
            "{{route}} {{status}}",
        ),
    ),
    Panel(
        title="Duration by route, p99",
        about="Request to last byte.",
        unit="s",
        lines=each(
            "histogram_quantile(0.99, sum by (le, route) "
            f"(rate(drlongformer_http_request_duration_seconds_bucket{{{TASKS}}}[$__rate_interval])))",
            "{{route}}",
        ),
    ),
)


def _documents(share: float, by: str) -> str:
    buckets = "drlongformer_document_duration_seconds_bucket[$__rate_interval]"
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({buckets})))"


LATENCY = (
    Panel(
        title="Documents by length, p50",
        about="From request to answered document. Lengths in tokens: le512 is up to 512.",
        unit="s",
        lines=each(_documents(0.5, "length"), "{{length}}"),
    ),
    Panel(title="Documents by length, p99", about="See p50.", unit="s", lines=each(_documents(0.99, "length"), "{{length}}")),
    Panel(
        title="Documents by priority, p99",
        about="Interactive ones have four shares of five; bulk takes what is left.",
        unit="s",
        lines=each(_documents(0.99, "priority"), "{{priority}}"),
    ),
)

STAGES = (
    Panel(
        title="Where the time goes, p95",
        about="One document's time in a stage. Queue high: too little compute, or too much work. Compute high: long documents "
        "or a slow engine. Tokenize high: too few cores.",
        unit="s",
        lines=each(
            "histogram_quantile(0.95, sum by (le, stage) (rate(drlongformer_stage_duration_seconds_bucket[$__rate_interval])))",
            "{{stage}}",
        ),
    ),
    Panel(
        title="Short documents in the queue, p95 by priority",
        about="What a note waits for an engine.",
        unit="s",
        lines=each(
            "histogram_quantile(0.95, sum by (le, priority) (rate("
            'drlongformer_stage_duration_seconds_bucket{stage="queue",length="le512"}[$__rate_interval])))',
            "{{priority}}",
        ),
    ),
    Panel(
        title="Documents by task",
        about="Asked a second, and how long they are.",
        lines=(
            *each("sum by (task) (rate(drlongformer_document_tokens_count[$__rate_interval]))", "{{task}}, a second"),
            *lines(
                tokens_p95="histogram_quantile(0.95, sum by (le) (rate(drlongformer_document_tokens_bucket[$__rate_interval])))"
            ),
        ),
    ),
)

QUEUE = (
    Panel(
        title="Tokens that wait",
        about="By priority; bounded by MAX_QUEUE_TOKENS of each replica.",
        lines=each("sum by (instance, priority) (drlongformer_queue_tokens)", "{{instance}} {{priority}}"),
    ),
    Panel(
        title="Documents that wait, or are under way",
        about="Under way counts from acceptance to answer.",
        lines=lines(waiting="sum(drlongformer_queue_documents)", under_way="sum(drlongformer_inflight_documents)"),
    ),
    Panel(
        title="Refused, cancelled, too late",
        about="Refusals by reason: overloaded and quota are 429. Cancelled: callers who left. Too late: deadlines passed.",
        unit="reqps",
        lines=(
            *each("sum by (reason) (rate(drlongformer_rejected_total[$__rate_interval]))", "{{reason}}"),
            *each("sum by (stage) (rate(drlongformer_cancelled_total[$__rate_interval]))", "cancelled in {{stage}}"),
            *each("sum by (stage) (rate(drlongformer_deadline_exceeded_total[$__rate_interval]))", "too late in {{stage}}"),
        ),
    ),
)


def _share(part: str, whole: str) -> str:
    return f"sum(rate({part}[$__rate_interval])) / sum(rate({whole}[$__rate_interval]))"


def _mean(name: str) -> str:
    return _share(f"{name}_sum", f"{name}_count")


def _spread(title: str, about: str, name: str, *, unit: str = "short") -> Panel:
    """Mean and 95th percentile of a histogram, over all replicas."""
    p95 = f"histogram_quantile(0.95, sum by (le) (rate({name}_bucket[$__rate_interval])))"
    return Panel(title=title, about=about, unit=unit, lines=lines(mean=_mean(name), p95=p95))


BATCHES = (
    _spread("Batch: tokens", "Real tokens of a batch.", "drlongformer_batch_tokens"),
    _spread("Batch: documents", "Different documents in a batch.", "drlongformer_batch_documents"),
    _spread(
        "Batch: time in the engine",
        "What a document that comes next must wait for at least.",
        "drlongformer_batch_compute_seconds",
        unit="s",
    ),
    Panel(
        title="Padding share, new shapes",
        about="Slots computed that held no token. New shapes: batches of a number of blocks that an engine had not run before.",
        unit="percentunit",
        lines=lines(
            padding=_share("drlongformer_padding_slots_total", "drlongformer_token_slots_total"),
            batches_of_a_new_shape=_share("drlongformer_cold_shapes_total", "drlongformer_batch_tokens_count"),
        ),
    ),
)

ENGINES = (
    Panel(
        title="Tokens a second",
        about="Computed: what was done. Speed: what an engine does while it computes.",
        lines=(
            *each("sum by (instance) (rate(drlongformer_batch_tokens_sum[$__rate_interval]))", "{{instance}} computed"),
            *each("drlongformer_engine_tokens_per_second", "{{instance}} speed"),
        ),
    ),
    Panel(
        title="Engines busy",
        about="Share of the time in which an engine computes; near 1 all the time means that there is no room left.",
        unit="percentunit",
        ceiling=1,
        lines=each(
            "sum by (instance, device) (rate(drlongformer_engine_busy_seconds_total[$__rate_interval]))",
            "{{instance}} {{device}}",
        ),
    ),
    Panel(
        title="Failed batches, swaps",
        about="Batches that failed in an engine, by reason; versions swapped, by outcome.",
        lines=(
            *each("sum by (reason) (increase(drlongformer_engine_failures_total[$__rate_interval]))", "failed: {{reason}}"),
            *each("sum by (outcome) (increase(drlongformer_model_swaps_total[$__rate_interval]))", "swap: {{outcome}}"),
        ),
    ),
)

PROCESSES = (
    Panel(
        title="Event loop, p99",
        about="How late the loop wakes a sleeper: every answer waits so long.",
        unit="s",
        lines=each(
            "histogram_quantile(0.99, "
            "sum by (le, instance) (rate(drlongformer_event_loop_lag_seconds_bucket[$__rate_interval])))",
            "{{instance}}",
        ),
    ),
    Panel(
        title="Memory",
        about="Resident bytes of each process.",
        unit="bytes",
        lines=each("drlongformer_process_resident_memory_bytes", "{{instance}} resident"),
    ),
    Panel(
        title="Processors used",
        about="Seconds of processor time a second.",
        lines=each("rate(drlongformer_process_cpu_seconds_total[$__rate_interval])", "{{instance}}"),
    ),
)

MODELS = (
    Panel(
        title="Models served",
        about="Every replica should name the same versions.",
        kind="table",
        lines=each("drlongformer_model_info", "{{name}}"),
    ),
)


def dashboards() -> Mapping[str, Dashboard]:
    """Every dashboard, by the name of its file."""
    service = (
        ("Now", NOW),
        ("Requests: rate, errors, duration", REQUESTS),
        ("Documents: latency", LATENCY),
        ("Documents: stages and tasks", STAGES),
        ("Queue", QUEUE),
        ("Batches", BATCHES),
        ("Engines", ENGINES),
        ("Processes", PROCESSES),
        ("Models", MODELS),
    )
    return {
        "service.json": dashboard(uid="drlongformer-service", title="DrLongformer service", rows=service),
        "gpu.json": dashboard(uid="drlongformer-gpu", title="DrLongformer GPU", rows=gpu.ROWS),
    }


def written(made: Dashboard) -> str:
    """A dashboard as its file's text."""
    return json.dumps(made.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name, made in dashboards().items():
        (FOLDER / name).write_text(written(made), encoding="utf-8")
