"""`/tei` with LlamaIndex's client, and with the bodies that TEI's own document knows."""

from __future__ import annotations

import importlib
from typing import Any

import httpx
import numpy as np
import pytest

from drlongformer import Client
from tests.api.compat.conftest import KEY, MAX_DOCUMENTS

TEXT = "Le patient a de la fièvre. Toux sèche."


def post(address: str, route: str, body: Any, **headers: str) -> Any:
    answer = httpx.post(f"{address}/tei/{route}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_llamaindex_gets_the_vectors_of_our_own_route(address: str, native: Client) -> None:
    module: Any = importlib.import_module("llama_index.embeddings.text_embeddings_inference")  # so, mypy need not read it
    embedder = module.TextEmbeddingsInference(model_name="fake", base_url=f"{address}/tei", embed_batch_size=3)
    found = embedder.get_text_embedding_batch([TEXT, "toux", "fièvre", "douleur"])
    assert np.allclose(found, native.embed([TEXT, "toux", "fièvre", "douleur"]).vectors, atol=1e-7)
    assert len(embedder.get_query_embedding("toux")) == len(found[0])


def test_the_body_that_llamaindex_sends_is_answered_with_vectors_and_nothing_is_cut(address: str, native: Client) -> None:
    long = " ".join(f"mot{index}" for index in range(100))
    found = post(address, "embed", {"inputs": [TEXT, long], "truncate": True})
    assert np.allclose(found, native.embed([TEXT, long]).vectors, atol=1e-7)
    assert np.allclose(
        post(address, "embed", {"inputs": TEXT, "normalize": False}), native.embed(TEXT, normalize=False).vectors
    )


def test_predictions_are_single_or_in_a_list_as_they_were_asked(address: str, native: Client) -> None:
    expected = [{"score": each.score, "label": each.label} for each in native.classify(TEXT).results[0].labels]
    assert post(address, "predict", {"inputs": TEXT}) == expected
    assert post(address, "predict", {"inputs": [TEXT]}) == expected
    assert post(address, "predict", {"inputs": [[TEXT], ["toux"]]})[0] == expected
    raw = post(address, "predict", {"inputs": TEXT, "raw_scores": True, "truncate": False})
    assert raw != expected
    assert {each["label"] for each in raw} == {each["label"] for each in expected}


@pytest.mark.parametrize("pair", [[TEXT, "toux"], [[TEXT, "toux"]]])
def test_pairs_are_refused_for_no_model_classifies_them(pair: Any, address: str) -> None:
    answer = httpx.post(f"{address}/tei/predict", json={"inputs": pair})
    assert answer.status_code == 422
    assert "pair" in answer.json()["error"]


def test_similarities_are_cosines(address: str, native: Client) -> None:
    found = post(
        address,
        "similarity",
        {"inputs": {"source_sentence": TEXT, "sentences": ["toux", TEXT]}, "parameters": {"truncate": True}},
    )
    vectors = native.embed([TEXT, "toux", TEXT]).vectors
    assert np.allclose(found, vectors[1:] @ vectors[0], atol=1e-5)


def test_tokens_are_told_with_the_specials_around_them_or_without(address: str, native: Client) -> None:
    [found] = post(address, "tokenize", {"inputs": TEXT})
    first, *content, last = found
    assert first["special"]
    assert last["special"]
    assert (first["start"], first["stop"]) == (None, None)
    expected = native.tokenize(TEXT).results[0].tokens or ()
    assert [(each["id"], each["start"], each["stop"]) for each in content] == [
        (each.id, each.start, each.end) for each in expected
    ]
    assert all(each["text"] == TEXT[each["start"] : each["stop"]] and not each["special"] for each in content)
    both = post(address, "tokenize", {"inputs": [TEXT, "toux"], "add_special_tokens": False})
    assert both[0] == content
    assert len(both) == 2


def test_the_info_names_the_model_and_its_limits(address: str, native: Client) -> None:
    info = httpx.get(f"{address}/tei/info").json()
    model = native.model("fake")
    assert (info["model_id"], info["model_sha"], info["max_input_length"]) == ("fake", model.sha256, model.max_tokens)
    assert (info["max_client_batch_size"], info["model_type"]) == (MAX_DOCUMENTS, {"embedding": {"pooling": "mean"}})


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"inputs": ""}, "Validation"),
        ({"inputs": ["a"] * 9}, "Validation"),
        ({"inputs": "a", "Canari": 1}, "Validation"),
        ({}, "Validation"),
    ],
)
def test_refusals_have_teis_form(body: Any, kind: str, address: str) -> None:
    answer = httpx.post(f"{address}/tei/embed", json=body)
    assert answer.status_code == 422
    assert (set(answer.json()), answer.json()["error_type"]) == ({"error", "error_type"}, kind)
    assert "Canari" not in answer.text


