"""A real Ray cluster of this machine, two replicas: it answers as one process does, and a replica's end costs no request.

One cluster for all tests, which stand in order: the later ones change it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from starlette.routing import compile_path

from drlongformer.api import gate, keys
from drlongformer.api.app import build, create_app
from drlongformer.settings import Models, Server, Settings
from loadtests.ray_cluster import MEMORY_BYTES, Cluster, Wanted, cluster, free_memory
from loadtests.wire import Client
from tests.api import services
from tests.serving import bundles

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
    pytest.mark.skipif(free_memory() < MEMORY_BYTES, reason=f"needs {MEMORY_BYTES:,} bytes of free memory"),
]

TEXT = "Patient de 54 ans, fièvre à 39 °C et toux grasse depuis trois jours; amoxicilline prescrite. "
CANARY = "Zebulon-Quatremarre"
ACTOR = "ray::MapWorker"
CALLERS = 6
REQUESTS = 240
FLOOD = 64
QUEUES = {"max_ongoing_requests": 4, "max_queued_requests": 8}  # a replica, the proxy: enough for CALLERS, not for FLOOD
OWN_ID = {"X-Request-Id": "asked-by-the-test"}  # stands in problems and in OIP's objects
SECRET = keys.new_secret()
KEY = f"caller1.{SECRET}"

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
    "/tei": {"inputs": [TEXT]},
    "/tei/embed": {"inputs": [TEXT]},
    "/tei/predict": {"inputs": TEXT},
    "/tei/similarity": {"inputs": {"source_sentence": "Fièvre.", "sentences": ["Toux."]}},
    "/tei/tokenize": {"inputs": TEXT},
    "/v2/models/by-hand/infer": {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT]}]},
    "/v2/models/by-hand/versions/1/infer": {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT]}]},
}
READ = (
    *sorted(gate.OPEN),
    *("/models", "/models/by-hand", "/v1/models", "/v1/models/by-hand", "/tei/info", "/v2", "/v2/models/by-hand"),
    *("/v2/models/by-hand/ready", "/v2/models/by-hand/versions/1", "/v2/models/by-hand/versions/1/ready"),
)
OF_ONE_REPLICA = ("/usage", "/debug/slow", "/metrics")  # what each replica tells of itself
REFUSED: dict[str, tuple[str, bytes]] = {
    "not JSON": ("/embed", b"{"),
    "an unknown field": ("/embed", b'{"inputs": "x", "truncate": true}'),
    "an empty text": ("/ner", b'{"inputs": ""}'),
    "no such model": ("/ner", b'{"inputs": "x", "model": "none"}'),
    "no such route": ("/none", b"{}"),
    "too large": ("/embed", b'{"inputs": "' + b"x" * 9_000_000 + b'"}'),
}


def key(id_: str, *scopes: keys.Scope) -> keys.Key:
    digest = keys.digest(SECRET.encode()).hex()
    return keys.Key(id=id_, name=id_, sha256=digest, scopes=scopes, created=datetime.now(UTC))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    bundles.write(folder)
    return folder


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    known = (key("caller1", "infer", "admin", "metrics"), key("gauges1", "metrics"), key("leaver1", "infer"))
    keys.write(file, keys.KeyFile(keys=known))
    return file


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(store: Path, ring: Path) -> AsyncIterator[Cluster]:
    async with cluster(store, Wanted(settings={"server": {"keys": str(ring)}}, queues=QUEUES)) as it:
        yield it


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def single(store: Path, ring: Path) -> AsyncIterator[httpx.AsyncClient]:
    """One process, without a network."""
    app = create_app(build(Settings(models=Models(store=store, threads=1), server=Server(keys=ring))))
    headers = {"Authorization": f"Bearer {KEY}"} | OWN_ID
    async with (
        services.running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", headers=headers) as client,
    ):
        yield client


async def until(reached: Callable[[], bool], *, seconds: float = 300) -> None:
    """Wait for something of other processes."""
    async with asyncio.timeout(seconds):
        while not reached():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.05)


def without_start(answer: bytes) -> bytes:
    """An answer but for the second at which OpenAI's surface says that a model was made: the start of the process."""
    return re.sub(rb'"created":[0-9]+', b'"created":0', answer)


