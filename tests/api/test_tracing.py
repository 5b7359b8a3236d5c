"""Spans tell stages, sizes and counts of each request, follow the caller's trace, and are not there unless asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from drlongformer.api.tracing import Tracing
from drlongformer.serving.engine import FakeEngine
from drlongformer.settings import Settings, SettingsError, load
from drlongformer.settings import Tracing as TracingSettings
from tests.api import services
from tests.serving.bundles import WIDTHS

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CANARY = "canari1931"


async def spans(
    folder: Path,
    path: str = "/embed",
    *,
    inputs: str = f"{CANARY} tousse.",
    headers: Mapping[str, str] | None = None,
    engine: FakeEngine | None = None,
) -> tuple[ReadableSpan, ...]:
    """The finished spans of one request."""
    kept = InMemorySpanExporter()
    served = replace(services.service(folder, engine=engine), tracing=Tracing(SimpleSpanProcessor(kept)))
    async with services.client(served) as client:
        await client.post(path, json={"inputs": inputs}, headers=headers)
        return kept.get_finished_spans()


async def test_a_request_is_one_server_span_with_its_stages_behind_one_another(tmp_path: Path) -> None:
    *stages, server = await spans(tmp_path)
    assert (server.name, server.kind, server.parent) == ("POST /embed", SpanKind.SERVER, None)
    assert [stage.name for stage in stages] == ["read", "tokenize", "queue", "compute"]
    assert dict(server.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/embed",
        "http.response.status_code": 200,
        "drlongformer.model": "fake:1",
        "drlongformer.documents": 1,
        "drlongformer.tokens": "le32",
        "drlongformer.body_bytes": "le32",
    }
    assert dict(stages[-1].attributes or {}).keys() == {
        f"drlongformer.batch_{name}" for name in ("documents", "windows", "slots")
    }
    end = server.start_time
    for stage in stages:
        assert stage.parent is not None
        assert stage.parent.span_id == server.context.span_id
        assert stage.start_time == end
        assert stage.end_time is not None
        end = stage.end_time
    assert server.end_time is not None
    assert end is not None
    assert end <= server.end_time


async def test_a_refusal_tells_its_kind_and_only_the_services_own_failures_are_errors(tmp_path: Path) -> None:
    [empty] = [span for span in await spans(tmp_path / "a", inputs="") if span.kind is SpanKind.SERVER]
    assert (empty.attributes or {})["error.type"] == "empty-text"
    assert empty.status.status_code is StatusCode.UNSET
    broken = FakeEngine(WIDTHS, block=16, fail_on=0)
    [failed] = [span for span in await spans(tmp_path / "b", engine=broken) if span.kind is SpanKind.SERVER]
    assert (failed.attributes or {})["http.response.status_code"] == 503
    assert failed.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("path", ["/embed", f"/{CANARY}"])
async def test_no_span_holds_a_text_an_id_or_what_a_stranger_wrote(path: str, tmp_path: Path) -> None:
    headers = {"X-Request-Id": CANARY, "traceparent": PARENT, "tracestate": f"vendor={CANARY}", "User-Agent": CANARY}
    found = await spans(tmp_path, path, headers=headers)
    assert found
    for span in found:
        assert CANARY not in span.to_json()


async def test_the_callers_trace_is_followed_if_it_is_one(tmp_path: Path) -> None:
    followed = (await spans(tmp_path / "a", headers={"traceparent": PARENT}))[-1]
    assert followed.parent is not None
    assert f"{followed.context.trace_id:032x}" == PARENT[3:35]
    assert f"{followed.parent.span_id:016x}" == PARENT[36:52]
    assert (await spans(tmp_path / "b", headers={"traceparent": f"00-{CANARY}"}))[-1].parent is None
    assert await spans(tmp_path / "c", headers={"traceparent": PARENT[:-1] + "0"}) == ()  # the caller does not want it kept


async def test_probes_have_no_spans(tmp_path: Path) -> None:
    assert await spans(tmp_path, "/livez") == ()


def test_an_endpoint_is_a_url_without_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DRLONGFORMER_TRACING__ENDPOINT", "http://user:secret@collector")
    with pytest.raises(SettingsError, match="must be a URL"):
        load()
    monkeypatch.delenv("DRLONGFORMER_TRACING__ENDPOINT")
    tree = Settings(tracing=TracingSettings(endpoint="http://127.0.0.1:9/v1/traces"))
    served = services.service(tmp_path, tree=tree)
    assert served.tracing is not None
    served.tracing.close()
    assert services.service(tmp_path / "off").tracing is None


def test_without_an_endpoint_neither_sdk_nor_exporter_is_loaded() -> None:
    ours = "('opentelemetry.sdk', 'opentelemetry.exporter', 'drlongformer.api.tracing')"  # FastAPI loads the API if it is there
    code = f"import sys, drlongformer.api.app; sys.exit(any(name.startswith({ours}) for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
