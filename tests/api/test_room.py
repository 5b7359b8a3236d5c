"""A full service refuses before it parses or tokenizes anything, and refuses nothing that fits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from drlongformer import bundle
from drlongformer.api.app import assemble
from drlongformer.api.gate import SCOPES
from drlongformer.api.limits import BodyGate
from drlongformer.api.record import begin
from drlongformer.api.room import ENGINE_ROUTES
from drlongformer.api.routes import Service
from drlongformer.errors import Overloaded
from drlongformer.serving.engine import FakeEngine
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models, serve
from drlongformer.settings import Limits
from drlongformer.text.tokenizer import Progress, Tokenizer
from drlongformer.types import Encoded
from tests.api import bundles, services
from tests.serving.bundles import BLOCK, MAX_TOKENS, WIDTHS

FULL_BLOCKS = 2 * MAX_TOKENS // BLOCK
NOTE = "Toux."
LONG = " ".join(["fièvre"] * 2 * BLOCK)
TELLING: dict[str, dict[str, Any]] = {
    "/similarity": {"inputs": [[NOTE, NOTE]]},
    "/multiple-choice": {"inputs": {"question": NOTE, "options": {"a": NOTE, "b": NOTE}}},
    "/analyze": {"inputs": NOTE, "tasks": ["embed", "ner"]},
    "/v1/embeddings": {"input": NOTE, "model": "fake"},
    "/v2/models/fake/infer": {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [NOTE]}]},
}


class Counting(Tokenizer):
    """A tokenizer that notes how long the texts were that it was given."""

    read: list[int]

    def steps(self, text: str) -> Generator[Progress, None, Encoded]:
        self.read.append(len(text))
        return super().steps(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """A service whose queue has room for so many blocks as were asked for, before an engine that never ends."""

    client: httpx.AsyncClient
    served: Service
    tokenizer: Counting

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self.client.post(path, json=body)


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until a condition holds, which no event announces."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def full(folder: Path, *, free_blocks: int = 0) -> AsyncIterator[Full]:
    metrics, engine = Metrics.create(), FakeEngine(WIDTHS, block=BLOCK, hang=True)
    model = serve(bundle.load(bundles.write(folder)), engine, metrics=metrics, max_queue_tokens=FULL_BLOCKS * BLOCK)
    manifest = model.bundle.manifest
    tokenizer = Counting.from_file(model.bundle.folder / manifest.tokenizer.file, spec=manifest.tokenizer)
    tokenizer.read = []
    served = assemble(Models([replace(model, tokenizer=tokenizer)]), metrics, services.settings())
    async with services.client(served) as client:
        first = asyncio.create_task(client.post("/classify", json={"inputs": NOTE}))
        await until(lambda: bool(engine.batches))
        notes = {"inputs": [NOTE] * (FULL_BLOCKS - free_blocks)}
        waiting = asyncio.create_task(client.post("/classify", json=notes))
        await until(lambda: model.batcher.queued_slots == (FULL_BLOCKS - free_blocks) * BLOCK)
        tokenizer.read.clear()
        yield Full(client=client, served=served, tokenizer=tokenizer)
        for task in (first, waiting):
            task.cancel()
        await asyncio.wait([first, waiting])


def test_every_route_that_asks_an_engine_is_in_the_table() -> None:
    reading = {"/models", "/models/{name}", "/v1/models", "/v1/models/{name}", "/tei/info", "/v2", "/v2/models/{name}"}
    reading |= {f"/v2/models/{{name}}{part}" for part in ("/ready", "/versions/{version}", "/versions/{version}/ready")}
    asking = {route for route, scope in SCOPES.items() if scope == "infer"} - reading - {"/tokenize", "/tei/tokenize"}
    assert asking == set(ENGINE_ROUTES)


async def test_a_full_queue_refuses_every_task_without_parsing_or_tokenizing(tmp_path: Path) -> None:
    async with full(tmp_path) as it:
        for route in ENGINE_ROUTES:
            path = route.format(task="ner", name="fake", version="1")
            refused = await it.post(path, TELLING.get(path, {"inputs": NOTE}))
            assert refused.status_code == 429, path
            assert int(refused.headers["retry-after"]) >= 1
            broken = await it.client.post(path, content=b"{", headers={"Content-Type": "application/json"})
            assert broken.status_code == 429, path
        assert it.tokenizer.read == []
        told = await it.post("/ner", {"inputs": NOTE})
        assert told.json()["type"] == "/problems/overloaded"
        assert told.json()["detail"] == "128 token slots wait, at least 16 more do not fit in 128"
        assert services.samples(it.served, "rejected_total") == {("overloaded",): 2 * len(ENGINE_ROUTES) + 1}
        counted = services.samples(it.served, "http_requests_total")
        refusals = {route: counted[route, "POST", "429"] for route in ENGINE_ROUTES}
        assert refusals == dict.fromkeys(ENGINE_ROUTES, 2) | {"/ner": 3}


async def test_what_asks_nothing_of_the_engine_is_answered_by_a_full_service(tmp_path: Path) -> None:
    async with full(tmp_path) as it:
        assert (await it.post("/tokenize", {"inputs": NOTE})).status_code == 200
        assert (await it.client.get("/readyz")).status_code == 200
        assert (await it.client.get("/embed")).status_code == 405


async def test_where_one_block_is_free_a_note_comes_in_and_a_long_text_is_refused_by_its_words(tmp_path: Path) -> None:
    async with full(tmp_path, free_blocks=1) as it:
        refused = await it.post("/embed", {"inputs": LONG})
        assert (refused.status_code, it.tokenizer.read) == (429, [])
        several = await it.post("/embed", {"inputs": [NOTE, NOTE]})
        assert (several.status_code, it.tokenizer.read) == (429, [])
        assert (await it.post("/tokenize", {"inputs": [LONG, NOTE]})).status_code == 200
        it.tokenizer.read.clear()
        admitted = asyncio.create_task(it.post("/embed", {"inputs": NOTE}))
        await until(lambda: it.served.models.get(None, "embed").batcher.queued_slots == FULL_BLOCKS * BLOCK)
        assert it.tokenizer.read == [len(NOTE)]
        admitted.cancel()
        await asyncio.wait([admitted])


@pytest.mark.parametrize("changes", [{"on_error": "report"}, {"overflow": "truncate"}])
async def test_what_may_turn_out_to_be_short_is_tokenized(changes: dict[str, str], tmp_path: Path) -> None:
    async with full(tmp_path, free_blocks=1) as it:
        assert (await it.post("/embed", {"inputs": LONG, **changes})).status_code == 429
        assert it.tokenizer.read == [len(LONG)]


class Closed:
    """Room for nobody."""

    def require(self, _scope: object, *, body_bytes: int) -> None:
        raise Overloaded(f"no room for {body_bytes} bytes")


async def test_who_waits_to_be_told_to_send_a_body_is_refused_without_it() -> None:
    async def app(_scope: object, _receive: object, _send: object) -> None:
        raise AssertionError("it was handed on")

    async def receive() -> Any:
        raise AssertionError("its body was asked for")

    headers = [(b"expect", b"100-continue"), (b"content-length", b"900")]
    scope = {"type": "http", "method": "POST", "path": "/embed", "headers": headers}
    begin(scope)
    gate = BodyGate(app, limits=Limits(), room=Closed())  # type: ignore[arg-type]
    with pytest.raises(Overloaded, match=r"^no room for 900 bytes$"):
        await gate(scope, receive, receive)  # type: ignore[arg-type]