async def test_two_replicas_answer_every_route_to_the_last_bit_as_one_process_does(
    running: Cluster, single: httpx.AsyncClient
) -> None:
    for template in gate.OPEN | gate.SCOPES.keys():
        assert any(compile_path(template)[0].fullmatch(path) for path in (*ASKED, *READ, *OF_ONE_REPLICA)), template
    client = running.client(key=KEY)
    for path, body in ASKED.items():
        sent = json.dumps(body).encode()
        expected = await single.post(path, content=sent, headers={"Content-Type": "application/json"})
        assert expected.status_code == 200, (path, expected.text)
        for _ in range(4):  # by either replica
            found = await client.ask(path, sent, OWN_ID)
            assert (found.status, found.body) == (200, expected.content), path
    for path in READ:
        page, wanted = await client.ask(path, None, OWN_ID), await single.get(path)
        assert (page.status, without_start(page.body)) == (200, without_start(wanted.content)), path
        assert page.headers["content-type"] == wanted.headers["content-type"]
    for path in OF_ONE_REPLICA:
        assert (await client.get(path)).status == (await single.get(path)).status_code == 200
    assert "drlongformer_queue_tokens{" in await client.page()
    await client.close()


async def test_what_one_process_refuses_two_replicas_refuse_alike(running: Cluster, single: httpx.AsyncClient) -> None:
    for name, (path, body) in REFUSED.items():
        expected = await single.post(path, content=body, headers={"Content-Type": "application/json"})
        client = running.client(key=KEY)
        found = await client.ask(path, body, OWN_ID)
        assert expected.status_code >= 400
        assert (found.status, found.body) == (expected.status_code, expected.content), name
        await client.close()


async def test_keys_are_asked_by_every_replica_and_a_revoked_one_counts_no_more(running: Cluster, ring: Path) -> None:
    async def statuses(token: str | None) -> set[int]:
        client = running.client(key=token)
        found = [await client.ask("/tokenize", b'{"inputs": "Toux."}') for _ in range(4)]
        await client.close()
        return {each.status for each in found}

    assert [await statuses(token) for token in (None, "caller1.wrong")] == [{401}, {401}]
    assert await statuses(f"gauges1.{SECRET}") == {403}
    assert await statuses(f"leaver1.{SECRET}") == {200}
    there = keys.read(ring).keys
    left = [each.model_copy(update={"revoked": datetime.now(UTC)}) if each.id == "leaver1" else each for each in there]
    keys.write(ring, keys.KeyFile(keys=tuple(left)))
    async with asyncio.timeout(60):
        while await statuses(f"leaver1.{SECRET}") != {401}:  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.2)


async def test_what_the_queues_do_not_hold_is_told_when_to_come_back(running: Cluster) -> None:
    client = running.client(key=KEY)
    sent = json.dumps({"inputs": [TEXT * 5] * 16}).encode()
    replies = await asyncio.gather(*(client.ask("/embed", sent) for _ in range(FLOOD)))
    refused = [reply for reply in replies if reply.status != 200]
    assert 2 * QUEUES["max_ongoing_requests"] <= len(replies) - len(refused) < FLOOD
    assert {(reply.status, reply.json["type"], reply.headers["retry-after"]) for reply in refused} == {
        (429, "/problems/overloaded", "2")
    }
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
    client = running.client(key=KEY)
    before = running.replicas()
    assert len(before) == 2
    loading = asyncio.create_task(load(client, REQUESTS))
    await until(lambda: client.tally["/ner", "200"] > CALLERS)
    os.kill(before[0], signal.SIGKILL)
    assert not loading.done()
    assert await loading == {200: REQUESTS}
    await until(lambda: len(set(running.replicas()) - {before[0]}) == 2)
    await client.close()


