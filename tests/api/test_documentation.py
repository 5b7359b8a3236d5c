"""The OpenAPI document says where a key is asked for, exactly as the gate asks."""

from __future__ import annotations

from pathlib import Path

from drlongformer.api import keys
from drlongformer.api.app import create_app
from drlongformer.api.gate import OPEN
from drlongformer.api.keys import KeyFile
from drlongformer.settings import Server, Settings
from tests.api import services
from tests.api.test_keys import key


def test_with_keys_the_document_asks_for_one_wherever_the_gate_does(tmp_path: Path) -> None:
    keys.write(tmp_path / "keys.json", KeyFile(keys=(key(),)))
    tree = Settings(server=Server(keys=tmp_path / "keys.json"))
    document = create_app(services.service(tmp_path / "store", tree=tree)).openapi()
    [scheme] = document["components"]["securitySchemes"].items()
    assert scheme[1]["scheme"] == "bearer"
    asked = {path for path, each in document["paths"].items() for one in each.values() if one["security"] == [{scheme[0]: []}]}
    assert asked == set(document["paths"]) - OPEN
    assert "/usage" in asked


def test_without_keys_the_document_asks_for_none(tmp_path: Path) -> None:
    document = create_app(services.service(tmp_path)).openapi()
    assert "securitySchemes" not in document["components"]
    assert not any("security" in one for each in document["paths"].values() for one in each.values())
