"""`/v2` with `tritonclient.http`: bytes and JSON, every output, health, metadata and errors."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from drlongformer import Client
from drlongformer.api.compat.tensors import inference
from drlongformer.api.routes import Service
from drlongformer.errors import DrLongformerError
from drlongformer.serving.reading import finished
from tests.api import services
from tests.api.compat.conftest import KEY
from tests.api.serving import wait_until

TEXTS = ["Le patient a de la fièvre.", "Toux sèche. 👩"]


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    made = triton.InferenceServerClient(address.removeprefix("http://"))
    yield made
    made.close()


def tensor(texts: list[str], *, binary: bool, nested: bool = False) -> triton.InferInput:
    array = np.array([text.encode() for text in texts], dtype=np.object_)
    array = array[:, None] if nested else array
    made = triton.InferInput("text", list(array.shape), "BYTES")
    made.set_data_from_numpy(array, binary_data=binary)
    return made


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_vectors_are_those_of_our_own_route(binary: bool, nested: bool, client: Any, native: Client) -> None:
    wish = triton.InferRequestedOutput("embedding", binary_data=binary)
    answer = client.infer("fake", [tensor(TEXTS, binary=binary, nested=nested)], outputs=[wish], request_id="a1")
    expected = native.embed(TEXTS).vectors
    assert answer.as_numpy("embedding").dtype == np.float32
    assert np.allclose(answer.as_numpy("embedding"), expected, atol=1e-7)
    assert answer.get_response()["id"] == "a1"
    assert answer.get_response()["model_version"] == "1"


def test_without_a_wish_the_first_output_is_given_as_bytes(client: Any, native: Client) -> None:
    answer = client.infer("fake", [tensor(TEXTS, binary=True)], model_version="1")
    assert np.array_equal(answer.as_numpy("embedding"), native.embed(TEXTS).vectors)


@pytest.mark.parametrize("output", ["ner", "classify", "tokenize"])
@pytest.mark.parametrize("binary", [True, False])
def test_other_tasks_are_our_own_results_as_json(output: str, binary: bool, client: Any, address: str) -> None:
    wish = triton.InferRequestedOutput(output, binary_data=binary)
    found = client.infer("fake", [tensor(TEXTS, binary=True)], outputs=[wish]).as_numpy(output)
    own = httpx.post(f"{address}/{output}", json={"inputs": TEXTS}).json()["results"]
    assert [json.loads(each) for each in found] == own


def test_parameters_are_the_tasks_own_fields(client: Any) -> None:
    wish = triton.InferRequestedOutput("classify", binary_data=False)
    answer = client.infer(
        "fake", [tensor(TEXTS, binary=False)], outputs=[wish], parameters={"top_k": 1}, priority=2, timeout=60_000_000
    )
    assert [len(json.loads(each)["labels"]) for each in answer.as_numpy("classify")] == [1, 1]
    masks = triton.InferRequestedOutput("fill-mask", binary_data=True)
    found = client.infer("fake", [tensor(["Le <mask> tousse."], binary=True)], outputs=[masks], parameters={"top_k": 2})
    assert len(json.loads(found.as_numpy("fill-mask")[0])["masks"][0]["predictions"]) == 2


def test_health_and_metadata_are_told(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("fake")
    assert client.is_model_ready("fake", "1")
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("fake")
    assert metadata["versions"] == ["1"]
    assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert [each["name"] for each in metadata["outputs"]] == ["embedding", "ner", "classify", "fill-mask", "tokenize"]
    assert metadata["outputs"][0]["datatype"] == "FP32"


def test_refusals_reach_the_client_with_their_sentence(client: Any) -> None:
    for name, version, text in (("nobody", "", "a"), ("fake", "9", "a"), ("fake", "", "")):
        with pytest.raises(InferenceServerException) as raised:
            client.infer(name, [tensor([text], binary=True)], model_version=version)
        assert raised.value.status() in ("404", "422")
        assert raised.value.message()
    with pytest.raises(InferenceServerException, match="there are embedding"):
        client.infer("fake", [tensor(TEXTS, binary=True)], outputs=[triton.InferRequestedOutput("logits")])
    with pytest.raises(InferenceServerException, match="deadline"):
        client.infer("fake", [tensor(TEXTS, binary=True)], timeout=1)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("chunks", "sentences", "one vector for each document"),
        ("on_error", "report", "a vector for each document and no problem"),
        ("encoding", "base64", "told by its binary_data"),
    ],
)
def test_what_a_tensor_has_no_place_for_is_refused(name: str, value: str, told: str, client: Any) -> None:
    wish = triton.InferRequestedOutput("embedding", binary_data=True)
    with pytest.raises(triton.InferenceServerException, match=told):
        client.infer("fake", [tensor(TEXTS, binary=True)], outputs=[wish], parameters={name: value})


def test_a_packed_request_is_answered_in_gzip_and_refused_in_deflate(client: Any) -> None:
    sent = [tensor(TEXTS, binary=True)]
    packed = client.infer("fake", sent, request_compression_algorithm="gzip").as_numpy("embedding")
    assert np.array_equal(packed, client.infer("fake", sent).as_numpy("embedding"))
    with pytest.raises(InferenceServerException, match="with gzip alone") as raised:
        client.infer("fake", sent, request_compression_algorithm="deflate")
    assert raised.value.status() == "415"


def test_a_bad_text_is_reported_where_the_form_has_a_place_for_it_and_else_refused(client: Any) -> None:
    wish, sent = triton.InferRequestedOutput("ner"), [tensor(["toux", ""], binary=True)]
    good, bad = client.infer("fake", sent, outputs=[wish], parameters={"on_error": "report"}).as_numpy("ner")
    assert "entities" in json.loads(good)
    assert json.loads(bad)["error"]["status"] == 422
    with pytest.raises(InferenceServerException) as raised:
        client.infer("fake", sent, parameters={"on_error": "report"})
    assert raised.value.status() == "422"


def body(**changes: Any) -> bytes:
    part = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    return json.dumps({"inputs": [part | changes]}).encode()


@pytest.mark.parametrize(
    ("sent", "length", "told"),
    [
        (b"", None, "empty"),
        (b"{}", None, "inputs: Field required"),
        (b"[]", None, "the body"),
        (b'{"inputs": []}', None, "0 tensors"),
        (body(name="Canari"), None, "there must be one"),
        (body(datatype="FP32"), None, "datatype BYTES"),
        (body(shape=[2]), None, "shape"),
        (body(shape=[1, 2]), None, "shape"),
        (body(data=[3]), None, "strings alone"),
        (body(data=None), None, "shape"),
        (body(parameters={"binary_data_size": 3}), None, "binary_data_size"),
        (body(), "x", "Inference-Header-Content-Length"),
        (body(), "99999", "Inference-Header-Content-Length"),
        (b'{"inputs": "Canari"}', None, "inputs: Input should be a valid list"),
        (b'{"inputs": [{"name": "text", "datatype": "BYTES", "shape": "Canari"}]}', None, "inputs.0.shape"),
    ],
)
def test_a_body_that_breaks_the_protocol_is_told_and_never_quoted(sent: bytes, length: str | None, told: str) -> None:
    with pytest.raises(DrLongformerError, match=told) as raised:
        finished(inference(sent, length))
    assert "Canari" not in str(raised.value)


@pytest.mark.parametrize("rest", [b"\x09\x00\x00\x00abc", b"\x01\x00", b"\x02\x00\x00\x00\xff\xfe", b"\xff\xff\xff\xff"])
def test_bytes_that_are_no_elements_are_told_by_their_place(rest: bytes) -> None:
    header = json.dumps(
        {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(rest)}}]}
    ).encode()
    with pytest.raises(DrLongformerError, match="byte"):
        finished(inference(header + rest, str(len(header))))


def test_elements_are_read_back_as_they_were_packed() -> None:
    texts = ["", "é" * 70_000, "a\x00b"]
    rest = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)
    header = json.dumps(
        {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": len(rest)}}]}
    ).encode()
    assert finished(inference(header + rest, str(len(header)))).texts == tuple(texts)


def test_keys_are_asked_for_but_not_of_probes(guarded: str) -> None:
    client = triton.InferenceServerClient(guarded.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    with pytest.raises(InferenceServerException):
        client.infer("fake", [tensor(TEXTS, binary=True)])
    assert (
        client.infer("fake", [tensor(TEXTS, binary=True)], headers={"Authorization": f"Bearer {KEY}"})
        .as_numpy("embedding")
        .size
    )
    client.close()


def test_requests_are_counted_under_their_template(client: Any, served: Service) -> None:
    client.infer("fake", [tensor(TEXTS, binary=True)])
    wait_until(lambda: services.samples(served, "http_requests_total").get(("/v2/models/{name}/infer", "POST", "200"), 0) > 0)


@pytest.mark.parametrize(("priority", "lane"), [(0, "interactive"), (1, "interactive"), (2, "bulk"), (7, "bulk")])
def test_tritons_priority_is_a_lane(priority: int, lane: str, client: Any, served: Service) -> None:
    def counted() -> float:
        found = services.samples(served, "document_duration_seconds_count")
        return sum(value for labels, value in found.items() if lane in labels)

    before = counted()
    client.infer("fake", [tensor(["toux"], binary=True)], priority=priority)
    wait_until(lambda: counted() == before + 1)


@pytest.mark.parametrize(("name", "value"), [("priority", -1), ("priority", True), ("priority", "first"), ("timeout", True)])
def test_a_priority_or_a_time_that_the_protocol_does_not_know_is_refused(name: str, value: Any, address: str) -> None:
    part = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    answer = httpx.post(f"{address}/v2/models/fake/infer", json={"inputs": [part], "parameters": {name: value}})
    assert answer.status_code == 422
    assert name in answer.json()["error"]
