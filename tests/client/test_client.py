"""Both clients against a real server: every route, many documents, keys, errors, and what importing the client imports."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from drlongformer import AsyncClient, Client
from drlongformer.api import keys
from drlongformer.api.gate import SCOPES
from drlongformer.api.keys import KeyFile
from drlongformer.client import (
    BadRequest,
    Document,
    InvalidSetting,
    NotAllowed,
    OutOfTime,
    Question,
    Refused,
    UnexpectedAnswer,
    Unreachable,
)
from drlongformer.client.connection import Connection
from drlongformer.settings import Limits, Server, Settings
from tests.api import services
from tests.api.test_keys import bearer, key
from tests.client.served import serving
from tests.client.test_core import DETAILS

TEXT = "Le patient a de la fièvre. 👩\u200d⚕ Toux sèche."
QUESTION = Question(question="Que faire ?", options={"a": "du repos", "b": "un plâtre"}, context=TEXT, id="q")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    tree = Settings(limits=Limits(max_documents=4))
    with serving(tmp_path_factory.mktemp("served"), tree=tree) as (url, _):
        yield url


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as it:
        yield it


def test_every_task_is_answered_in_types(client: Client) -> None:
    [embedding] = client.embed(TEXT, pooling="mean", dimensions=4).results
    assert embedding.embedding.shape == (4,)
    assert embedding.embedding.dtype == np.float32
    assert np.linalg.norm(embedding.embedding) == pytest.approx(1, abs=1e-5)
    answer = client.ner(TEXT, redact=True)
    [found] = answer.results
    assert found.entities
    assert all(TEXT[each.start : each.end] == each.text for each in found.entities)
    assert "[SYMPTOM]" in (found.redacted or "")
    assert (answer.model.name, answer.usage.documents, answer.requests) == ("fake", 1, 1)
    [labels] = client.classify(TEXT, top_k=2).results
    assert [each.score for each in labels.labels] == sorted((each.score for each in labels.labels), reverse=True)
    assert len(labels.labels) == 2
    [masks] = client.fill_mask("Le <mask> a une <mask>.", top_k=3).results
    assert [len(mask.predictions) for mask in masks.masks] == [3, 3]
    [tokens] = client.tokenize(TEXT).results
    assert len(tokens.tokens or ()) == tokens.count > 5
    [counted] = client.tokenize(TEXT, return_tokens=False).results
    assert (counted.tokens, counted.count) == (None, tokens.count)
    assert {result.method for result in client.similarity([("toux", "fièvre")] * 2).results} == {"head"}
    assert [result.index for result in client.similarity_to("toux", ["a", "b", "c", "d", "e"]).results] == [0, 1, 2, 3, 4]
    [choice] = client.multiple_choice(QUESTION).results
    assert (choice.id, [each.option for each in choice.choices]) == ("q", ["a", "b"])
    assert set(choice.answer) <= {"a", "b"}


def test_several_tasks_are_answered_together_in_types() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content) == {"inputs": ["toux"], "tasks": ["embed", "ner"], "embed": {"encoding": "base64"}}
        packed = base64.b64encode(np.array([1, 2], dtype="<f4").tobytes()).decode()
        result = {"index": 0, "tokens": 3, "windows": 1, "truncated": False, "embedding": packed, "embedding_space": "s"}
        result |= {"entities": [], "chunks": [{"start": 0, "end": 4, "embedding": packed}]}
        model = {"name": "m", "version": 1, "sha256": "0", "precision": "fp32"}
        return httpx.Response(200, json={"model": model, "results": [result], "usage": {"documents": 1, "tokens": 3}})

    with Client(transport=httpx.MockTransport(answer)) as client:
        [found] = client.analyze("toux", ["embed", "ner"]).results
    assert found.embedding is not None
    assert found.embedding.tolist() == [1.0, 2.0]
    assert found.chunks is not None
    assert (found.chunks[0].end, found.chunks[0].embedding.tolist()) == (4, [1.0, 2.0])
    assert (found.entities, found.labels) == ((), None)


def test_the_service_tells_of_itself(client: Client) -> None:
    [summary] = client.models()
    details = client.model(f"{summary.name}:{summary.version}")
    assert details.limits.max_documents == 4
    assert {head.task for head in details.heads} == set(summary.tasks)
    assert client.is_alive()
    assert client.is_ready()
    assert "/ner" in client.openapi()["paths"]
    assert "drlongformer_http_requests_total" in client.metrics()
    assert client.usage().usage == ()


def test_every_route_of_the_service_has_a_method() -> None:
    told = {
        "/embed": Client.embed, "/ner": Client.ner, "/classify": Client.classify, "/fill-mask": Client.fill_mask,
        "/similarity": Client.similarity, "/multiple-choice": Client.multiple_choice, "/tokenize": Client.tokenize,
        "/analyze": Client.analyze, "/debug/slow": Client.slowest, "/models": Client.models,
        "/models/{name}": Client.model, "/usage": Client.usage, "/metrics": Client.metrics,
    }  # fmt: skip
    native = {path for path in SCOPES if not path.startswith(("/v1", "/v2", "/hf", "/tei"))}
    assert native <= told.keys()


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    blocking, awaiting = (
        {name: inspect.signature(method) for name, method in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}
        for kind in (Client, AsyncClient)
    )
    assert blocking == awaiting
    assert len(blocking) > 14


def test_many_documents_go_in_bounded_requests_and_come_back_in_order(client: Client) -> None:
    texts = [f"Document numéro {index}, toux et fièvre." for index in range(11)]
    documents = (Document(text=text, id=str(index)) for index, text in enumerate(texts))
    answer = client.embed(documents)
    assert [(result.index, result.id) for result in answer.results] == [(index, str(index)) for index in range(11)]
    assert answer.requests == 3
    assert answer.usage.documents == 11
    alone = np.stack([client.embed(text).vectors[0] for text in texts])
    assert np.array_equal(answer.vectors, alone)


def test_no_documents_are_no_request(client: Client) -> None:
    answer = client.embed([])
    assert (answer.results, answer.requests, answer.vectors.shape) == ((), 0, (0, 0))
    with pytest.raises(UnexpectedAnswer):
        _ = answer.model


def test_a_bad_document_is_told_by_its_place_among_all_or_reported(client: Client) -> None:
    texts = ["toux"] * 6 + [""] + ["toux"] * 3
    with pytest.raises(BadRequest) as raised:
        client.ner(texts)
    assert raised.value.problem.errors[0].loc == ("inputs", 6)
    answer = client.ner(texts, on_error="report")
    assert [result.index for result in answer.results] == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert [(failed.index, failed.error.kind) for failed in answer.failures] == [(6, "empty-text")]


def test_what_cannot_be_sent_is_a_failure_in_its_place_beside_all_others(client: Client) -> None:
    texts: list[Any] = ["toux", "x \ud800", None, Document(text="\ud800", id="d"), "", *["toux"] * 5, float("nan")]
    answer = client.ner(texts, on_error="report")
    assert [result.index for result in answer.results] == [0, 5, 6, 7, 8, 9]
    assert [(each.index, each.id) for each in answer.failures] == [(1, None), (2, None), (3, "d"), (4, None), (10, None)]
    told = [each.error.detail for each in answer.failures]
    assert "lone surrogate" in told[0]
    assert "not None" in told[1]
    assert [each.error.errors[0].loc for each in answer.failures] == [("inputs", index) for index in (1, 2, 3, 4, 10)]
    [failure] = client.ner(texts[2:3], on_error="report").failures
    assert failure.index == 0
    with pytest.raises(BadRequest, match=r"inputs\.2: .* not None"):
        client.ner(["toux", "toux", *texts[2:]])


def test_pairs_sentences_and_questions_that_cannot_be_sent_are_failures_too(client: Client) -> None:
    pairs: list[Any] = [("toux", "fièvre"), None, ("toux", "\ud800")]
    sentences: list[Any] = ["toux", None, "\ud800", "fièvre"]
    questions: list[Any] = [QUESTION, None]
    assert [each.index for each in client.similarity(pairs, on_error="report").failures] == [1, 2]
    answer = client.similarity_to("toux", sentences, on_error="report")
    assert [each.index for each in answer.results] == [0, 3]
    assert [each.error.errors[0].loc for each in answer.failures] == [("inputs", "sentences", 1), ("inputs", "sentences", 2)]
    assert [each.index for each in client.multiple_choice(questions, on_error="report").failures] == [1]


async def test_the_awaiting_client_takes_what_a_generator_awaits(address: str, client: Client) -> None:
    async def texts() -> AsyncIterator[str]:
        for text in ("toux", "fièvre", "douleur", "toux", "toux"):
            await asyncio.sleep(0)
            yield text

    async def pairs() -> AsyncIterator[tuple[str, str]]:
        yield ("toux", "fièvre")

    async with AsyncClient(address) as awaited:
        answer = await awaited.ner(texts())
        assert answer.results == client.ner(["toux", "fièvre", "douleur", "toux", "toux"]).results
        assert len((await awaited.similarity(pairs())).results) == 1


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost:8000", "ftp://x", "http://", "", "//x", "http://x:port"])
def test_an_address_without_a_scheme_or_a_host_is_refused_at_once(url: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(InvalidSetting, match="begin with http"):
            kind(url)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ca": "nope.pem"}, "nope.pem cannot be read"),
        ({"ca": __file__}, "test_client.py cannot be read"),
        ({"certificate": ("me.pem", "me.key")}, "me.pem and me.key cannot be read"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"key": ""}, "0 characters"),
        ({"key": "geheim\n"}, "7 characters"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused_with_their_name(options: Any, told: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(InvalidSetting) as raised:
            kind(**options)
        assert told in str(raised.value)
        assert "geheim" not in str(raised.value)


async def test_where_nobody_listens_nobody_is_ready() -> None:
    with Client("http://127.0.0.1:9") as client:
        assert (client.is_ready(), client.is_alive()) == (False, False)
    async with AsyncClient("http://127.0.0.1:9") as awaited:
        assert not await awaited.is_ready()


def test_the_bar_reaches_its_end(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Client(address, progress=True) as client:
        client.ner(["toux"] * 9)
    assert "9/9" in capsys.readouterr().out


async def test_the_awaiting_client_answers_the_same(address: str, client: Client) -> None:
    texts = ["toux", "fièvre", "douleur"] * 4
    async with AsyncClient(address, concurrency=2) as awaited:
        vectors, entities = await asyncio.gather(awaited.embed(texts), awaited.ner(texts))
        assert np.array_equal(vectors.vectors, client.embed(texts).vectors)
        assert entities.results == client.ner(texts).results
        assert await awaited.is_ready()
        assert (await awaited.models()) == client.models()
        assert (await awaited.model("fake")) == client.model("fake")


async def test_the_awaiting_client_gives_up_what_is_under_way_at_the_first_error(address: str) -> None:
    async with AsyncClient(address) as awaited:
        with pytest.raises(BadRequest):
            await awaited.ner(["toux"] * 4 + [""] + ["toux"] * 40)
        assert len(asyncio.all_tasks()) == 1


def test_keys_are_sent_and_their_scopes_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys.write(path, KeyFile(keys=(key("infer111", scopes=("infer",)),)))
    told = bearer("infer111").decode().removeprefix("Bearer ")
    with serving(tmp_path / "store", tree=Settings(server=Server(keys=path))) as (url, _):
        with Client(url) as stranger, pytest.raises(NotAllowed):
            stranger.ner("toux")
        with Client(url, key=told) as client:
            assert client.ner("toux").results
            with pytest.raises(NotAllowed, match="admin"):
                client.usage()


def test_a_key_is_in_no_repr() -> None:
    assert "geheim" not in repr(Connection.of("http://x", {"key": "geheim", "headers": {"X-K": "geheim"}}))


def refusing(*statuses: int, retry_after: str = "0") -> tuple[Callable[[httpx.Request], httpx.Response], list[httpx.Request]]:
    """A service that answers with these statuses in turn, the last for ever; and the requests it saw."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        status = statuses[min(len(seen), len(statuses) - 1)]
        seen.append(request)
        if status == 200:
            result = {"index": 0, "tokens": 3, "windows": 1, "truncated": False, "labels": []}
            model = {"name": "m", "version": 1, "sha256": "0", "precision": "fp32"}
            return httpx.Response(200, json={"model": model, "results": [result], "usage": {"documents": 1, "tokens": 3}})
        body = {"type": "/problems/overloaded", "title": "Overloaded", "status": status, "detail": "full", "instance": "i"}
        return httpx.Response(status, json=body, headers={"Retry-After": retry_after})

    return answer, seen


