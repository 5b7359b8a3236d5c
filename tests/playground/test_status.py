"""The status page: figures of `/metrics`, drawn live."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.playground.looking import NOTE, Opened


def page_of(slots: int, padding: int, busy: float, waiting: int, counts: tuple[int, int]) -> str:
    seconds, counting = (
        f'drlongformer_document_duration_seconds_bucket{{task="{task}",length="le512",le=' for task in ("ner", "tokenize")
    )
    return f"""# HELP drlongformer_ready 1
drlongformer_queue_tokens{{priority="interactive"}} {waiting}
drlongformer_queue_tokens{{priority="bulk"}} 7
drlongformer_token_slots_total {slots}
drlongformer_padding_slots_total {padding}
drlongformer_engine_busy_seconds_total{{device="cpu"}} {busy}
drlongformer_inflight_documents 3
drlongformer_http_requests_total{{route="/ner",method="POST",status="200"}} {slots / 100}
{seconds}"1.0"}} {counts[0]}
{seconds}"2.0"}} {counts[1]}
{seconds}"+Inf"}} {counts[1]}
{counting}"1.0"}} {slots}
{counting}"+Inf"}} {slots}
"""


def test_figures_come_from_two_readings(page: Opened) -> None:
    pages = [page_of(1000, 100, 10, 5, (10, 10)), page_of(3000, 300, 11, 50, (10, 30))]
    figures = """(async () => {
      const { parse } = await import('/playground/prometheus.js');
      const [before, now] = x.map(parse);
      return [m.figures(now, before, 2), m.latencies(now, before), m.latencies(now, now)];
    })()"""
    found: list[Any] = page.module("status", f"await {figures}", pages)
    bounds = {"low": 1, "high": 2}
    assert found[0] == {
        "interactive": 50, "bulk": 7, "speed": 900, "requests": 10, "padding": pytest.approx(0.1), "busy": 0.5, "inflight": 3,
    }  # fmt: skip
    assert found[1] == [{"length": "le512", "documents": 20, "half": bounds, "most": bounds}]
    assert found[2][0]["documents"] == 30


def test_charts_and_models_are_drawn_live(page: Opened) -> None:
    httpx.post(f"{page.address}/ner", json={"inputs": NOTE}, timeout=30)
    page.page.click("#to-status")
    page.page.wait_for_selector("#served tbody tr")
    page.until("() => document.querySelectorAll('#status polyline')[2].getAttribute('points').split(' ').length > 1")
    assert page.page.eval_on_selector_all("#status figure", "all => all.length") == 6
    page.reads("#ready", "Prêt")
    page.reads("#served", "drlongformer-mini")
    told = page.page.eval_on_selector_all("#latency li", "all => all.map(e => e.children[2].textContent)")
    assert len(told) >= 2
    assert all(re.fullmatch(r"[≤>] [0-9,]+ s", each) for each in told)
    page.page.click("#speak-en")
    page.reads("#status", "Tokens that wait")
    page.page.click("#speak-fr")
