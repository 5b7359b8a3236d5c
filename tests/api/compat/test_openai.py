"""`/v1` with the `openai` SDK: equal vectors, its errors, its models."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import OpenAI

from drlongformer import Client
from drlongformer.api.routes import Service
from tests.api import services
from tests.api.compat.conftest import KEY, MAX_DOCUMENTS
from tests.api.serving import wait_until

TEXTS = ["Le patient a de la fièvre.", "Toux sèche."]


@pytest.fixture(scope="module")
def sdk(address: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_the_sdk_gets_the_vectors_of_our_own_route_in_both_encodings(sdk: OpenAI, native: Client) -> None:
    expected = native.embed(TEXTS)
    usual = sdk.embeddings.create(model="fake", input=TEXTS)
    plain = sdk.embeddings.create(model="fake", input=TEXTS, encoding_format="float")
    packed = sdk.embeddings.create(model="fake", input=TEXTS, encoding_format="base64")
    for answer in (usual, plain):
        assert [each.index for each in answer.data] == [0, 1]
        assert np.allclose([each.embedding for each in answer.data], expected.vectors, atol=1e-7)
        assert answer.model == "fake"
        assert answer.usage.prompt_tokens == answer.usage.total_tokens == expected.usage.tokens
    # What the caller asks for by name is not decoded by the SDK.
    assert np.array_equal(np.frombuffer(base64.b64decode(str(packed.data[0].embedding)), dtype="<f4"), expected.vectors[0])


def test_one_text_dimensions_a_user_and_our_own_fields_are_understood(sdk: OpenAI, native: Client) -> None:
    answer = sdk.embeddings.create(
        model="fake:1", input=TEXTS[0], dimensions=4, user="u", extra_body={"pooling": "cls", "priority": "bulk"}
    )
    assert np.allclose(answer.data[0].embedding, native.embed(TEXTS[0], dimensions=4, pooling="cls").vectors[0], atol=1e-7)


def test_more_texts_go_in_one_request_than_our_own_routes_take(sdk: OpenAI) -> None:
    assert MAX_DOCUMENTS < 40
    assert len(sdk.embeddings.create(model="fake", input=["toux"] * 40).data) == 40
    with pytest.raises(openai.UnprocessableEntityError, match="2049 texts, from 1 to 2048"):
        sdk.embeddings.create(model="fake", input=["toux"] * 2049)


@pytest.mark.parametrize("ids", [[1, 2, 3], [[1, 2], [3]]])
def test_token_ids_are_refused_with_what_to_set(sdk: OpenAI, ids: Any) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="check_embedding_ctx_length=False") as raised:
        sdk.embeddings.create(model="fake", input=ids)
    assert raised.value.param == "input"
    assert raised.value.type == "invalid_request_error"


def test_models_are_listed_and_found(sdk: OpenAI) -> None:
    assert [model.id for model in sdk.models.list()] == ["fake"]
    assert sdk.models.retrieve("fake").owned_by == "drlongformer"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("gpt")


def test_an_unknown_model_is_told_as_the_sdk_expects_it(sdk: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        sdk.embeddings.create(model="text-embedding-3-small", input="toux")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")
    assert "text-embedding" not in raised.value.message


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"input": ""}, 422),
        ({"input": [3.5]}, 422),
        ({"input": "a", "Canari": 1}, 422),
        ({}, 422),
        ([], 422),
        ({"input": []}, 422),
    ],
)
def test_a_bad_body_is_told_in_the_surfaces_form_and_never_quoted(address: str, body: Any, status: int) -> None:
    answer = httpx.post(f"{address}/v1/embeddings", json=body)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert "Canari" not in answer.text


def test_a_route_that_does_not_exist_is_told_in_the_same_form(address: str) -> None:
    answer = httpx.post(f"{address}/v1/chat/completions", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert httpx.get(f"{address}/v1/embeddings").status_code == 405


def test_keys_are_asked_for(guarded: str) -> None:
    with OpenAI(base_url=f"{guarded}/v1", api_key=KEY, max_retries=0) as sdk:
        assert sdk.embeddings.create(model="fake", input="toux").data
    with (
        OpenAI(base_url=f"{guarded}/v1", api_key="x", max_retries=0) as sdk,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        sdk.embeddings.create(model="fake", input="toux")
    assert raised.value.code == "invalid_api_key"


def test_requests_are_counted_under_their_route(sdk: OpenAI, served: Service) -> None:
    before = services.samples(served, "http_requests_total").get(("/v1/embeddings", "POST", "200"), 0)
    sdk.embeddings.create(model="fake", input="toux")
    wait_until(lambda: services.samples(served, "http_requests_total").get(("/v1/embeddings", "POST", "200")) == before + 1)


@pytest.mark.parametrize("field", [{"chunks": "sentences"}, {"on_error": "report"}, {"prompt_name": "query"}])
def test_what_the_form_has_no_place_for_is_refused_by_its_name(sdk: OpenAI, field: dict[str, str]) -> None:
    [name] = field
    with pytest.raises(openai.UnprocessableEntityError, match=f"{name}: "):
        sdk.embeddings.create(model="fake", input="toux", extra_body=field)
