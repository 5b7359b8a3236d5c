"""The tutorial: run from its first cell to its last against the model of the repository, served on loopback."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from drlongformer.api.app import build, create_app
from drlongformer.settings import Models, Server, Settings
from tests.api.serving import running

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "tutorial" / "search-and-classify.ipynb"
LARGEST_BYTES = 100_000
NUMBER = re.compile(r"\d+(?:\.\d+)?")
DECIMALS = 0.02
"""How far a printed score may be from the kept one: processors round differently, and a last decimal may turn."""


def cells_of_code() -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]


def printed(cells: list[nbformat.NotebookNode]) -> str:
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def test_the_notebook_is_kept_with_its_answers_and_is_small() -> None:
    cells = cells_of_code()
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {kind for cell in cells for output in cell.outputs for kind in output.get("data", {})}
    assert "image/png" in kinds
    assert [cell.metadata for cell in cells if cell.metadata] == []  # no clock times: CONTRIBUTING.md says how
    assert NOTEBOOK.stat().st_size < LARGEST_BYTES


def test_the_kept_answers_are_those_of_the_version_that_is_served() -> None:
    newest = max(int(folder.name) for folder in (ROOT / "model_store" / "drlongformer-mini").iterdir() if folder.name.isdigit())
    assert f"drlongformer-mini version {newest}\n" in printed(cells_of_code())


@pytest.mark.slow
def test_the_notebook_run_against_the_served_model_prints_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(models=Models(store=ROOT / "model_store", threads=1), server=Server(drain_seconds=0))
    service = build(settings)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    with running(create_app(service), settings=settings, lifecycle=service.lifecycle) as it:
        monkeypatch.setenv("SERVICE_URL", f"http://127.0.0.1:{it.port}")
        NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    kept, now = printed(cells_of_code()), printed(notebook.cells)
    assert "right: " in now
    assert NUMBER.sub("#", now) == NUMBER.sub("#", kept)
    assert [float(each) for each in NUMBER.findall(now)] == pytest.approx(
        [float(each) for each in NUMBER.findall(kept)], abs=DECIMALS
    )
