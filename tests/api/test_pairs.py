"""`/similarity` and `/multiple-choice` over a fake engine: forms of inputs, heads, options, limits, counts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

from drlongformer.api.routes import Service
from tests.api import services
from tests.api.bundles import MAX_TOKENS
from tests.serving.bundles import HEADS
from tests.text import tiny

TEXT = "Le patient a de la fièvre."
OTHER = "Toux sèche."
LONG = " ".join(["fièvre"] * 300)
QUESTION: dict[str, Any] = {"question": "Que donner ?", "options": {"a": "du paracétamol", "b": "rien", "c": "un plâtre"}}
SEVERAL_TEXTS = [TEXT, OTHER, f"{OTHER} {TEXT}"]


def tokens(text: str) -> int:
    return len(tiny.tokenizer("bytes").encode_batch([text])[0])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pairing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A model with every head."""
    async with services.client(services.service(tmp_path_factory.mktemp("store"))) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def embedding(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A model without heads for pairs."""
    async with services.client(services.service(tmp_path_factory.mktemp("store"), heads=HEADS[:4])) as client:
        yield client


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def results(client: httpx.AsyncClient, path: str, body: Any) -> list[dict[str, Any]]:
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["results"]
    return found


async def problem(client: httpx.AsyncClient, path: str, body: Any) -> tuple[int, str, list[Any]]:
    response = await client.post(path, json=body)
    told = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, told["detail"], [error["loc"] for error in told.get("errors", ())]


# Similarity


async def test_one_source_is_compared_with_every_sentence(pairing: httpx.AsyncClient) -> None:
    by_source = await results(pairing, "/similarity", {"inputs": {"source": TEXT, "sentences": SEVERAL_TEXTS}})
    by_pair = await results(pairing, "/similarity", {"inputs": [[TEXT, other] for other in SEVERAL_TEXTS]})
    assert by_source == by_pair
    assert [each["index"] for each in by_source] == [0, 1, 2]
    assert all(each["method"] == "head" and 0 <= each["score"] <= 5 for each in by_source)
    assert by_source[1]["tokens"] == tokens(TEXT) + tokens(OTHER) + 4
    assert len({each["score"] for each in by_source}) == 3


async def test_pairs_carry_their_names(pairing: httpx.AsyncClient) -> None:
    body = {"inputs": [{"id": "p", "text1": TEXT, "text2": OTHER}, [OTHER, TEXT]]}
    named, plain = await results(pairing, "/similarity", body)
    assert (named["id"], "id" in plain) == ("p", False)


async def test_without_a_head_for_pairs_the_score_is_the_cosine_of_the_embeddings(embedding: httpx.AsyncClient) -> None:
    found = await results(embedding, "/similarity", {"inputs": {"source": TEXT, "sentences": SEVERAL_TEXTS}})
    vectors = await results(embedding, "/embed", {"inputs": [TEXT, *SEVERAL_TEXTS]})
    source, *others = (np.array(each["embedding"]) for each in vectors)
    np.testing.assert_allclose([each["score"] for each in found], [source @ other for other in others], atol=1e-6)
    assert {each["method"] for each in found} == {"cosine"}
    assert found[0]["score"] == pytest.approx(1)
    assert {each["windows"] for each in found} == {2}
    assert [each["tokens"] for each in found] == [vectors[0]["tokens"] + each["tokens"] for each in vectors[1:]]


async def test_an_embedding_head_can_be_asked_where_there_is_one_for_pairs(
    pairing: httpx.AsyncClient, embedding: httpx.AsyncClient
) -> None:
    inputs = [[TEXT, OTHER]]
    [by_head] = await results(pairing, "/similarity", {"inputs": inputs, "head": "near"})
    [by_cosine] = await results(pairing, "/similarity", {"inputs": inputs, "head": "vector"})
    assert (by_head["method"], by_cosine["method"]) == ("head", "cosine")
    assert [by_cosine] == await results(embedding, "/similarity", {"inputs": inputs})
    status, detail, [loc] = await problem(pairing, "/similarity", {"inputs": inputs, "head": "chapter"})
    assert (status, loc) == (422, ["head"])
    assert "'near', 'vector'" in detail


async def test_each_distinct_text_is_computed_once(tmp_path: Path) -> None:
    engine = services.slow_engine(0)
    served = services.service(tmp_path, engine=engine, heads=HEADS[:4])
    async with services.client(served) as client:
        response = await client.post("/similarity", json={"inputs": {"source": TEXT, "sentences": [*SEVERAL_TEXTS, OTHER]}})
    assert sum(len(batch.shares) for batch in engine.batches) == 3
    body = response.json()
    assert len(body["results"]) == body["usage"]["documents"] == 4
    assert body["usage"]["tokens"] == sum(tokens(text) + 2 for text in SEVERAL_TEXTS)
    assert services.samples(served, "document_tokens_count") == {("similarity",): 4}
    assert services.samples(served, "document_tokens_sum") == {("similarity",): body["usage"]["tokens"]}
    assert services.samples(served, "inflight_documents") == {(): 0}


async def test_a_pair_too_long_for_one_window_is_refused_with_figures_or_cut(pairing: httpx.AsyncClient) -> None:
    body = {"inputs": [[TEXT, OTHER], [TEXT, LONG]]}
    status, detail, [loc] = await problem(pairing, "/similarity", body)
    assert (status, loc) == (413, ["inputs", 1])
    assert f"pair 1 has {tokens(TEXT) + tokens(LONG) + 4} tokens, the limit is {MAX_TOKENS}" in detail
    short, cut = await results(pairing, "/similarity", body | {"overflow": "truncate"})
    assert (short["truncated"], cut["truncated"]) == (False, True)
    told = await results(pairing, "/similarity", body | {"on_error": "report"})
    assert told[0] == short
    assert (told[1]["error"]["status"], sorted(told[1])) == (413, ["error", "index"])


@pytest.mark.parametrize("heads", ["pairing", "embedding"])
async def test_a_pair_that_is_none_is_reported_in_its_place(heads: str, request: pytest.FixtureRequest) -> None:
    client: httpx.AsyncClient = request.getfixturevalue(heads)
    pairs: list[Any] = [[TEXT, OTHER], [TEXT, None], {"text1": TEXT, "id": "x"}, ["", ""]]
    good, null, half, empty = await results(client, "/similarity", {"inputs": pairs, "on_error": "report"})
    assert "score" in good
    assert [each["error"]["type"] for each in (null, half, empty)] == [
        "/problems/invalid-request",
        "/problems/invalid-request",
        "/problems/empty-text",
    ]
    assert half["id"] == "x"
    only = await results(client, "/similarity", {"inputs": [None], "on_error": "report"})
    assert [sorted(each) for each in only] == [["error", "index"]]


@pytest.mark.parametrize("heads", ["pairing", "embedding"])
async def test_a_sentence_that_is_none_is_reported_in_its_place(heads: str, request: pytest.FixtureRequest) -> None:
    client: httpx.AsyncClient = request.getfixturevalue(heads)
    inputs = {"source": TEXT, "sentences": [OTHER, None, "", 3]}
    good, null, empty, number = await results(client, "/similarity", {"inputs": inputs, "on_error": "report"})
    assert good == (await results(client, "/similarity", {"inputs": {"source": TEXT, "sentences": [OTHER]}}))[0]
    assert empty["error"]["type"] == "/problems/empty-text"
    for index, each in ((1, null), (3, number)):
        assert each["error"]["errors"] == [{"loc": ["inputs", "sentences", index], "msg": "must be a string"}]
    for refused in ({"source": None, "sentences": [OTHER]}, {"source": TEXT, "sentences": None}):
        assert (await problem(client, "/similarity", {"inputs": refused, "on_error": "report"}))[0] == 422


async def test_a_question_that_is_none_is_reported_in_its_place(pairing: httpx.AsyncClient) -> None:
    asked = [QUESTION, {"question": "Que donner ?", "options": {"a": "rien"}}, QUESTION | {"context": 3}]
    good, *bad = await results(pairing, "/multiple-choice", {"inputs": asked, "on_error": "report"})
    assert good["answer"]
    assert [each["error"]["errors"][0]["loc"] for each in bad] == [["inputs", 1, "options"], ["inputs", 2, "context"]]


async def test_a_text_too_long_for_one_window_is_refused_by_cosine_too_or_cut(embedding: httpx.AsyncClient) -> None:
    body = {"inputs": [[TEXT, OTHER], [TEXT, LONG]]}
    told = f"the second text of pair 1 has {tokens(LONG) + 2} tokens, the limit is {MAX_TOKENS}"
    assert await problem(embedding, "/similarity", body) == (413, told, [["inputs", 1]])
    assert (await problem(embedding, "/similarity", body | {"overflow": "refuse"}))[0] == 413
    short, cut = await results(embedding, "/similarity", body | {"overflow": "truncate"})
    assert (short["truncated"], cut["truncated"], cut["windows"]) == (False, True, 2)
    found = await results(embedding, "/similarity", body | {"on_error": "report"})
    assert (found[0], found[1]["error"]["status"]) == (short, 413)


async def test_texts_of_a_refused_pair_count_with_the_first_that_is_answered(tmp_path: Path) -> None:
    served = services.service(tmp_path, heads=HEADS[:4])
    async with services.client(served) as client:
        inputs = [[TEXT, ""], [TEXT, OTHER], [OTHER, TEXT], [OTHER, OTHER]]
        response = await client.post("/similarity", json={"inputs": inputs, "on_error": "report"})
    once = tokens(TEXT) + tokens(OTHER) + 4
    assert response.json()["usage"] == {"documents": 3, "tokens": once}
    assert services.samples(served, "document_tokens_sum") == {("similarity",): once}


@pytest.mark.parametrize(
    ("inputs", "loc", "whose"),
    [
        ({"source": " \n", "sentences": [TEXT]}, ["inputs", "source"], "the source"),
        ({"source": TEXT, "sentences": [OTHER, ""]}, ["inputs", "sentences", 1], "sentence 1"),
        ([[TEXT, OTHER], [TEXT, "\u200b"]], ["inputs", 1], "the second text of pair 1"),
    ],
)
async def test_a_text_without_anything_is_named_by_its_place(
    inputs: Any, loc: list[Any], whose: str, pairing: httpx.AsyncClient, embedding: httpx.AsyncClient
) -> None:
    for client in (pairing, embedding):
        assert await problem(client, "/similarity", {"inputs": inputs}) == (422, f"{whose} has no visible character", [loc])


async def test_a_text_without_anything_is_reported_in_the_pairs_it_stands_in(embedding: httpx.AsyncClient) -> None:
    body = {"inputs": [[TEXT, ""], [TEXT, OTHER], ["", OTHER]], "on_error": "report"}
    response = await embedding.post("/similarity", json=body)
    first, good, third = response.json()["results"]
    assert [sorted(each) for each in (first, third)] == [["error", "index"]] * 2
    assert response.json()["usage"] == {"documents": 1, "tokens": good["tokens"]}


# Multiple choice


async def test_one_option_is_right_and_all_are_told_in_the_order_asked(pairing: httpx.AsyncClient) -> None:
    [found] = await results(pairing, "/multiple-choice", {"inputs": QUESTION})
    assert [each["option"] for each in found["choices"]] == ["a", "b", "c"]
    scores = {each["option"]: each["score"] for each in found["choices"]}
    assert sum(scores.values()) == pytest.approx(1)
    assert found["answer"] == [max(scores, key=lambda name: scores[name])]
    assert found["windows"] == 3
    assert found["tokens"] == sum(map(tokens, (QUESTION["question"], *QUESTION["options"].values()))) + 4


async def test_an_option_is_answered_the_same_whatever_its_name_and_place(pairing: httpx.AsyncClient) -> None:
    options = QUESTION["options"]
    turned = {"oui": options["c"], "non": options["a"], "peut-être": options["b"]}
    [found] = await results(pairing, "/multiple-choice", {"inputs": QUESTION})
    [other] = await results(pairing, "/multiple-choice", {"inputs": [QUESTION | {"options": turned, "id": "q"}]})
    assert {options[each["option"]]: each["score"] for each in found["choices"]} == pytest.approx(
        {turned[each["option"]]: each["score"] for each in other["choices"]}
    )
    assert options[found["answer"][0]] == turned[other["answer"][0]]
    assert other["id"] == "q"


async def test_several_right_options_are_told_by_the_head_that_can(pairing: httpx.AsyncClient) -> None:
    asked = {"inputs": QUESTION, "multiple": True}
    [found] = await results(pairing, "/multiple-choice", asked)
    [named] = await results(pairing, "/multiple-choice", asked | {"head": "several"})
    assert found == named
    assert found["windows"] == 1  # all options are read together
    floors = {"a": 0.4, "b": 0.6, "c": 0.5}
    right = [each["option"] for each in found["choices"] if each["score"] >= floors[each["option"]]]
    best = max(found["choices"], key=lambda each: each["score"])["option"]
    assert found["answer"] == (right or [best])
    status, detail, [loc] = await problem(pairing, "/multiple-choice", asked | {"head": "one"})
    assert (status, loc) == (422, ["multiple"])
    assert "one right answer" in detail


async def test_a_joint_head_has_as_many_options_as_letters(pairing: httpx.AsyncClient) -> None:
    asked = {"inputs": [QUESTION | {"options": {str(i): f"option {i}" for i in range(4)}}], "head": "several"}
    [found] = await results(pairing, "/multiple-choice", asked)
    assert [each["option"] for each in found["choices"]] == ["0", "1", "2", "3"]
    too_many = {"inputs": [QUESTION | {"options": {str(i): f"option {i}" for i in range(5)}}], "head": "several"}
    status, detail, [loc] = await problem(pairing, "/multiple-choice", too_many)
    assert (status, detail, loc) == (422, "5 options, this head has letters for 4", ["inputs", 0])


@pytest.mark.parametrize("head", ["one", "several"])
async def test_a_long_context_is_read_in_windows_refused_or_cut_as_asked(head: str, pairing: httpx.AsyncClient) -> None:
    asked = {"inputs": QUESTION | {"context": " ".join(["fièvre"] * 60)}, "head": head}
    [windows] = await results(pairing, "/multiple-choice", asked)
    [cut] = await results(pairing, "/multiple-choice", asked | {"overflow": "truncate"})
    status, detail, _ = await problem(pairing, "/multiple-choice", asked | {"overflow": "refuse"})
    assert windows["windows"] > cut["windows"] == (3 if head == "one" else 1)
    assert (windows["truncated"], cut["truncated"]) == (False, True)
    assert windows["tokens"] == cut["tokens"]
    assert status == 413
    assert f"the limit is {MAX_TOKENS}" in detail


@pytest.mark.parametrize("context", [None, "Fièvre."])
async def test_a_question_too_long_even_without_its_context_is_refused_with_figures(
    context: str | None, pairing: httpx.AsyncClient
) -> None:
    asked = {"inputs": QUESTION | {"question": LONG, "context": context}, "overflow": "truncate"}
    status, detail, [loc] = await problem(pairing, "/multiple-choice", asked)
    assert (status, loc) == (413, ["inputs"])
    assert "question 0 has" in detail
    assert ("without its context" in detail) == (context is not None)


async def test_contexts_are_bounded_in_windows_over_all_options(tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path, tree=services.settings(max_windows=10))) as client:
        status, detail, _ = await problem(client, "/multiple-choice", {"inputs": QUESTION | {"context": LONG}})
    assert status == 413
    assert "for each of 3 options), the limit is 10" in detail


async def test_texts_are_bounded_in_characters_all_together(tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path, tree=services.settings(max_characters=50))) as client:
        status, detail, _ = await problem(client, "/multiple-choice", {"inputs": QUESTION | {"context": "x" * 40}})
    assert (status, detail) == (413, "question 0 has 79 characters, the limit is 50")


async def test_a_question_or_option_without_anything_is_named_by_its_place(pairing: httpx.AsyncClient) -> None:
    options = QUESTION["options"] | {"b": " "}
    assert await problem(pairing, "/multiple-choice", {"inputs": QUESTION | {"options": options}}) == (
        422,
        "option 1 of question 0 has no visible character",
        [["inputs", "options", 1]],
    )
    assert await problem(pairing, "/multiple-choice", {"inputs": [QUESTION, QUESTION | {"question": "\n"}]}) == (
        422,
        "question 1 has no visible character",
        [["inputs", 1, "question"]],
    )


async def test_a_model_without_heads_for_questions_says_what_it_has(embedding: httpx.AsyncClient) -> None:
    status, detail, _ = await problem(embedding, "/multiple-choice", {"inputs": QUESTION})
    assert status == 422
    assert "'multiple-choice'" in detail


# Both


@pytest.mark.parametrize(("path", "inputs"), [("/similarity", [[TEXT, OTHER]]), ("/multiple-choice", QUESTION)])
async def test_headers_and_figures_are_those_of_every_task(path: str, inputs: Any, tmp_path: Path) -> None:
    served: Service = services.service(tmp_path)
    body = {"inputs": inputs, "model": "fake:1", "priority": "bulk", "overflow": "windows", "offsets": "utf16"}
    async with services.client(served) as client:
        response = await client.post(path, json=body, headers={"X-Request-Id": "mine", "X-Request-Timeout": "20"})
    assert response.status_code == 200, response.text
    assert response.headers["x-request-id"] == "mine"
    assert all(f"{stage};dur=" in response.headers["server-timing"] for stage in ("tokenize", "queue", "compute", "total"))
    assert services.samples(served, "document_tokens_count") == {(path[1:],): 1}
    assert services.samples(served, "http_requests_total") == {(path, "POST", "200"): 1}
    [labels] = services.samples(served, "document_duration_seconds_count")
    assert labels == (path[1:], "le512", "bulk", "fake", "1")


@pytest.mark.parametrize("path", ["/similarity", "/multiple-choice"])
async def test_a_deadline_holds_for_every_task(path: str, tmp_path: Path) -> None:
    served = services.service(tmp_path, engine=services.slow_engine(5))
    inputs: Any = [[TEXT, OTHER]] if path == "/similarity" else QUESTION
    async with services.client(served) as client:
        response = await client.post(path, json={"inputs": inputs}, headers={"X-Request-Timeout": "0.2"})
    assert response.status_code == 504
    assert services.samples(served, "inflight_documents") == {(): 0}


async def test_the_document_shows_every_form_of_the_inputs(pairing: httpx.AsyncClient) -> None:
    schemas = (await pairing.get("/openapi.json")).json()["components"]["schemas"]
    assert {"SourceBody", "PairBody", "QuestionBody", "SimilarityRequest", "MultipleChoiceAnswer"} <= set(schemas)
    options = schemas["QuestionBody"]["properties"]["options"]
    assert (options["minProperties"], options["maxProperties"]) == (2, 26)
    assert "OptionBody" not in json.dumps(schemas)
