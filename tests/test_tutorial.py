"""The tutorial: run from its first cell to its last against the model of the repository, served on loopback."""

from __future__ import annotations

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


def cells_of_code() -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]


def test_the_notebook_is_kept_with_its_answers_and_is_small() -> None:
    cells = cells_of_code()
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {kind for cell in cells for output in cell.outputs for kind in output.get("data", {})}
    assert "image/png" in kinds
    assert NOTEBOOK.stat().st_size < LARGEST_BYTES


@pytest.mark.slow
def test_the_notebook_runs_against_a_served_model(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(models=Models(store=ROOT / "model_store", threads=1), server=Server(drain_seconds=0))
    service = build(settings)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    with running(create_app(service), settings=settings, lifecycle=service.lifecycle) as it:
        monkeypatch.setenv("SERVICE_URL", f"http://127.0.0.1:{it.port}")
        NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "drlongformer-mini" in printed
    assert "right: " in printed
