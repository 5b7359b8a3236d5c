"""A page that does not add up is seen."""

from __future__ import annotations

from loadtests.exposition import Page, adds_up

PAGE = """
# TYPE drlongformer_http_requests_total counter
drlongformer_http_requests_total{method="POST",route="/embed",status="200"} 5.0
drlongformer_http_requests_total{method="POST",route="/embed",status="429"} 2.0
drlongformer_http_requests_total{method="POST",route="/embed",status="499"} 1.0
drlongformer_http_requests_total{method="other",route="other",status="408"} 3.0
# TYPE drlongformer_rejected_total counter
drlongformer_rejected_total{reason="overloaded"} 2.0
drlongformer_rejected_total{reason="headers_too_slow"} 3.0
# TYPE drlongformer_cancelled_total counter
drlongformer_cancelled_total{stage="queue"} 1.0
# TYPE drlongformer_document_duration_seconds histogram
drlongformer_document_duration_seconds_bucket{task="embed",le="+Inf"} 5.0
drlongformer_document_duration_seconds_count{task="embed"} 5.0
drlongformer_document_duration_seconds_sum{task="embed"} 1.0
# TYPE drlongformer_inflight_documents gauge
drlongformer_inflight_documents 0.0
"""
SENT = {("/embed", "200"): 5, ("/embed", "429"): 2, ("/embed", "499"): 1, ("/metrics", "200"): 9}


def test_a_page_that_adds_up_keeps_every_law() -> None:
    laws = list(adds_up(Page(PAGE), SENT))
    assert len(laws) == 5
    assert all(law.kept for law in laws)


def test_one_request_more_or_less_breaks_a_law() -> None:
    assert [law.kept for law in adds_up(Page(PAGE), SENT | {("/embed", "200"): 6})] == [False, False, True, True, True]
    assert [law.kept for law in adds_up(Page(PAGE), SENT | {("/embed", "499"): 0})] == [False, True, True, False, True]


def test_a_gauge_that_is_not_back_breaks_a_law() -> None:
    page = Page(PAGE.replace("inflight_documents 0.0", "inflight_documents 1.0"))
    assert [law.kept for law in adds_up(page, SENT)] == [True, True, True, True, False]


def test_a_lost_connection_is_no_status() -> None:
    assert all(law.kept for law in adds_up(Page(PAGE), SENT | {("/embed", "ConnectionResetError"): 4}))