async def test_both_clients_come_back_when_they_were_asked_to() -> None:
    answer, seen = refusing(429, 503, 200)
    with Client(transport=httpx.MockTransport(answer)) as client:
        assert client.classify("toux").results
    assert len(seen) == 3
    answer, seen = refusing(429, 503, 200)
    async with AsyncClient(transport=httpx.MockTransport(answer)) as awaited:
        assert (await awaited.classify("toux")).results
    assert len(seen) == 3
    assert 0 < float(seen[-1].headers["X-Request-Timeout"]) <= 300


def test_the_first_error_ends_the_pauses_of_the_other_requests() -> None:
    details = services_details()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=details[request.url.path])
        if b"mauvais" in request.content:
            return httpx.Response(422, json={"type": "/problems/x", "title": "X", "status": 422, "detail": "d"})
        return httpx.Response(
            429,
            headers={"Retry-After": "100"},
            json={"type": "/problems/overloaded", "title": "O", "status": 429, "detail": "d"},
        )

    started = time.monotonic()
    with Client(transport=httpx.MockTransport(answer), request_bytes=1) as client, pytest.raises(Refused, match="422"):
        client.ner(["mauvais", "bon", "bon"])
    assert time.monotonic() - started < 50
    assert not [each for each in threading.enumerate() if each.name.startswith("drlongformer-client")]


