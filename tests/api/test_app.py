"""The service over a fake engine: every route's shape, headers, options and figures, from request to metrics."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel

from drlongformer.api import results
from drlongformer.api.app import create_app
from drlongformer.api.examples import EXAMPLES
from tests.api import services
from tests.api.bundles import MAX_TOKENS
from tests.api.serving import running, wait_until

TEXT = "Le patient a de la fièvre. 👩\u200d⚕ Toux sèche, e\u0301lancements."
LONG = " ".join(["fièvre"] * 300)
TASKS = ["/embed", "/ner", "/classify", "/analyze", "/fill-mask", "/similarity", "/multiple-choice", "/tokenize"]
ANSWERS: dict[str, type[BaseModel]] = {
    "/embed": results.EmbedAnswer,
    "/ner": results.NerAnswer,
    "/classify": results.ClassifyAnswer,
    "/analyze": results.AnalyzeAnswer,
    "/fill-mask": results.FillMaskAnswer,
    "/similarity": results.SimilarityAnswer,
    "/multiple-choice": results.MultipleChoiceAnswer,
    "/tokenize": results.TokenizeAnswer,
}


async def post(tmp_path: Path, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
    """The JSON of a good answer."""
    async with services.client(services.service(tmp_path)) as client:
        response = await client.post(path, json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("path", TASKS)
async def test_the_documented_example_is_accepted_and_answered_in_the_documented_shape(path: str, tmp_path: Path) -> None:
    answer = await post(tmp_path, path, EXAMPLES[path].request)
    ANSWERS[path].model_validate(answer)
    ANSWERS[path].model_validate(EXAMPLES[path].answer)
    assert answer["usage"] == {"documents": len(EXAMPLES[path].answer["results"]), "tokens": answer["usage"]["tokens"]}
    assert [sorted(each) for each in answer["results"]] == [sorted(each) for each in EXAMPLES[path].answer["results"]]
    assert list(answer) == list(EXAMPLES[path].answer)


@pytest.mark.parametrize("path", ["/ner", "/fill-mask", "/tokenize"])
def test_the_documented_offsets_cut_the_documented_text(path: str) -> None:
    text, [result] = EXAMPLES[path].request["inputs"], EXAMPLES[path].answer["results"]
    for entity in result.get("entities", ()):
        assert text[entity["start"] : entity["end"]] == entity["text"]
    for mask in result.get("masks", ()):
        assert text[mask["start"] : mask["end"]] == "<mask>"
    if path == "/tokenize":
        assert "".join(text[each["start"] : each["end"]] for each in result["tokens"]) == text.replace(" ", "")


async def test_embeddings_come_as_numbers_or_as_the_same_numbers_in_base64(tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path)) as client:
        numbers = (await client.post("/embed", json={"inputs": TEXT})).json()["results"][0]
        packed = (await client.post("/embed", json={"inputs": TEXT, "encoding": "base64"})).json()["results"][0]
    vector = np.frombuffer(base64.b64decode(packed["embedding"]), dtype="<f4")
    assert np.array_equal(vector, np.array(numbers["embedding"], dtype=np.float32))
    assert numbers["embedding_space"] == packed["embedding_space"]


async def test_ids_come_back_and_documents_keep_their_order(tmp_path: Path) -> None:
    answer = await post(tmp_path, "/embed", {"inputs": ["un", {"id": "b", "text": "deux"}, {"text": "trois"}]})
    assert [(each["index"], each.get("id")) for each in answer["results"]] == [(0, None), (1, "b"), (2, None)]
    assert "id" not in answer["results"][0]
    assert answer["usage"]["documents"] == 3


@pytest.mark.parametrize("path", ["/ner", "/tokenize"])
async def test_offsets_cut_the_text_in_code_points_and_in_utf16(path: str, tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path)) as client:
        by_unit = {
            unit: (
                await client.post(
                    path, json={"inputs": TEXT, "offsets": unit, **({"aggregation": "none"} if path == "/ner" else {})}
                )
            ).json()
            for unit in ("codepoint", "utf16")
        }
    field = "entities" if path == "/ner" else "tokens"
    plain, units = (by_unit[unit]["results"][0][field] for unit in ("codepoint", "utf16"))
    assert len(plain) == len(units) > 3
    wide = TEXT.encode("utf-16-le")
    for one, other in zip(plain, units, strict=True):
        assert wide[2 * other["start"] : 2 * other["end"]].decode("utf-16-le") == TEXT[one["start"] : one["end"]]
    assert plain != units


async def test_entities_go_without_text_and_texts_without_entities_if_asked(tmp_path: Path) -> None:
    answer = await post(tmp_path, "/ner", {"inputs": TEXT, "return_text": False, "redact": True})
    [result] = answer["results"]
    assert result["entities"]
    assert all("text" not in entity for entity in result["entities"])
    assert "[SYMPTOM]" in result["redacted"]


async def test_a_long_document_is_read_in_windows_refused_or_cut_as_asked(tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path)) as client:
        windows = (await client.post("/embed", json={"inputs": LONG})).json()["results"][0]
        refused = await client.post("/embed", json={"inputs": LONG, "overflow": "refuse"})
        cut = (await client.post("/embed", json={"inputs": LONG, "overflow": "truncate"})).json()["results"][0]
    assert windows["windows"] > 1
    assert not windows["truncated"]
    assert (refused.status_code, refused.json()["type"]) == (413, "/problems/document-too-long")
    assert str(MAX_TOKENS) in refused.json()["detail"]
    assert (cut["truncated"], cut["windows"]) == (True, 1)


async def test_a_bad_document_fails_the_request_or_is_reported_in_its_place(tmp_path: Path) -> None:
    inputs = ["un", {"id": "b", "text": ""}, "trois"]
    async with services.client(services.service(tmp_path)) as client:
        failed = await client.post("/classify", json={"inputs": inputs})
        reported = await client.post("/classify", json={"inputs": inputs, "on_error": "report"}, headers={"X-Request-Id": "r1"})
    assert (failed.status_code, failed.json()["type"]) == (422, "/problems/empty-text")
    good, bad, also_good = reported.json()["results"]
    assert "labels" in good
    assert "labels" in also_good
    assert set(bad) == {"index", "id", "error"}
    assert (bad["error"]["type"], bad["error"]["instance"]) == ("/problems/empty-text", "r1")
    assert reported.json()["usage"] == {"documents": 2, "tokens": good["tokens"] + also_good["tokens"]}


@pytest.mark.parametrize("path", ["/embed", "/ner", "/classify", "/fill-mask", "/tokenize"])
async def test_a_text_that_is_none_is_reported_in_its_place_and_counted_as_refused(tmp_path: Path, path: str) -> None:
    served = services.service(tmp_path)
    body = {"inputs": ["un <mask>", None, {"id": "c", "text": 3}], "on_error": "report"}
    async with services.client(served) as client:
        answer = await client.post(path, json=body)
    good, missing, number = answer.json()["results"]
    assert (good["index"], missing["index"], number["index"], number["id"]) == (0, 1, 2, "c")
    assert [each["error"]["type"] for each in (missing, number)] == ["/problems/invalid-request"] * 2
    assert number["error"]["errors"][0]["loc"] == ["inputs", 2, "text"]
    assert answer.json()["usage"]["documents"] == 1
    assert services.samples(served, "rejected_total")["invalid_request",] == 2


async def test_masks_behind_a_cut_keep_their_places_and_are_counted(tmp_path: Path) -> None:
    text = f"<mask> {LONG} <mask> et <mask>"
    async with services.client(services.service(tmp_path)) as client:

        async def ask(**fields: Any) -> Any:
            answer = await client.post("/fill-mask", json={"inputs": text, "top_k": 2, **fields})
            return answer.json()["results"][0]

        whole, head = await ask(), await ask(overflow="truncate")
        tail = await ask(overflow="truncate", truncate_side="tail")
        hub = await client.post("/hf/fill-mask", json={"inputs": text, "overflow": "truncate"})
    assert "masks_unread" not in whole
    assert [len(mask["predictions"]) for mask in whole["masks"]] == [2, 2, 2]
    for cut, read in ((head, [2, 0, 0]), (tail, [0, 2, 2])):
        assert [len(mask["predictions"]) for mask in cut["masks"]] == read
        assert [(mask["start"], mask["end"]) for mask in cut["masks"]] == [
            (mask["start"], mask["end"]) for mask in whole["masks"]
        ]
        assert (cut["truncated"], cut["masks_unread"]) == (True, read.count(0))
    assert [len(words) for words in hub.json()] == [5, 0, 0]


async def test_usage_and_metrics_count_what_was_read_of_a_text_that_was_cut(tmp_path: Path) -> None:
    served = services.service(tmp_path)
    async with services.client(served) as client:
        answer = (await client.post("/ner", json={"inputs": [TEXT, LONG], "overflow": "truncate"})).json()
    short, cut = answer["results"]
    assert cut["tokens_read"] <= MAX_TOKENS < cut["tokens"]
    assert answer["usage"]["tokens"] == short["tokens"] + cut["tokens_read"]
    assert services.samples(served, "document_tokens_sum") == {("ner",): answer["usage"]["tokens"]}


async def test_answers_carry_the_headers_of_the_contract(tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path)) as client:
        response = await client.post("/embed", json={"inputs": TEXT}, headers={"X-Request-Id": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"
    stages = [entry.partition(";dur=") for entry in response.headers["server-timing"].split(", ")]
    assert [stage for stage, _, _ in stages] == ["tokenize", "queue", "compute", "total"]
    assert all(float(duration) >= 0 for _, _, duration in stages)


async def test_models_are_told_in_short_and_in_full(tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path)) as client:
        short = (await client.get("/models")).json()["models"]
        full = (await client.get("/models/fake")).json()
        same = (await client.get("/models/fake:1")).json()
        unknown = await client.get("/models/Canari")
    assert [(model["name"], model["version"], model["tasks"]) for model in short] == [
        ("fake", 1, ["embed", "ner", "classify", "fill-mask", "similarity", "multiple-choice"])
    ]
    assert full == same
    assert full["mask_token"] == "<mask>"
    assert full["versions"] == [1]
    assert [head["name"] for head in full["heads"]] == ["vector", "symptoms", "chapter", "words", "near", "one", "several"]
    near, one, several = full["heads"][4:]
    assert (near["score_range"], near["function"]) == ([0.0, 5.0], "sigmoid")
    assert (one["layout"], one["global_attention"], one["labels"]) == ("each", "choice", [])
    assert (several["layout"], several["labels"], several["thresholds"]) == ("joint", list("abcd"), {"a": 0.4, "b": 0.6})
    assert full["limits"]["max_tokens"] == MAX_TOKENS
    assert full["limits"]["max_answer_items"] == 200_000
    assert unknown.status_code == 404
    assert "Canari" not in unknown.text


async def test_the_service_is_ready_between_start_and_drain(tmp_path: Path) -> None:
    served = services.service(tmp_path)
    app = create_app(served)
    assert served.lifecycle.phase == "starting"
    async with services.client(served) as client:
        assert [(await client.get(path)).status_code for path in ("/livez", "/readyz", "/health")] == [200, 200, 200]
        served.lifecycle.drain()
        drained = [await client.get(path) for path in ("/livez", "/readyz", "/health")]
        answered = await client.post("/embed", json={"inputs": TEXT})
    assert [response.status_code for response in drained] == [200, 503, 503]
    assert drained[1].json()["detail"] == "the service is draining"
    assert "retry-after" in drained[1].headers
    assert (answered.status_code, answered.headers["connection"]) == (200, "close")
    assert app.title


@pytest.mark.parametrize(
    "path",
    [
        "/livez",
        "/readyz",
        "/health",
        "/models",
        "/models/fake",
        "/metrics",
        "/docs",
        "/redoc",
        "/docs/pages.css",
        "/openapi.json",
    ],
)
async def test_what_can_be_got_can_be_asked_for_its_head(path: str, tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path)) as client:
        got, head, posted = [await client.request(method, path) for method in ("GET", "HEAD", "POST")]
    assert (got.status_code, head.status_code, posted.status_code) == (200, 200, 405)
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.content == b""
    assert sorted(posted.headers["allow"].split(", ")) == ["GET", "HEAD"]


@pytest.mark.parametrize("path", TASKS)
async def test_a_task_has_no_head(path: str, tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path)) as client:
        response = await client.head(path)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def test_before_the_start_tasks_are_refused_as_not_ready(tmp_path: Path) -> None:
    import httpx

    transport = httpx.ASGITransport(create_app(services.service(tmp_path)))  # whose lifespan did not run
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        responses = [await client.post("/embed", json={"inputs": TEXT}), await client.get("/readyz")]
    assert [response.status_code for response in responses] == [503, 503]


@pytest.mark.parametrize(
    ("asked", "status"), [("0.05", 504), ("5", 200), ("100000", 200), ("1000000000", 200), ("9" * 400, 200)]
)
async def test_a_deadline_is_kept(asked: str, status: int, tmp_path: Path) -> None:
    served = services.service(tmp_path, engine=services.slow_engine(0.3))
    async with services.client(served) as client:
        response = await client.post("/embed", json={"inputs": TEXT}, headers={"X-Request-Timeout": asked})
    assert response.status_code == status
    if status == 504:
        assert f"the deadline of {asked} seconds" in response.json()["detail"]


async def test_without_a_wish_the_services_own_limit_holds(tmp_path: Path) -> None:
    served = services.service(tmp_path, engine=services.slow_engine(0.3), tree=services.settings(request_seconds=0.05))
    async with services.client(served) as client:
        response = await client.post("/embed", json={"inputs": TEXT})
    assert (response.status_code, response.json()["type"]) == (504, "/problems/deadline-exceeded")


async def test_every_request_is_counted_once_under_its_route(tmp_path: Path) -> None:
    served = services.service(tmp_path)
    async with services.client(served) as client:
        for _ in range(3):
            await client.post("/embed", json={"inputs": TEXT})
        await client.post("/embed", json={"inputs": ""})
        await client.post("/embed", content=b"{", headers={"Content-Type": "application/json"})
        await client.post("/embed", content=b"x" * 9_000_000, headers={"Content-Type": "application/json"})
        await client.get("/embed")
        await client.get("/models/fake")
        await client.get("/nowhere/at/all")
        scraped = (await client.get("/metrics")).text
    counted = services.samples(served, "http_requests_total")
    assert counted == {
        ("/embed", "POST", "200"): 3,
        ("/embed", "POST", "422"): 1,
        ("/embed", "POST", "400"): 1,
        ("/embed", "POST", "413"): 1,
        ("/embed", "GET", "405"): 1,
        ("/models/{name}", "GET", "200"): 1,
        ("other", "GET", "404"): 1,
        ("/metrics", "GET", "200"): 1,
    }
    durations = services.samples(served, "http_request_duration_seconds_count")
    assert durations == {("/embed",): 7, ("/models/{name}",): 1, ("other",): 1, ("/metrics",): 1}
    assert services.samples(served, "rejected_total") == {
        ("empty_text",): 1,
        ("malformed_body",): 1,
        ("body_too_large",): 1,
        ("method_not_allowed",): 1,
        ("not_found",): 1,
    }
    assert 'drlongformer_http_requests_total{method="POST",route="/embed",status="200"} 3.0' in scraped


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within 10 seconds")


async def test_a_request_that_is_given_up_frees_the_engine(tmp_path: Path) -> None:
    served = services.service(tmp_path, engine=services.slow_engine(30))
    async with services.client(served) as client:
        request = asyncio.create_task(client.post("/embed", json={"inputs": TEXT}))
        await until(lambda: services.samples(served, "inflight_documents")[()] == 1)
        request.cancel()
        await until(lambda: services.samples(served, "inflight_documents")[()] == 0)
    assert services.samples(served, "http_requests_total") == {("/embed", "POST", "503"): 1}


async def test_the_openapi_document_resolves_and_shows_true_examples(tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path)) as client:
        document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    references = {text.split('"')[0] for text in json.dumps(document).split('"#/components/schemas/')[1:]}
    assert references <= set(schemas)
    assert {"EmbedRequest", "NerAnswer", "Problem", "DocumentBody"} <= references
    for path in TASKS:
        operation = document["paths"][path]["post"]
        assert operation["requestBody"]["content"]["application/json"]["example"] == EXAMPLES[path].request
        assert "application/problem+json" in operation["responses"]["422"]["content"]


async def test_the_document_tells_the_limits_that_a_body_must_keep(tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path)) as client:
        schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    masks = schemas["FillMaskRequest"]["properties"]
    assert masks["top_k"]["maximum"] == 1000
    assert "at most 1000" in masks["top_k"]["description"]
    assert "leading space" in masks["top_k"]["description"]
    assert "256 characters" in schemas["DocumentBody"]["properties"]["id"]["description"]
    assert all(figure in masks["inputs"]["description"] for figure in ("256 characters", "32 levels", "100000 JSON values"))


def test_the_document_tells_of_every_route_and_of_no_other(tmp_path: Path) -> None:
    app = create_app(services.service(tmp_path))
    paths = set(app.openapi()["paths"])
    assert paths == {*TASKS, "/models", "/models/{name}", "/livez", "/readyz", "/health", "/usage", "/debug/slow", "/metrics"}
    assert all(isinstance(route.path, str) for route in app.routes if isinstance(route, APIRoute))


def test_the_whole_service_over_sockets_answers_stops_and_forgets_who_left(tmp_path: Path) -> None:
    served = services.service(tmp_path, engine=services.slow_engine(0.5))
    with running(create_app(served), settings=served.settings, lifecycle=served.lifecycle) as peer:
        sent = json.dumps({"inputs": TEXT}).encode()
        lines = [
            "POST /embed HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            f"Content-Length: {len(sent)}",
            "",
        ]
        head = "\r\n".join(lines).encode()
        with peer.connect() as leaver:
            leaver.sendall(head + b"\r\n" + sent)
            wait_until(lambda: services.samples(served, "inflight_documents").get(()) == 1)
        wait_until(lambda: services.samples(served, "inflight_documents")[()] == 0)
        answer = peer.exchange(head + b"Connection: close\r\n\r\n" + sent)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"embedding":' in answer
        assert b"\r\nserver:" not in answer.lower()
        wait_until(lambda: len(services.samples(served, "http_requests_total")) == 2)
    assert services.samples(served, "http_requests_total") == {("/embed", "POST", "499"): 1, ("/embed", "POST", "200"): 1}
    assert sum(services.samples(served, "cancelled_total").values()) == 1
    assert served.lifecycle.phase == "draining"
