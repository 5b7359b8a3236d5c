"""The Python of docs/clients.md, run as it stands against the model that comes with the repository, served on loopback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from drlongformer.api.app import build, create_app
from drlongformer.settings import Models, Server, Settings
from tests.api.serving import running

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:8000"
SNIPPETS = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs" / "clients.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    settings = Settings(models=Models(store=ROOT / "model_store", threads=1), server=Server(drain_seconds=0))
    service = build(settings)
    with running(create_app(service), settings=settings, lifecycle=service.lifecycle) as it:
        yield f"127.0.0.1:{it.port}"


def test_there_are_snippets_for_every_surface() -> None:
    together = "".join(SNIPPETS)
    assert all(prefix in together for prefix in ("Client(", "AsyncClient(", "/v1", "/hf/", "/tei/", "triton"))
    assert together.count(ADDRESS) >= len(SNIPPETS) == 7


@pytest.mark.slow
@pytest.mark.parametrize("place", range(len(SNIPPETS)))
def test_a_snippet_runs(place: int, address: str) -> None:
    source = SNIPPETS[place].replace(ADDRESS, address)
    exec(compile(source, f"docs/clients.md, snippet {place}", "exec"), {"__name__": "snippet"})