def services_details() -> dict[str, Any]:
    return {"/models": {"models": [DETAILS]}, "/models/m": DETAILS}


def test_health_is_asked_once_and_a_no_is_an_answer() -> None:
    answer, seen = refusing(503)
    with Client(transport=httpx.MockTransport(answer)) as client:
        assert not client.is_ready()
    assert len(seen) == 1


def test_nobody_there_is_told_after_the_last_attempt() -> None:
    with Client("http://127.0.0.1:9", retries=1) as client, pytest.raises(Unreachable, match="ConnectError"):
        client.ner("toux")


def test_an_answer_that_does_not_come_ends_at_the_deadline() -> None:
    def late(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("late")

    with Client(transport=httpx.MockTransport(late)) as client, pytest.raises(OutOfTime):
        client.ner("toux")


def test_a_version_that_changes_within_a_call_is_told_where_vectors_would_be_mixed() -> None:
    details, versions = services_details(), iter((1, 2))

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=details[request.url.path])
        version = next(versions)
        result = {
            "index": 0,
            "tokens": 3,
            "windows": 1,
            "truncated": False,
            "embedding": [1.0],
            "embedding_space": str(version),
        }
        model = {"name": "m", "version": version, "sha256": "0", "precision": "fp32"}
        return httpx.Response(200, json={"model": model, "results": [result], "usage": {"documents": 1, "tokens": 3}})

    with Client(transport=httpx.MockTransport(answer), request_bytes=1) as client:
        mixed = client.embed(["a", "b"])
    assert len(mixed.models) == 2
    with pytest.raises(UnexpectedAnswer, match="2 embedding spaces"):
        _ = mixed.vectors
    with pytest.raises(UnexpectedAnswer, match="2 versions"):
        _ = mixed.model


def test_a_proxy_of_the_environment_is_used_only_if_asked(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    with Client(address) as client:
        assert client.is_ready()
    with Client(address, trust_env=True, retries=0) as client, pytest.raises(Unreachable):
        client.ner("toux")


def test_a_full_service_is_waited_for(tmp_path: Path) -> None:
    with serving(tmp_path, queue_tokens=64) as (url, served), Client(url, concurrency=24, request_bytes=1) as client:
        answer = client.classify(["Le patient tousse."] * 24)
        counted = services.samples(served, "http_requests_total")
    assert [result.index for result in answer.results] == list(range(24))
    assert counted["/classify", "POST", "200"] == 24
    assert counted["/classify", "POST", "429"] > 0


def test_importing_the_client_imports_nothing_of_the_service() -> None:
    script = (
        "import sys; from drlongformer import AsyncClient, Client; print(*{name.partition('.')[0] for name in sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "httpx" in run.stdout.split()
    assert not {"fastapi", "starlette", "uvicorn", "onnxruntime", "torch", "tokenizers"} & set(run.stdout.split())
