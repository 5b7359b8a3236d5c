"""The slowest requests are told by figures: stages, queue at arrival, batch; no text, and only to who may see them."""

from __future__ import annotations

from pathlib import Path

from drlongformer.api.record import Record
from drlongformer.api.slow import KEPT, TOLD, Slow
from tests.api import services


async def test_a_slow_request_tells_where_its_time_went_and_no_text(tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path, engine=services.slow_engine(0.05))) as client:
        sent = [{"text": "canari1931 tousse", "id": "canari1931"}, "fièvre"]
        answered = await client.post("/ner", json={"inputs": sent}, headers={"X-Request-Id": "slow-1"})
        await client.post("/ner", json={"inputs": ""})
        await client.get("/models")
        report = (await client.get("/debug/slow")).json()
    assert answered.status_code == 200
    assert report["of"] == 2
    slowest, refused = report["requests"]
    assert (slowest["request_id"], slowest["route"], slowest["status"]) == ("slow-1", "/ner", 200)
    assert slowest["total_seconds"] >= slowest["compute_seconds"] >= 0.05
    assert (slowest["batch_documents"], slowest["batch_windows"], slowest["queue_tokens"]) == (2, 2, 0)
    assert slowest["batch_tokens"] % 16 == 0
    assert slowest["tokens"].startswith("le")
    assert (refused["status"], refused["problem"], refused["compute_seconds"]) == (422, "empty-text", None)
    assert "canari" not in str(report)


def test_only_the_slowest_of_the_latest_are_told() -> None:
    slow = Slow({"/ner"})
    for number in range(KEPT + 100):
        record = Record(request_id=str(number), status=200)
        record.started -= 1000 - number if number < 100 else number % 977
        slow.keep(record, route="/ner")
        slow.keep(record, route="/livez")
    report = slow.report()
    assert (report.of, len(report.requests)) == (KEPT, TOLD)
    seconds = [each.total_seconds for each in report.requests]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] < 977.5  # the first hundred, slower still, are long gone
