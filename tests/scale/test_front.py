"""Before Ray's router: a request outlives its replica, what Ray refuses is a problem of ours, and nothing is answered twice."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Awaitable, Callable

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drlongformer.settings import Limits

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")

Behaviour = Callable[[Scope, Receive, Send], Awaitable[None]]
OURS = [(b"server-timing", b"total;dur=1"), (b"content-type", b"application/json")]


class Replicas:
    """Stands where Ray's router does: each request that comes meets the next behaviour."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self._behaviours = list(behaviours)
        self.bodies: list[bytes] = []
        self.ids: list[list[str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.ids.append([value.decode() for name, value in scope["headers"] if name == b"x-request-id"])
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        await self._behaviours.pop(0)(scope, receive, send)


async def dies(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """What Ray's proxy does when the replica ends: nothing."""


async def answers(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [*OURS, (b"x-request-id", b"inner")]})
    await send({"type": "http.response.body", "body": b'{"a":', "more_body": True})
    await send({"type": "http.response.body", "body": b" 1}"})


async def dies_halfway(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": OURS})
    await send({"type": "http.response.body", "body": b'{"a":', "more_body": True})


async def refuses(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 422, "headers": OURS})
    await send({"type": "http.response.body", "body": b"{}"})


def ray_says(status: int, *headers: tuple[bytes, bytes]) -> Behaviour:
    async def say(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain"), *headers]})
        await send({"type": "http.response.body", "body": b"Request dropped due to backpressure"})

    return say


def front(app: ASGIApp, **limits: int) -> ASGIApp:
    from drlongformer.scale.front import Front

    return Front(app, limits=Limits(**limits))


async def ask(
    app: ASGIApp, path: str = "/embed", headers: dict[str, str] | None = None, body: bytes = b'{"x": 1}'
) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ray") as client:
        return await client.post(path, content=body, headers=headers)


@pytest.mark.parametrize("end", [dies, dies_halfway])
async def test_a_request_whose_replica_ends_is_answered_by_another(end: Behaviour) -> None:
    replicas = Replicas(end, answers)
    answer = await ask(front(replicas))
    assert (answer.status_code, answer.json()) == (200, {"a": 1})
    assert replicas.bodies == [b'{"x": 1}'] * 2
    assert replicas.ids[0] == replicas.ids[1]


async def test_a_document_that_ends_two_replicas_meets_no_third() -> None:
    replicas = Replicas(dies, dies, answers)
    answer = await ask(front(replicas))
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/not-ready"
    assert answer.headers["retry-after"] == "1"
    assert len(replicas.bodies) == 2


async def test_an_answer_of_the_service_is_never_asked_for_again() -> None:
    for behaviour, status in ((answers, 200), (refuses, 422)):
        replicas = Replicas(behaviour, answers)
        assert (await ask(front(replicas))).status_code == status
        assert len(replicas.bodies) == 1


@pytest.mark.parametrize(
    ("said", "status", "kind", "retry_after"),
    [
        (ray_says(429, (b"retry-after", b"7")), 429, "overloaded", "7"),
        (ray_says(503), 503, "not-ready", "1"),
        (ray_says(404), 503, "not-ready", "1"),
        (ray_says(500), 503, "not-ready", "1"),
        (ray_says(408), 504, "deadline-exceeded", None),
    ],
)
async def test_what_ray_refuses_is_a_problem_of_the_contract(
    said: Behaviour, status: int, kind: str, retry_after: str | None
) -> None:
    replicas = Replicas(said, answers)
    answer = await ask(front(replicas), headers={"X-Request-Id": "own-1"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == retry_after
    assert (answer.json()["type"], answer.json()["instance"]) == (f"/problems/{kind}", "own-1")
    assert answer.headers["cache-control"] == "no-store"
    assert len(replicas.bodies) == 1


async def test_a_drop_in_surface_is_refused_in_its_own_form() -> None:
    answer = await ask(front(Replicas(ray_says(429))), "/v1/embeddings")
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"


async def test_a_body_too_large_to_note_is_not_sent_again() -> None:
    replicas = Replicas(dies, answers)
    answer = await ask(front(replicas, max_body_bytes=1024), body=json.dumps({"x": "y" * 2000}).encode())
    assert answer.status_code == 503
    assert len(replicas.bodies) == 1


async def test_what_is_noted_of_all_bodies_is_bounded_and_given_back() -> None:
    replicas = Replicas(*[dies, answers] * 3)
    app = front(replicas, max_body_bytes=1024, max_held_bytes=1024)
    for _ in range(3):
        assert (await ask(app, body=b"x" * 1000)).status_code == 200


async def test_an_id_that_could_hold_anything_reaches_no_log_of_rays() -> None:
    replicas = Replicas(answers, answers)
    app = front(replicas)
    answer = await ask(app, headers={"X-Request-Id": "Jean Dupont, toux"})
    assert replicas.ids == [[answer.headers["x-request-id"]]]
    assert "Dupont" not in replicas.ids[0][0]
    assert (await ask(app, headers={"X-Request-Id": "own-1"})).headers["x-request-id"] == "own-1"


async def test_rays_own_routes_are_left_alone() -> None:
    assert (await ask(front(Replicas(ray_says(404))), "/-/healthz")).status_code == 404


async def test_a_caller_who_left_is_not_answered_again() -> None:
    from drlongformer.scale.front import Front

    sent: list[Message] = []
    attempts = 0

    async def router(_scope: Scope, receive: Receive, _send: Send) -> None:
        nonlocal attempts
        attempts += 1
        while (await receive())["type"] != "http.disconnect":
            pass

    coming: list[Message] = [{"type": "http.request", "body": b"{}"}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return coming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await Front(router, limits=Limits())({"type": "http", "path": "/embed", "headers": [], "method": "POST"}, receive, send)
    assert (attempts, sent) == (1, [])