async def test_replicas_that_are_replaced_under_load_finish_what_they_have(running: Cluster) -> None:
    client = running.client(key=KEY)
    before = set(running.replicas())
    eager = {"max_replicas": 3, "target_ongoing_requests": 1, "upscale_delay_s": 0.5}
    eager |= {"metrics_interval_s": 0.5, "look_back_period_s": 2}
    rolling = asyncio.create_task(running.deploy({"logs": {"level": "warning"}}, autoscaling=eager))
    statuses: Counter[int] = Counter()
    async with asyncio.timeout(400):
        while not rolling.done() or before & set(running.replicas()):
            statuses += await load(client, 4 * CALLERS)
    await rolling
    assert set(statuses) == {200}
    await client.close()


async def test_more_requests_than_replicas_should_have_bring_another(running: Cluster) -> None:
    client = running.client(key=KEY)
    statuses: Counter[int] = Counter()
    async with asyncio.timeout(300):
        while len(running.replicas()) < 3:
            statuses += await load(client, 4 * CALLERS)
    assert set(statuses) <= {200}
    await client.close()


async def test_no_text_is_written_anywhere(running: Cluster) -> None:
    client = running.client(key=KEY)
    large = json.dumps({"inputs": [f"{CANARY} " * 100] * 64}).encode()  # more than Ray hands on without its store of objects
    assert len(large) > 120_000
    assert (await client.ask("/tokenize", large)).status == 200
    assert (await client.ask("/embed", f'{{"inputs": "{CANARY}", "{CANARY}": 1}}'.encode())).status == 422
    await client.close()
    files = running.written()
    assert len(files) > 10
    assert [path.name for path in files if CANARY.encode() in path.read_bytes()] == []


DOCUMENTS = {"long": 2000, "short": 5}


@contextlib.asynccontextmanager
async def command(running: Cluster, store: Path, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The archives' command line, on the cluster; killed if the block ends before it does."""
    settings = json.dumps({"models": {"store": str(store), "threads": 1}})
    places = ("--input", f"{folder}/*.parquet", "--output", f"{folder}/out", "--address", running.address)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "drlongformer.scale.ray_data", "embed", *places, "--settings", settings),
        *("--actors", "2", "--cores", "0.2", "--part-documents", "40"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(running.environment),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def parts(folder: Path, name: str = "long") -> list[Path]:
    """The answers of a file, in order."""
    return sorted((folder / "out" / name / "answers").glob("*.parquet"))


def complete(folder: Path) -> bool:
    """Whether the long file is answered."""
    return str(json.loads((folder / "out" / "long" / "manifest.json").read_text(encoding="utf-8"))["state"]) == "complete"


async def test_an_archive_whose_driver_and_then_an_actor_are_killed_is_answered_exactly_once(
    running: Cluster, store: Path, tmp_path: Path
) -> None:
    for name, count in DOCUMENTS.items():
        columns = {
            "id": [f"{name}-{number}" for number in range(count)],
            "text": [f"{number}: {TEXT}" for number in range(count)],
        }
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    async with command(running, store, tmp_path):
        await until(lambda: len(parts(tmp_path)) > 2)
    await until(lambda: not running.processes(ACTOR))
    assert not complete(tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in parts(tmp_path)[:-1]}
    async with command(running, store, tmp_path) as process:
        await until(lambda: len(parts(tmp_path)) > len(kept) + 3)
        for actor in running.processes(ACTOR):
            os.kill(actor, signal.SIGKILL)
        assert not complete(tmp_path)
        told, _ = await process.communicate()
    done = [json.loads(line) for line in told.decode().splitlines() if line.startswith("{")]
    assert process.returncode == 0, done
    assert {(Path(each["path"]).stem, each["complete_before"], each["error"]) for each in done} >= {("long", False, "")}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for name, count in DOCUMENTS.items():
        ids = [id_ for part in parts(tmp_path, name) for id_ in pq.read_table(part).column("id").to_pylist()]
        assert ids == [f"{name}-{number}" for number in range(count)]
