"""The OpenAPI document says where a key is asked for, exactly as the gate asks, and which refusals each route can give."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drlongformer.api import keys, refusals
from drlongformer.api.app import create_app
from drlongformer.api.gate import OPEN
from drlongformer.api.keys import KeyFile
from drlongformer.api.problems import MEDIA_TYPE, STATUS, named
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
