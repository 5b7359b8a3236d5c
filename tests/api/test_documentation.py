"""The OpenAPI document says where a key is asked for, exactly as the gate asks, which headers and refusals each route has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from drlongformer.api import keys, refusals
from drlongformer.api.app import create_app
from drlongformer.api.catalogue import ModelDetails, ModelList
from drlongformer.api.contract import contract
from drlongformer.api.examples import EXAMPLES
from drlongformer.api.gate import OPEN, UsageReport
from drlongformer.api.keys import KeyFile
from drlongformer.api.problems import MEDIA_TYPE, STATUS, named
from drlongformer.api.slow import SlowReport
from drlongformer.errors import Cancelled
from drlongformer.settings import Server, Settings
from tests.api import services
from tests.api.test_keys import key
from tests.api.wire import BAD


def open_document(folder: Path) -> dict[str, Any]:
    """The document of a service that asks nobody for a key."""
    return create_app(services.service(folder / "store")).openapi()


def keyed_document(folder: Path) -> dict[str, Any]:
    keys.write(folder / "keys.json", KeyFile(keys=(key(),)))
    tree = Settings(server=Server(keys=folder / "keys.json"))
    return create_app(services.service(folder / "keyed", tree=tree)).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, each in document["paths"].items():
        for operation in each.values():
            yield path, operation["responses"]


def test_with_keys_the_document_asks_for_one_wherever_the_gate_does(tmp_path: Path) -> None:
    document = keyed_document(tmp_path)
    [scheme] = document["components"]["securitySchemes"].items()
    assert scheme[1]["scheme"] == "bearer"
    asked = {path for path, each in document["paths"].items() for one in each.values() if one["security"] == [{scheme[0]: []}]}
    assert asked == set(document["paths"]) - OPEN
    assert "/usage" in asked


def test_without_keys_the_document_asks_for_none(tmp_path: Path) -> None:
    document = open_document(tmp_path)
    assert "securitySchemes" not in document["components"]
    assert not any("security" in one for each in document["paths"].values() for one in each.values())


def test_every_refusal_is_a_problem_and_tells_when_to_come_back_where_the_answer_does(tmp_path: Path) -> None:
    for document in (open_document(tmp_path), keyed_document(tmp_path)):
        assert "HTTPValidationError" not in document["components"]["schemas"]
        for path, responses in operations(document):
            assert path in refusals.ROUTES
            for status, shown in responses.items():
                if status != "200":
                    assert shown["content"] == {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
                assert ("Retry-After" in shown.get("headers", {})) == (status in ("429", "503"))


def test_the_documents_tell_of_every_error_a_caller_can_see_under_its_status(tmp_path: Path) -> None:
    told = {
        (kind, int(status))
        for document in (open_document(tmp_path), keyed_document(tmp_path))
        for _, responses in operations(document)
        for status, shown in responses.items()
        for kind in re.findall(r"^`([a-z-]+)`", shown["description"], re.MULTILINE)
    }
    table = {(named(error), status) for error, status in STATUS.items() if error is not Cancelled}
    assert told == table | {("unsupported-media-type", 415), ("internal-error", 500)}


def test_keys_are_refused_where_they_are_asked_for_and_foreign_pages_where_they_are_not(tmp_path: Path) -> None:
    assert all("421" in responses and "401" not in responses for _, responses in operations(open_document(tmp_path)))
    for path, responses in operations(keyed_document(tmp_path)):
        assert "421" not in responses
        assert {"401", "403"} <= set(responses) or path in OPEN
        assert "429" not in responses or "`quota`" in responses["429"]["description"]


def test_each_bad_request_made_by_hand_is_answered_as_its_route_says(tmp_path: Path) -> None:
    document = open_document(tmp_path)
    tried = [bad for bad in BAD if bad.method.lower() in document["paths"].get(bad.path, ())]
    assert {400, 404, 413, 415, 422} <= {bad.status for bad in tried}
    for bad in tried:
        assert str(bad.status) in document["paths"][bad.path][bad.method.lower()]["responses"], bad.name


def test_the_committed_document_is_what_the_service_says() -> None:
    committed = (Path(__file__).parents[2] / "docs" / "openapi.json").read_text(encoding="utf-8")
    assert committed == contract(), "the contract has changed: `make openapi` writes it, and the diff is to be looked at"


def test_every_answer_of_the_document_is_shown_by_an_example_that_its_model_reads(tmp_path: Path) -> None:
    document = open_document(tmp_path)
    models: dict[str, type[BaseModel]] = {
        "/models": ModelList,
        "/models/{name}": ModelDetails,
        "/usage": UsageReport,
        "/debug/slow": SlowReport,
    }
    for path, each in document["paths"].items():
        [operation] = each.values()
        [(media_type, shown)] = operation["responses"]["200"]["content"].items()
        assert shown["example"]
        assert shown["schema"] == {"type": "string"} if media_type == "text/plain" else "$ref" in shown["schema"]
        if path in models:
            models[path].model_validate_json(json.dumps(shown["example"]))
        if path in EXAMPLES:
            assert any(char in json.dumps(EXAMPLES[path].request, ensure_ascii=False) for char in "éèê") or path == "/fill-mask"
    assert {*models, *EXAMPLES, "/livez", "/readyz", "/health", "/metrics"} == set(document["paths"])


def test_headers_that_are_read_and_sent_are_told_of_every_route(tmp_path: Path) -> None:
    app = create_app(services.service(tmp_path / "store"))
    document = app.openapi()
    assert app.openapi() is document
    for path, each in document["paths"].items():
        [operation] = each.values()
        names = [one["$ref"].rpartition("/")[2] for one in operation["parameters"] if "$ref" in one]
        assert names == ["X-Request-Id", *(["X-Request-Timeout"] if path in EXAMPLES else []), "traceparent"]
        for answer in operation["responses"].values():
            assert {"X-Request-Id", "Server-Timing", "Cache-Control"} <= set(answer["headers"])
    assert all(each["example"] for each in document["components"]["parameters"].values())


@pytest.mark.parametrize("seconds", ["30", "0.5", "00.010", "1", "0", "0.0", "", "-1", "1e3", "5.", ".5", "x"])
async def test_the_limit_of_the_timeout_is_told_as_it_is_read(seconds: str, tmp_path: Path) -> None:
    document = open_document(tmp_path)
    pattern = document["components"]["parameters"]["X-Request-Timeout"]["schema"]["pattern"]
    async with services.client(services.service(tmp_path / "other")) as client:
        answer = await client.post("/tokenize", json={"inputs": "Toux."}, headers={"X-Request-Timeout": seconds})
    assert (answer.status_code != 422) == bool(re.fullmatch(pattern, seconds))
