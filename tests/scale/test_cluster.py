"""A real Ray cluster of this machine, two replicas: it answers as one process does, and a replica's end costs no request."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from drlongformer.api.app import build, create_app
from drlongformer.settings import Models, Settings
from loadtests.ray_cluster import Cluster, cluster
from loadtests.wire import Client
from tests.api import services
from tests.serving import bundles

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
]

TEXT = "Patient de 54 ans, fièvre à 39 °C et toux grasse depuis trois jours; amoxicilline prescrite. "
CANARY = "Zebulon-Quatremarre"
CALLERS = 6
REQUESTS = 240

ASKED: dict[str, dict[str, Any]] = {
    "/embed": {"inputs": [TEXT, TEXT * 9], "chunks": "sentences"},
    "/ner": {"inputs": [{"id": "a", "text": TEXT * 3}, "Toux."], "redact": True},
    "/classify": {"inputs": [TEXT, "Toux."], "top_k": 2},
    "/fill-mask": {"inputs": "Le patient a de la <mask> et une <mask>.", "top_k": 3},
    "/similarity": {"inputs": {"source": "Fièvre.", "sentences": ["Toux."]}},
    "/multiple-choice": {"inputs": {"question": "Quel signe ?", "options": {"a": "toux", "b": "fièvre"}}},
    "/analyze": {"inputs": TEXT, "tasks": ["embed", "ner", "classify"]},
    "/tokenize": {"inputs": TEXT},
    "/v1/embeddings": {"model": "by-hand", "input": [TEXT, "Toux."]},
    "/hf/ner": {"inputs": TEXT},
    "/tei/embed": {"inputs": [TEXT]},
    "/v2/models/by-hand/infer": {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT]}]},
}
REFUSED: dict[str, tuple[str, bytes]] = {
    "not JSON": ("/embed", b"{"),
    "an unknown field": ("/embed", b'{"inputs": "x", "truncate": true}'),
    "an empty text": ("/ner", b'{"inputs": ""}'),
    "no such model": ("/ner", b'{"inputs": "x", "model": "none"}'),
    "no such route": ("/none", b"{}"),
    "too large": ("/embed", b'{"inputs": "' + b"x" * 9_000_000 + b'"}'),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    bundles.write(folder)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(store: Path) -> AsyncIterator[Cluster]:
    async with cluster(store) as it:
        yield it


@contextlib.asynccontextmanager
async def alone(store: Path) -> AsyncIterator[httpx.AsyncClient]:
    """One process, without a network."""
    app = create_app(build(Settings(models=Models(store=store, threads=1))))
    async with (
        services.running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield client


def comparable(answer: bytes) -> Any:
    """An answer without what differs from request to request: the id in a problem, the time in OpenAI's and OIP's objects."""
    found = json.loads(answer)
    for name in ("instance", "id", "created"):
        if isinstance(found, dict):
            found.pop(name, None)
    return found


async def test_two_replicas_answer_every_route_as_one_process_does(running: Cluster, store: Path) -> None:
    client = running.client()
    async with alone(store) as single:
        for path, body in ASKED.items():
            sent = json.dumps(body).encode()
            expected = await single.post(path, content=sent, headers={"Content-Type": "application/json"})
            assert expected.status_code == 200, (path, expected.text)
            for _ in range(4):  # by either replica
                found = await client.ask(path, sent)
                assert (found.status, comparable(found.body)) == (200, comparable(expected.content)), path
        for path in ("/models", "/models/by-hand", "/openapi.json", "/livez", "/readyz", "/v2/health/ready"):
            assert (await client.get(path)).status == (await single.get(path)).status_code == 200
    await client.close()


async def test_what_one_process_refuses_two_replicas_refuse_alike(running: Cluster, store: Path) -> None:
    async with alone(store) as single:
        for name, (path, body) in REFUSED.items():
            expected = await single.post(path, content=body, headers={"Content-Type": "application/json"})
            client = running.client()
            found = await client.ask(path, body)
            assert expected.status_code >= 400
            assert (found.status, comparable(found.body)) == (expected.status_code, comparable(expected.content)), name
            await client.close()


async def load(client: Client, count: int) -> Counter[int]:
    """How often each status came: callers that ask one after the other and never try again."""
    statuses: Counter[int] = Counter()
    left = iter(range(count))

    async def caller() -> None:
        for number in left:
            body = json.dumps({"inputs": f"{TEXT * (1 + number % 9)} {CANARY}"}).encode()
            statuses[(await client.ask("/ner", body)).status] += 1

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return statuses


async def test_a_replica_that_is_killed_under_load_costs_no_request_and_is_replaced(running: Cluster) -> None:
    client = running.client()
    before = running.replicas()
    assert len(before) == 2
    loading = asyncio.create_task(load(client, REQUESTS))
    await asyncio.sleep(0.5)
    os.kill(before[0], signal.SIGKILL)
    assert await loading == {200: REQUESTS}
    deadline = time.monotonic() + 300
    while len(set(running.replicas()) - {before[0]}) < 2 and time.monotonic() < deadline:  # noqa: ASYNC110 - of other processes
        await asyncio.sleep(0.2)
    assert len(set(running.replicas()) - {before[0]}) == 2
    await client.close()


async def test_replicas_that_are_replaced_under_load_finish_what_they_have(running: Cluster) -> None:
    client = running.client()
    before = set(running.replicas())
    rolling = asyncio.create_task(running.deploy({"logs": {"level": "warning"}}))
    statuses: Counter[int] = Counter()
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and (not rolling.done() or before & set(running.replicas())):
        statuses += await load(client, 4 * CALLERS)
    await rolling
    assert not before & set(running.replicas())
    assert set(statuses) == {200}
    await client.close()


async def test_no_text_is_written_anywhere(running: Cluster) -> None:
    client = running.client()
    large = json.dumps({"inputs": [f"{CANARY} " * 100] * 64}).encode()  # more than Ray hands on without its store of objects
    assert len(large) > 120_000
    assert (await client.ask("/tokenize", large)).status == 200
    assert (await client.ask("/embed", f'{{"inputs": "{CANARY}", "{CANARY}": 1}}'.encode())).status == 422
    await client.close()
    files = running.written()
    assert len(files) > 10
    assert [path.name for path in files if CANARY.encode() in path.read_bytes()] == []


async def test_an_archive_is_answered_by_actors_and_not_a_second_time(running: Cluster, store: Path, tmp_path: Path) -> None:
    for name, count in (("a", 20), ("b", 5)):
        lines = [json.dumps({"id": f"{name}-{number}", "text": f"{number}: {TEXT}"}) for number in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    settings = json.dumps({"models": {"store": str(store), "threads": 1}})
    places = ("--input", f"{tmp_path}/*.jsonl", "--output", f"{tmp_path}/out", "--address", running.address)
    for answered in ({"a": 20, "b": 5}, {"a": 0, "b": 0}):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "drlongformer.scale.ray_data", "embed", *places),
            *("--settings", settings, "--actors", "2", "--cores", "0.4"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=dict(running.environment),
        )
        told, _ = await process.communicate()
        done = [json.loads(line) for line in told.decode().splitlines() if line.startswith("{")]
        assert process.returncode == 0
        assert {Path(each["path"]).stem: each["answered"] for each in done} == answered
    assert len(list((tmp_path / "out").glob("*/answers/*.parquet"))) == 2
