"""`/hf/{task}` with `huggingface_hub.InferenceClient`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from drlongformer import Client
from drlongformer.api.routes import Service
from tests.api import services
from tests.api.compat.conftest import KEY
from tests.api.serving import wait_until

TEXT = "Le patient a de la fièvre. Toux sèche."


@pytest.fixture(scope="module")
def hub(address: str) -> Callable[[str], InferenceClient]:
    return lambda task: InferenceClient(model=f"{address}/hf/{task}", token="unused", timeout=30)


@pytest.mark.parametrize("task", ["ner", "token-classification"])
def test_entities_are_those_of_our_own_route(task: str, hub: Callable[[str], InferenceClient], native: Client) -> None:
    expected = native.ner(TEXT).results[0].entities
    found = hub(task).token_classification(TEXT)
    assert [(each.entity_group, each.start, each.end, each.word) for each in found] == [
        (each.label, each.start, each.end, each.text) for each in expected
    ]
    assert found
    plain = hub(task).token_classification(TEXT, aggregation_strategy="none")
    assert plain[0].entity
    assert hub(task).token_classification(TEXT, ignore_labels=["SYMPTOM"]) == []


def test_labels_come_best_first_within_one_list_for_each_text(hub: Callable[[str], InferenceClient], address: str) -> None:
    found = hub("classify").text_classification(TEXT, top_k=2, function_to_apply="sigmoid")
    assert len(found) == 2
    assert found[0].score >= found[1].score
    answer = httpx.post(f"{address}/hf/text-classification", json={"inputs": [TEXT, "toux"]}).json()
    assert [len(labels) for labels in answer] == [3, 3]


def test_masked_words_carry_the_sequence_and_several_masks_a_list_each(
    hub: Callable[[str], InferenceClient], address: str
) -> None:
    found = hub("fill-mask").fill_mask("Le <mask> tousse.", top_k=2)
    assert len(found) == 2
    assert found[0].sequence == f"Le {found[0].token_str.lstrip()} tousse."
    assert isinstance(found[0].token, int)
    several = httpx.post(
        f"{address}/hf/fill-mask", json={"inputs": "Le <mask> a une <mask>.", "parameters": {"top_k": 3}}
    ).json()
    assert [len(words) for words in several] == [3, 3]
    assert "<mask>" in several[0][0]["sequence"]


def test_features_are_the_vectors_of_our_own_route(hub: Callable[[str], InferenceClient], native: Client) -> None:
    assert np.allclose(hub("feature-extraction").feature_extraction(TEXT), native.embed(TEXT).vectors, atol=1e-7)
    raw = hub("embed").feature_extraction([TEXT, "toux"], normalize=False)  # type: ignore[arg-type]
    assert np.allclose(raw, native.embed([TEXT, "toux"], normalize=False).vectors, atol=1e-6)


@pytest.mark.parametrize(("direction", "side"), [("right", "head"), ("left", "tail")])
def test_a_long_text_is_cut_only_if_that_is_asked(
    direction: Any, side: Any, hub: Callable[[str], InferenceClient], native: Client
) -> None:
    long = " ".join(f"mot{index}" for index in range(100))
    whole = hub("embed").feature_extraction(long)
    cut = hub("embed").feature_extraction(long, truncate=True, truncation_direction=direction)
    assert np.allclose(whole, native.embed(long).vectors, atol=1e-7)
    assert np.allclose(cut, native.embed(long, overflow="truncate", truncate_side=side).vectors, atol=1e-7)
    assert not np.allclose(whole, cut)


def test_sentences_are_compared_by_the_cosine_of_their_embeddings(
    hub: Callable[[str], InferenceClient], native: Client
) -> None:
    sentences = ["Fièvre.", TEXT]
    found = hub("sentence-similarity").sentence_similarity(TEXT, sentences)
    vectors = native.embed([TEXT, *sentences]).vectors
    assert np.allclose(found, vectors[1:] @ vectors[0], atol=1e-5)
    assert found[1] == pytest.approx(1, abs=1e-5)


def test_refusals_reach_the_client_with_their_sentence(hub: Callable[[str], InferenceClient]) -> None:
    with pytest.raises(HfHubHTTPError, match="422") as raised:
        hub("ner").token_classification("")
    assert raised.value.response is not None
    assert raised.value.response.json() == {"error": raised.value.response.json()["error"]}
    with pytest.raises(HfHubHTTPError, match="there are ner") as raised:
        hub("summarization").token_classification(TEXT)


@pytest.mark.parametrize(
    "body",
    [{"inputs": TEXT, "parameters": {"stride": 3}}, {"inputs": TEXT, "parameters": []}, {"inputs": 3}, {"Canari": 1}, [], "x"],
)
def test_a_bad_body_is_refused_and_never_quoted(body: Any, address: str) -> None:
    answer = httpx.post(f"{address}/hf/ner", json=body)
    assert answer.status_code == 422
    assert list(answer.json()) == ["error"]
    assert "Canari" not in answer.text


def test_keys_are_asked_for_and_the_route_is_counted_by_its_template(
    guarded: str, hub: Callable[[str], InferenceClient], served: Service
) -> None:
    with pytest.raises(HfHubHTTPError, match="401"):
        InferenceClient(model=f"{guarded}/hf/ner", token="x").token_classification(TEXT)
    assert InferenceClient(model=f"{guarded}/hf/ner", token=KEY).token_classification(TEXT)
    hub("ner").token_classification(TEXT)
    wait_until(lambda: services.samples(served, "http_requests_total").get(("/hf/{task}", "POST", "200"), 0) > 0)


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ({"prompt_name": "query"}, "prompt_name: the models here have no prompts"),
        ({"truncation_direction": "left"}, "nothing is without truncate"),
        ({"truncate": False, "truncation_direction": "left"}, "nothing is without truncate"),
        ({"truncate": True, "truncation_direction": "Canari"}, "must be 'left' or 'right'"),
        ({"truncate": "yes"}, "truncate: must be true or false"),
        ({"chunks": "sentences"}, "chunks: the answer has one vector for each text here"),
        ({"on_error": "report"}, "on_error: the answer has no place"),
        ({"truncate_side": "tail"}, "nothing is cut without overflow"),
    ],
)
def test_what_would_have_no_effect_is_refused(field: dict[str, Any], told: str, address: str) -> None:
    answer = httpx.post(f"{address}/hf/embed", json={"inputs": TEXT, **field})
    assert answer.status_code == 422
    assert told in answer.json()["error"]
    assert "Canari" not in answer.text
    null = httpx.post(f"{address}/hf/embed", json={"inputs": TEXT, **dict.fromkeys(field)})
    assert null.status_code == 200, null.text


@pytest.mark.parametrize("where", ["root", "parameters"])
def test_our_own_fields_are_taken_beside_the_inputs_and_among_the_parameters(where: str, address: str) -> None:
    def ask(task: str, **fields: Any) -> httpx.Response:
        body = {"inputs": TEXT} | (fields if where == "root" else {"parameters": fields})
        return httpx.post(f"{address}/hf/{task}", json=body)

    head = httpx.get(f"{address}/models/fake").json()["heads"]
    [name] = [each["name"] for each in head if each["task"] == "ner"][:1]
    assert ask("ner", head=name, priority="bulk").status_code == 200
    assert ask("ner", head="nobody").status_code == 422
    assert ask("embed", normalize=False, priority="bulk").status_code == 200


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"options": {"zzz": 1}}, "options: holds an unknown field; known are use_cache"),
        ({"options": {"use_cache": "no"}}, "options: use_cache must be true or false"),
        ({"options": 3}, "options: must be an object"),
        ({"parameters": {"zzz": 1}}, "parameters: holds an unknown field; known are"),
        ({"head": "a", "parameters": {"head": "b"}}, "parameters: head stands beside inputs, too"),
        ({"truncate": "yes"}, "truncate: must be true or false"),
        ({"truncation_direction": "banana", "truncate": True}, "truncation_direction: must be 'left' or 'right'"),
    ],
)
def test_what_no_client_of_the_hub_sends_is_refused_in_its_place(body: Any, told: str, address: str) -> None:
    task = "embed" if "truncate" in body else "ner"
    answer = httpx.post(f"{address}/hf/{task}", json={"inputs": TEXT, **body})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(told)
    assert "zzz" not in answer.text
    fine = httpx.post(f"{address}/hf/{task}", json={"inputs": TEXT, "options": {"wait_for_model": True, "use_cache": None}})
    assert fine.status_code == 200