def test_keys_are_asked_for(guarded: str) -> None:
    assert httpx.post(f"{guarded}/tei/embed", json={"inputs": "a"}).json()["error_type"] == "Validation"
    assert httpx.get(f"{guarded}/tei/info").status_code == 401
    assert post(guarded, "embed", {"inputs": "toux"}, Authorization=f"Bearer {KEY}")


@pytest.mark.parametrize(("route", "inputs"), [("embed", "a"), ("similarity", {"source_sentence": "a", "sentences": ["b"]})])
def test_a_prompt_is_refused_for_no_model_here_has_one(route: str, inputs: Any, address: str) -> None:
    body = {"inputs": inputs} | ({"prompt_name": "query"} if route == "embed" else {"parameters": {"prompt_name": "query"}})
    answer = httpx.post(f"{address}/tei/{route}", json=body)
    assert answer.status_code == 422
    assert "the models here have no prompts" in answer.json()["error"]
    assert post(address, "embed", {"inputs": "a", "prompt_name": None})


@pytest.mark.parametrize("route", ["embed", "predict", "tokenize", "similarity"])
@pytest.mark.parametrize(
    ("field", "told"),
    [
        ({"truncate": "yes"}, "truncate: must be true or false"),
        ({"truncate": {"x": 1}}, "truncate: must be true or false"),
        ({"truncation_direction": "banana"}, "truncation_direction: must be 'left' or 'right'"),
        ({"truncation_direction": 3}, "truncation_direction: must be 'left' or 'right'"),
    ],
)
def test_a_cut_that_no_client_asks_for_is_refused_though_it_would_have_no_effect(
    route: str, field: dict[str, Any], told: str, address: str
) -> None:
    inputs: Any = {"source_sentence": "a", "sentences": ["b"]} if route == "similarity" else "a"
    body = {"inputs": inputs} | ({"parameters": field} if route == "similarity" else field)
    answer = httpx.post(f"{address}/tei/{route}", json=body)
    assert (answer.status_code, answer.json()["error"]) == (422, told)


def test_the_root_and_health_are_those_of_the_real_thing(address: str, guarded: str) -> None:
    body = {"inputs": [TEXT], "truncation_direction": "Left", "truncate": None}
    assert httpx.post(f"{address}/tei", json=body).json() == post(address, "embed", body)
    assert httpx.get(f"{guarded}/tei/health").status_code == 200
    assert httpx.post(f"{guarded}/tei", json=body).status_code == 401


def test_a_route_that_does_not_exist_is_told_with_those_that_do(address: str) -> None:
    for path, there, other in (("/tei/rerank", "/tei/embed", "/v1"), ("/v1/chat", "/v1/embeddings", "/tei"),
                               ("/hf", "/hf/{task}", "/tei"), ("/v2/x", "/v2/models/{name}/infer", "/tei")):  # fmt: skip
        answer = httpx.get(f"{address}{path}")
        assert answer.status_code == 404
        assert there in answer.text
        assert other not in answer.text
