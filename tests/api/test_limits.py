"""Bodies are bounded to the byte and in time, and whoever leaves stops the work; over a bare ASGI app, without a network."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drlongformer.api.exchange import Exchange
from drlongformer.api.lifecycle import Lifecycle
from drlongformer.api.limits import DISCARD_BYTES, SMALL_BYTES, BodyGate, discard
from drlongformer.api.record import LEFT, begin
from drlongformer.errors import BodyTooLarge, Cancelled, Overloaded
from drlongformer.serving.metrics import Metrics
from drlongformer.settings import Limits

LIMIT = 2048


async def echo_size(_scope: Scope, receive: Receive, send: Send) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": str(size).encode()})


class Frame:
    """An app behind both middlewares, with the counters they write."""

    def __init__(self, app: ASGIApp = echo_size, **limits: Any) -> None:
        self.metrics = Metrics.create()
        self.lifecycle = Lifecycle(self.metrics)
        self.gate = BodyGate(app, limits=Limits(max_body_bytes=LIMIT, **limits))
        self.app = Exchange(self.gate, metrics=self.metrics, lifecycle=self.lifecycle)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://service")

    def counted(self, status: int) -> float:
        labels = {"route": "other", "method": "POST", "status": str(status)}
        return self.metrics.registry.get_sample_value("drlongformer_http_requests_total", labels) or 0.0


async def chunked(size: int, chunk: int = 100) -> AsyncIterator[bytes]:
    for start in range(0, size, chunk):
        yield b"x" * min(chunk, size - start)


@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
@pytest.mark.parametrize("body", [lambda size: b"x" * size, chunked], ids=["declared", "chunked"])
async def test_a_body_within_the_limit_passes_whole(size: int, body: Callable[[int], Any]) -> None:
    async with Frame().client() as client:
        response = await client.post("/", content=body(size))
    assert (response.status_code, response.text) == (200, str(size))


@pytest.mark.parametrize("size", [LIMIT + 1, 10 * LIMIT])
@pytest.mark.parametrize("body", [lambda size: b"x" * size, chunked], ids=["declared", "chunked"])
async def test_one_byte_over_the_limit_is_refused(size: int, body: Callable[[int], Any]) -> None:
    frame = Frame()
    async with frame.client() as client:
        response = await client.post("/", content=body(size))
    assert response.status_code == 413
    assert response.json()["type"] == "/problems/body-too-large"
    assert str(LIMIT) in response.json()["detail"]
    assert frame.counted(413) == 1


async def test_a_false_content_length_does_not_widen_the_limit() -> None:
    async with Frame().client() as client:
        response = await client.post("/", content=chunked(LIMIT + 1), headers={"Content-Length": "10"})
    assert response.status_code == 413


async def drip() -> AsyncIterator[bytes]:
    while True:
        yield b"x"
        await asyncio.sleep(0.02)


async def test_a_body_that_drips_is_refused_in_time() -> None:
    frame = Frame(body_seconds=0.1)
    async with frame.client() as client:
        response = await client.post("/", content=drip())
    assert response.status_code == 408
    assert response.headers["connection"] == "close"
    assert frame.counted(408) == 1


async def test_all_bodies_together_are_bounded_and_released() -> None:
    release = asyncio.Event()

    async def hold(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await echo_size(scope, receive, send)

    frame = Frame(hold, max_held_bytes=3000)
    async with frame.client() as client:
        first = asyncio.create_task(client.post("/", content=b"x" * 2000))
        await asyncio.sleep(0.01)
        refused = await client.post("/", content=b"x" * 2000)
        release.set()
        assert (await first).status_code == 200
        again = await client.post("/", content=b"x" * 2000)
    assert (refused.status_code, refused.json()["type"]) == (429, "/problems/overloaded")
    assert "retry-after" in refused.headers
    assert again.status_code == 200


async def test_room_is_kept_for_small_bodies_when_large_ones_hold_the_rest() -> None:
    release = asyncio.Event()

    async def hold(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await echo_size(scope, receive, send)

    frame = Frame(hold, max_held_bytes=800_000)
    frame.gate._limits = Limits(max_body_bytes=350_000, max_held_bytes=800_000)
    async with frame.client() as client:
        large = [asyncio.create_task(client.post("/", content=b"x" * 340_000)) for _ in range(3)]
        await asyncio.sleep(0.05)
        small = asyncio.create_task(client.post("/", content=b"x" * 40))
        await asyncio.sleep(0.05)
        release.set()
        statuses = sorted([(await each).status_code for each in large])
        assert (await small).status_code == 200
    assert statuses == [200, 200, 429]
    assert frame.gate._held_bytes == 0


class Peer:
    """The far end of one request, by hand."""

    def __init__(self, *messages: Message) -> None:
        self.sent: list[Message] = []
        self.answered = asyncio.Event()
        """Set once every byte of an answer is here, whether or not that was said to be its end."""
        self._coming: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self._coming.put_nowait(message)

    def leave(self) -> None:
        self._coming.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> Message:
        return await self._coming.get()

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        body = b"".join(each.get("body", b"") for each in self.sent)
        if len(body) == int(dict(self.sent[0]["headers"]).get(b"content-length", -1)):
            self.answered.set()


def scope() -> Scope:
    return {"type": "http", "method": "POST", "path": "/", "headers": []}


WHOLE: Message = {"type": "http.request", "body": b"x", "more_body": False}


async def test_a_length_over_the_limit_is_answered_before_anything_is_received() -> None:
    frame, peer = Frame(body_seconds=60), Peer()
    declared = {**scope(), "headers": [(b"content-length", str(LIMIT + 1).encode())]}
    request = asyncio.create_task(frame.app(declared, peer.receive, peer.send))
    await asyncio.wait_for(peer.answered.wait(), 5)
    assert peer.sent[0]["status"] == 413
    assert dict(peer.sent[0]["headers"])[b"connection"] == b"close"
    assert frame.counted(413) == 1
    assert not request.done()  # what comes late is still read, so that the peer is not cut off
    peer.leave()
    await asyncio.wait_for(request, 5)
    assert [message.get("more_body", False) for message in peer.sent[1:]] == [True, False]


async def test_chunks_over_the_limit_are_answered_before_the_rest_is_received() -> None:
    frame, peer = Frame(body_seconds=60), Peer({"type": "http.request", "body": b"x" * (LIMIT + 1), "more_body": True})
    request = asyncio.create_task(frame.app(scope(), peer.receive, peer.send))
    await asyncio.wait_for(peer.answered.wait(), 5)
    request.cancel()  # the server stops
    await asyncio.wait_for(request, 5)
    assert (peer.sent[0]["status"], frame.counted(413)) == (413, 1)


async def test_a_caller_who_leaves_stops_the_work() -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def work(_scope: Scope, _receive: Receive, _send: Send) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    frame, peer = Frame(work), Peer(WHOLE)
    request = asyncio.create_task(frame.app(scope(), peer.receive, peer.send))
    await began.wait()
    peer.leave()
    await asyncio.wait_for(request, 1)
    assert cancelled.is_set()
    assert frame.counted(499) == 1


async def test_a_caller_who_leaves_before_the_body_is_whole_starts_nothing() -> None:
    frame, peer = Frame(echo_size), Peer({"type": "http.request", "body": b"x", "more_body": True})
    peer.leave()
    await frame.app(scope(), peer.receive, peer.send)
    assert frame.counted(499) == 1
    assert frame.gate._held_bytes == 0


async def test_the_app_may_wait_for_its_caller_to_leave() -> None:
    async def listen(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"

    frame, peer = Frame(listen), Peer(WHOLE)
    peer.leave()
    await asyncio.wait_for(frame.app(scope(), peer.receive, peer.send), 1)
    assert frame.counted(499) == 1


async def test_a_server_that_stops_answers_503_and_leaves_nothing_running() -> None:
    running = asyncio.Event()

    async def work(_scope: Scope, _receive: Receive, _send: Send) -> None:
        running.set()
        try:
            await asyncio.sleep(60)
        finally:
            running.clear()

    frame, peer = Frame(work), Peer(WHOLE)
    request = asyncio.create_task(frame.app(scope(), peer.receive, peer.send))
    await running.wait()
    request.cancel()
    await request
    assert not running.is_set()
    assert peer.sent[0]["status"] == 503
    assert frame.counted(503) == 1


# The gate by itself, without the frame that turns its errors into answers


def asked(*headers: tuple[bytes, bytes]) -> Scope:
    asking = {**scope(), "headers": [*headers]}
    begin(asking)
    return asking


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def unsent(message: Message) -> None:
    raise AssertionError(message["type"])


async def test_what_is_no_request_passes_as_it_is() -> None:
    got: list[Any] = []
    peer = Peer()

    async def app(*told: Any) -> None:
        got.extend(told)

    asking = {"type": "lifespan"}
    await BodyGate(app, limits=Limits())(asking, peer.receive, peer.send)
    assert got == [asking, peer.receive, peer.send]


async def test_the_app_gets_the_scope_and_one_whole_message_however_many_came() -> None:
    got: list[Any] = []

    async def app(scope: Scope, receive: Receive, _send: Send) -> None:
        got.extend([scope, await receive()])

    peer, asking = Peer(part(b"ab", more=True), part(b"", more=True), part(b"c")), asked()
    await BodyGate(app, limits=Limits())(asking, peer.receive, unsent)
    assert got == [asking, part(b"abc")]


async def test_a_message_without_fields_is_the_end_of_an_empty_body() -> None:
    got: list[Any] = []

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        got.append(await receive())

    await BodyGate(app, limits=Limits())(asked(), Peer({"type": "http.request"}).receive, unsent)
    assert got == [part(b"")]


@pytest.mark.parametrize(
    ("headers", "message", "told", "read"),
    [
        ([(b"content-length", b"2049")], None, "the body has 2049 bytes, the limit is 2048", False),
        ([(b"content-length", b"2048")], part(b"x" * 2049, more=True), "the body has more than 2048 bytes, the limit", False),
        ([], part(b"x" * 2049), "the body has more than 2048 bytes, the limit is 2048", True),
    ],
    ids=["declared", "falsely declared", "at its end"],
)
async def test_a_refusal_tells_the_size_it_knows_and_what_was_read(
    headers: list[tuple[bytes, bytes]], message: Message | None, told: str, read: bool
) -> None:
    asking, peer = asked(*headers), Peer(*[message] if message else [])
    with pytest.raises(BodyTooLarge, match=told):
        await BodyGate(echo_size, limits=Limits(max_body_bytes=LIMIT, body_seconds=7))(asking, peer.receive, unsent)
    record = begin(asking)
    assert record.body_complete == read
    assert record.linger_seconds == (0 if read else 7)


async def test_who_waits_to_be_asked_for_a_body_is_not_waited_for_once_refused() -> None:
    asking = asked((b"content-length", b"2049"), (b"expect", b"100-Continue"))
    with pytest.raises(BodyTooLarge):
        await BodyGate(echo_size, limits=Limits(max_body_bytes=LIMIT))(asking, Peer().receive, unsent)
    assert begin(asking).linger_seconds == 0


async def test_what_came_is_noted_and_declared_bytes_that_never_came_are_too() -> None:
    for headers, noted in (([], 5), ([(b"content-length", b"5")], 5), ([(b"content-length", b"9")], 9)):
        asking, peer = asked(*headers), Peer(part(b"abc", more=True), part(b"de"))
        await BodyGate(ignored, limits=Limits())(asking, peer.receive, unsent)
        assert (begin(asking).body_bytes, begin(asking).body_complete) == (noted, True)
    empty = asked()
    await BodyGate(ignored, limits=Limits())(empty, Peer(part(b"")).receive, unsent)
    assert begin(empty).body_bytes == 0


async def ignored(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """An app that asks for nothing and answers nothing."""


async def test_too_slow_a_body_is_told_its_time_and_how_far_it_came() -> None:
    frame = Frame(body_seconds=0.05)
    peer = Peer(part(b"abc", more=True))
    request = asyncio.create_task(frame.app(scope(), peer.receive, peer.send))
    await asyncio.wait_for(peer.answered.wait(), 5)
    assert b"did not arrive within 0.05 seconds; 3 bytes came" in peer.sent[1]["body"]
    await asyncio.wait_for(request, 5)


async def test_who_leaves_is_told_apart_by_when() -> None:
    leaves: Message = {"type": "http.disconnect"}

    async def wait(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()

    gate = BodyGate(wait, limits=Limits())
    with pytest.raises(Cancelled, match=r"^the caller left before the body was complete$"):
        await gate(asked(), Peer(part(b"x", more=True), leaves).receive, unsent)
    with pytest.raises(Cancelled, match=r"^the caller left before the answer was ready$"):
        await gate(asked(), Peer(WHOLE, leaves).receive, unsent)


async def test_whose_answer_comes_after_they_shut_their_side_counts_as_having_left() -> None:
    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        scope[LEFT] = True
        await send({"type": "http.response.start", "status": 200, "headers": []})

    with pytest.raises(Cancelled, match=r"^the caller left before the answer was ready$"):
        await BodyGate(answer, limits=Limits())(asked(), Peer(WHOLE).receive, unsent)


async def test_an_answer_that_has_begun_is_ended_though_its_caller_leaves() -> None:
    peer, ended = Peer(WHOLE), asyncio.Event()

    async def answer(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        peer.leave()
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        await asyncio.sleep(0.01)
        ended.set()

    frame = Frame(answer)
    await asyncio.wait_for(frame.app(scope(), peer.receive, peer.send), 5)
    assert ended.is_set()
    assert frame.counted(200) == 1


# Memory


def holding(max_held_bytes: int) -> BodyGate:
    """A gate that lets all bodies together hold so many bytes, before an app that ends at once."""
    return BodyGate(ignored, limits=Limits(max_body_bytes=1 << 20, max_held_bytes=max_held_bytes))


@pytest.mark.parametrize("chunks", [1, 2])
@pytest.mark.parametrize(
    ("size", "most"), [(SMALL_BYTES, SMALL_BYTES), (SMALL_BYTES + 8, -(-(SMALL_BYTES + 8) * 8 // 7))], ids=["small", "large"]
)
async def test_a_body_may_fill_the_room_to_the_byte_a_large_one_seven_eighths_of_it(chunks: int, size: int, most: int) -> None:
    bodies = [part(b"x" * (size // chunks), more=n + 1 < chunks) for n in range(chunks)]
    gate = holding(most)
    await gate(asked(), Peer(*bodies).receive, unsent)
    with pytest.raises(Overloaded, match=f"the limit is {size - 1}$"):
        await holding(most - 1)(asked(), Peer(*bodies).receive, unsent)
    assert gate._held_bytes == 0


async def test_a_packed_body_takes_what_it_unpacks_to_and_gives_it_back() -> None:
    gate: BodyGate
    held: list[int] = []

    async def look(_scope: Scope, receive: Receive, _send: Send) -> None:
        held.extend([len((await receive())["body"]), gate._held_bytes])

    gate = BodyGate(look, limits=Limits())
    packed = gzip.compress(b"texte " * 1000)
    await gate(asked((b"content-encoding", b"gzip")), Peer(part(packed)).receive, unsent)
    assert held == [6000, 6000]
    assert gate._held_bytes == 0


# What is refused is read on, to a bound


async def test_reading_on_ends_with_the_body_or_its_bound() -> None:
    for last, asked_for in ((10, 10), (None, DISCARD_BYTES // (1 << 20) + 1)):
        received = 0

        async def receive(last: int | None = last) -> Message:
            nonlocal received
            received += 1
            return part(bytes(1 << 20), more=received != last)

        await discard(receive, seconds=60)
        assert received == asked_for


async def test_reading_on_ends_in_time_and_when_the_peer_leaves() -> None:
    await asyncio.wait_for(discard(Peer(part(b"x", more=True)).receive, seconds=0.01), 5)
    gone = Peer(part(b"x", more=True))
    gone.leave()
    await asyncio.wait_for(discard(gone.receive, seconds=60), 5)
