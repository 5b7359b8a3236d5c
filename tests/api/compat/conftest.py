"""One served model for the clients of all surfaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drlongformer import Client
from drlongformer.api import keys
from drlongformer.api.keys import KeyFile
from drlongformer.api.routes import Service
from drlongformer.settings import Limits, Server, Settings
from tests.api.test_keys import bearer, key
from tests.client.served import serving

MAX_DOCUMENTS = 4
KEY = bearer("infer111").decode().removeprefix("Bearer ")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Service]]:
    with serving(tmp_path_factory.mktemp("served"), tree=Settings(limits=Limits(max_documents=MAX_DOCUMENTS))) as it:
        yield it


@pytest.fixture(scope="module")
def address(running: tuple[str, Service]) -> str:
    return running[0]


@pytest.fixture(scope="module")
def served(running: tuple[str, Service]) -> Service:
    return running[1]


@pytest.fixture(scope="module")
def native(address: str) -> Iterator[Client]:
    """Our own routes, to compare with."""
    with Client(address) as client:
        yield client


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that asks for a key."""
    folder = tmp_path_factory.mktemp("guarded")
    path: Path = folder / "keys.json"
    keys.write(path, KeyFile(keys=(key("infer111", scopes=("infer",)), key("metric11", scopes=("metrics",)))))
    with serving(folder / "store", tree=Settings(server=Server(keys=path))) as (url, _):
        yield url
