"""Whatever happens inside, a request gets its headers, one count, one log line, and no word of its text anywhere."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send

from drlongformer.api.exchange import Exchange
from drlongformer.api.lifecycle import Lifecycle
from drlongformer.api.limits import BodyGate
from drlongformer.errors import EmptyText
from drlongformer.serving.metrics import Metrics
from drlongformer.settings import Limits
from tests.api.logging_state import captured

CANARY = "Mme-Canari"


async def fine(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def broken(_scope: Scope, receive: Receive, _send: Send) -> None:
    text = (await receive())["body"].decode()
    raise ValueError(f"cannot read {text}")


async def broken_after_start(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ValueError(CANARY)


async def refused(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise EmptyText("document 0 has no token", location=("inputs", 0))


class Frame:
    def __init__(self, app: ASGIApp) -> None:
        self.metrics = Metrics.create()
        self.lifecycle = Lifecycle(self.metrics)
        self.lifecycle.open()
        self.app = Exchange(BodyGate(app, limits=Limits()), metrics=self.metrics, lifecycle=self.lifecycle)

    async def post(self, headers: dict[str, str] | None = None, path: str = "/", method: str = "POST") -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, content=CANARY.encode(), headers=headers)

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        families = self.metrics.registry.collect()
        found = [sample for family in families for sample in family.samples if sample.name == f"drlongformer_{name}"]
        return {tuple(sample.labels.values()): sample.value for sample in found}


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    with captured() as stream:
        yield stream


async def test_an_unexpected_error_is_a_500_and_a_line_without_its_message(lines: io.StringIO) -> None:
    frame = Frame(broken)
    response = await frame.post({"X-Request-Id": "abc"})
    assert response.status_code == 500
    assert response.json()["instance"] == "abc"
    unexpected, access = map(json.loads, lines.getvalue().splitlines())
    assert (unexpected["error"], unexpected["request_id"]) == ("ValueError", "abc")
    assert unexpected["where"].startswith("test_exchange.py:")
    assert (access["status"], access["route"], access["problem"]) == (500, "other", "internal-error")
    assert CANARY not in response.text + lines.getvalue() + generate_latest(frame.metrics.registry).decode()


async def test_an_error_after_the_answer_began_is_only_logged(lines: io.StringIO) -> None:
    frame = Frame(broken_after_start)
    with pytest.raises(AssertionError):  # the test client's way to say that the body is missing
        await frame.post()
    assert frame.samples("http_requests_total") == {("other", "POST", "200"): 1}
    assert CANARY not in lines.getvalue()
    assert len(lines.getvalue().splitlines()) == 2


async def test_every_request_is_counted_once_and_refusals_by_reason() -> None:
    frame = Frame(refused)
    for _ in range(3):
        assert (await frame.post()).status_code == 422
    assert frame.samples("http_requests_total") == {("other", "POST", "422"): 3}
    assert frame.samples("http_request_duration_seconds_count") == {("other",): 3}
    assert frame.samples("rejected_total") == {("empty_text",): 3}


async def test_labels_are_bounded_whatever_peers_send(lines: io.StringIO) -> None:
    frame = Frame(fine)
    await frame.post(path=f"/{CANARY}?q={CANARY}", method=CANARY.upper().replace("-", ""))
    assert frame.samples("http_requests_total") == {("other", "other", "200"): 1}
    assert "Canari".upper() not in lines.getvalue().upper()


@pytest.mark.parametrize("wished", ["abc", "A.b-c_9", "x" * 64])
async def test_a_harmless_request_id_is_kept(wished: str) -> None:
    assert (await Frame(fine).post({"X-Request-Id": wished})).headers["x-request-id"] == wished


@pytest.mark.parametrize("wished", ["", "x" * 65, "a b", "a/b", "<script>", "é".encode().decode("latin-1")])
async def test_any_other_request_id_is_replaced(wished: str) -> None:
    response = await Frame(fine).post({"X-Request-Id": wished.encode("latin-1").decode("latin-1")} if wished.isascii() else {})
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


async def test_every_answer_has_the_headers_of_the_contract() -> None:
    for app in (fine, refused, broken):
        headers = (await Frame(app).post()).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert re.fullmatch(r"total;dur=\d+\.\d\d", headers["server-timing"])
        assert "connection" not in headers


async def test_draining_asks_peers_to_close_their_connections() -> None:
    frame = Frame(fine)
    frame.lifecycle.drain()
    response = await frame.post()
    assert (response.status_code, response.headers["connection"]) == (200, "close")
    assert frame.samples("ready") == {(): 0}
