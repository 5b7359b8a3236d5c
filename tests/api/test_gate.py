"""Every route asks for a key of its scope before its body is read, and nothing that a caller writes opens another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from drlongformer.api import gate, keys
from drlongformer.api.app import create_app
from drlongformer.api.assets import shelf_routes
from drlongformer.api.compat.errors import FORMS
from drlongformer.api.compat.surfaces import surface_routes
from drlongformer.api.keys import Key, KeyFile
from drlongformer.api.pages import page_routes
from drlongformer.api.playground import playground_routes
from drlongformer.api.routes import Service, reading_routes, task_routes
from drlongformer.serving.engine import FakeEngine
from drlongformer.settings import Server, Settings
from tests.api import services
from tests.api.serving import running, wait_until
from tests.api.test_keys import SECRET, bearer, key

LONG = " ".join(["fièvre"] * 30)
NAME = "Canari de la clé"
HOLDERS = (
    key("infer111", name=NAME, scopes=("infer",)),
    key("admin111", name=NAME, scopes=("admin",)),
    key("metric11", name=NAME, scopes=("metrics",)),
)


def guarded(folder: Path, *there: Key, engine: FakeEngine | None = None) -> Service:
    """A service that asks for these keys."""
    path = folder / "keys.json"
    keys.write(path, KeyFile(keys=there or HOLDERS))
    return services.service(folder / "store", engine=engine, tree=Settings(server=Server(keys=path)))


@contextlib.asynccontextmanager
async def callers(served: Service) -> AsyncIterator[Any]:
    """A function that sends a request with the key of an id."""
    async with services.client(served) as client:

        async def send(method: str, path: str, id_: str | None = None, **named: Any) -> httpx.Response:
            headers = {} if id_ is None else {"Authorization": bearer(id_).decode()}
            return await client.request(method, path, headers=headers | named.pop("headers", {}), **named)

        yield send


def routes(served: Service) -> list[Route | APIRoute]:
    """Every route that the router knows."""
    routers = [create_app(served).router, task_routes(served), reading_routes(served), surface_routes(served)]
    routers += [page_routes(), playground_routes(), *map(shelf_routes, gate.SHELVES)]
    return [route for router in routers for route in router.routes if isinstance(route, Route | APIRoute)]


def paths(served: Service) -> set[str]:
    """Every path that the router knows; those of a shelf one by one."""
    shelves = {shelf.route: shelf.paths for shelf in gate.SHELVES}
    return {path for route in routes(served) for path in shelves.get(route.path, {route.path})}


def posts(served: Service) -> set[str]:
    """Every path that takes POST."""
    return {route.path for route in routes(served) if "POST" in (route.methods or ())}


def test_the_table_names_every_route_and_no_other(tmp_path: Path) -> None:
    known = paths(services.service(tmp_path))
    assert len(known) > 12
    assert known == gate.OPEN | gate.SCOPES.keys()
    assert not gate.OPEN & gate.SCOPES.keys()


@pytest.mark.parametrize("path", sorted(gate.SCOPES))
async def test_a_route_asks_for_a_key_with_its_scope(path: str, tmp_path: Path) -> None:
    served = guarded(tmp_path)
    method, target = "POST" if path in posts(served) else "GET", path.format(name="fake", version=1, task="ner")
    native = not path.startswith(tuple(FORMS))
    async with callers(served) as send:
        refused = await send(method, target, json={"inputs": "Toux."})
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["type"] == "/problems/unauthorized" if native else "error" in refused.json()
        for holder in HOLDERS:
            answer = await send(method, target, holder.id, json={"inputs": "Toux."} if method == "POST" else None)
            allowed = gate.SCOPES[path] in holder.scopes
            assert (answer.status_code == 403) == (not allowed), answer.text
            assert answer.status_code in (200, 403, 422)
            if not allowed:
                assert answer.json()["type"] == "/problems/forbidden" if native else "error" in answer.json()
                assert NAME not in answer.text
                assert SECRET not in answer.text


@pytest.mark.parametrize("path", sorted(gate.PROBES | {"/", "/docs", "/openapi.json"}))
async def test_probes_and_documents_need_no_key(path: str, tmp_path: Path) -> None:
    async with callers(guarded(tmp_path)) as send:
        assert (await send("GET", path)).status_code == 200


@pytest.mark.parametrize("path", ["/metrics/", "http://service//metrics", "/%6detrics%00", "/METRICS", "/nothing", "/v1/files"])
async def test_a_path_that_is_not_in_the_table_does_not_exist_for_anyone(path: str, tmp_path: Path) -> None:
    async with callers(guarded(tmp_path)) as send:
        assert (await send("GET", path)).status_code == 401
        assert (await send("GET", path, "admin111")).status_code == 404


@pytest.mark.parametrize("host", ["service/livez", "service/livez?", "[", "livez", "service:80/livez#"])
async def test_a_host_header_opens_nothing(host: str, tmp_path: Path) -> None:
    async with callers(guarded(tmp_path)) as send:
        assert (await send("GET", "/metrics", headers={"Host": host})).status_code == 401


async def test_the_wrong_method_is_told_only_to_who_may_use_the_route(tmp_path: Path) -> None:
    async with callers(guarded(tmp_path)) as send:
        assert [(await send("DELETE", "/embed", id_)).status_code for id_ in (None, "admin111", "infer111")] == [401, 403, 405]


async def test_bytes_that_are_no_ascii_are_refused_as_any_wrong_key(tmp_path: Path) -> None:
    async with callers(guarded(tmp_path)) as send:
        for value in (b"Bearer infer111.\xe9\xff", "Bearer clé.é".encode(), b"\xff"):
            assert (await send("GET", "/models", headers={b"authorization": value})).status_code == 401


async def test_keys_change_while_the_service_runs(tmp_path: Path) -> None:
    served = guarded(tmp_path)
    assert served.access is not None
    async with callers(served) as send:
        assert (await send("GET", "/models", "infer111")).status_code == 200
        revoked = HOLDERS[0].model_copy(update={"revoked": datetime.now(UTC)})
        keys.write(tmp_path / "keys.json", KeyFile(keys=(revoked, key("later111"))))
        assert served.access.ring.refresh()
        assert [(await send("GET", "/models", id_)).status_code for id_ in ("infer111", "later111")] == [401, 200]


async def test_a_key_over_its_quota_is_told_when_to_come_back(tmp_path: Path) -> None:
    served = guarded(tmp_path, key("small111", requests_per_minute=2), key("token111", tokens_per_minute=3))
    async with callers(served) as send:
        body = {"inputs": "Toux et fièvre depuis trois jours."}
        answers = [await send("POST", "/embed", "small111", json=body) for _ in range(3)]
        assert [each.status_code for each in answers] == [200, 200, 429]
        assert answers[2].json()["type"] == "/problems/quota"
        assert 28 <= int(answers[2].headers["retry-after"]) <= 30
        first, second = [await send("POST", "/embed", "token111", json=body) for _ in range(2)]
        used = first.json()["usage"]["tokens"]
        assert (first.status_code, second.status_code) == (200, 429)
        assert int(second.headers["retry-after"]) == pytest.approx((used - 3 + 1) * 20, abs=1)
    assert services.samples(served, "rejected_total") == {("quota",): 2}


async def test_the_lane_of_a_key_is_its_requests_and_bulk_keys_get_no_other(tmp_path: Path) -> None:
    served = guarded(tmp_path, key("bulk1111", lane="bulk"), key("inter111"))
    async with callers(served) as send:
        asked = [("bulk1111", None), ("bulk1111", "bulk"), ("inter111", None), ("inter111", "bulk")]
        for id_, priority in asked:
            body = {"inputs": "Toux."} | ({"priority": priority} if priority else {})
            assert (await send("POST", "/embed", id_, json=body)).status_code == 200
        refused = await send("POST", "/embed", "bulk1111", json={"inputs": "Toux.", "priority": "interactive"})
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/forbidden")
    lanes = services.samples(served, "document_duration_seconds_count")
    assert {labels[2]: count for labels, count in lanes.items()} == {"bulk": 3, "interactive": 1}


async def test_a_greedy_key_does_not_hold_up_another(tmp_path: Path) -> None:
    served = guarded(tmp_path, key("greedy11"), key("modest11"), engine=services.slow_engine(0.02))
    async with callers(served) as send:
        many = asyncio.create_task(send("POST", "/embed", "greedy11", json={"inputs": [LONG] * 30}))
        while not sum(services.samples(served, "queue_documents").values()):  # noqa: ASYNC110 - the test looks from outside
            await asyncio.sleep(0.005)
        one = await send("POST", "/embed", "modest11", json={"inputs": LONG})
        assert one.status_code == 200
        assert sum(services.samples(served, "queue_documents").values()) > 15
        assert not many.done()
        assert (await many).status_code == 200


async def test_usage_tells_what_each_key_did_and_no_name(tmp_path: Path) -> None:
    async with callers(guarded(tmp_path)) as send:
        answered = await send("POST", "/embed", "infer111", json={"inputs": ["Toux.", "Fièvre."]})
        await send("POST", "/embed", "infer111", json={"inputs": ""})
        await send("POST", "/embed", "metric11", json={"inputs": "Toux."})
        await send("POST", "/embed", json={"inputs": "Toux."})
        report = await send("GET", "/usage", "admin111")
    by_key = {line["key"]: line for line in report.json()["usage"]}
    assert {line["day"] for line in by_key.values()} == {datetime.now(UTC).date().isoformat()}
    assert (by_key["infer111"]["requests"], by_key["infer111"]["documents"]) == (2, 2)
    assert by_key["infer111"]["tokens"] == answered.json()["usage"]["tokens"]
    assert by_key["infer111"]["refused"] == {"empty-text": 1}
    assert by_key["metric11"]["refused"] == {"forbidden": 1}
    assert NAME not in report.text


def test_a_refusal_reaches_a_peer_that_still_writes_its_body(tmp_path: Path) -> None:
    served = guarded(tmp_path)
    with running(create_app(served), settings=served.settings, lifecycle=served.lifecycle) as server:
        head = b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
        answer = server.exchange(head + b"x" * 3_000_000)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"unauthorized" in answer


def test_a_refused_request_without_a_body_keeps_its_connection(tmp_path: Path) -> None:
    served = guarded(tmp_path)
    with running(create_app(served), settings=served.settings, lifecycle=served.lifecycle) as server, server.connect() as peer:
        for _ in range(2):
            peer.sendall(b"GET /models HTTP/1.1\r\nHost: x\r\n\r\n")
            assert peer.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_a_running_server_takes_a_new_file_of_keys_by_itself(tmp_path: Path) -> None:
    served = guarded(tmp_path)
    with running(create_app(served), settings=served.settings, lifecycle=served.lifecycle):
        assert served.access is not None
        keys.write(tmp_path / "keys.json", KeyFile(keys=(key("later111"),)))
        ring = served.access.ring
        wait_until(lambda: [each.id for each in ring] == ["later111"])
