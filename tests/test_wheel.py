"""The wheel, built from the sources: the page at `/` and the pages of the reference are in it, and are served out of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from drlongformer.api import pages, playground

ROOT = Path(__file__).parents[1]
SHELVES = (playground.SHELF, pages.SHELF)

BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"

SERVE = """
import json, sys
import drlongformer
from fastapi import FastAPI
from fastapi.testclient import TestClient
from drlongformer.api.pages import page_routes
from drlongformer.api.playground import playground_routes
app = FastAPI(docs_url=None, redoc_url=None)
app.include_router(playground_routes())
app.include_router(page_routes())
answers = {path: TestClient(app).get(path) for path in sys.argv[1:]}
told = {path: [answer.status_code, answer.text] for path, answer in answers.items()}
print(json.dumps({"from": drlongformer.__file__, "told": told}))
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel of the sources holds, unpacked as an installer does."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "service", folder / "service", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    subprocess.run([sys.executable, "-c", BUILD, folder / "dist"], cwd=folder, capture_output=True, check=True)
    [wheel] = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_an_installed_wheel_serves_the_page_and_the_reference_with_all_their_files(unpacked: Path) -> None:
    files = {
        f"{shelf.prefix}/{name}": (shelf.folder / name).read_text(encoding="utf-8") for shelf in SHELVES for name in shelf.names
    }
    documents = (playground.PAGE, pages.SWAGGER, pages.REDOC)
    path = os.pathsep.join([str(unpacked), *(each for each in sys.path if Path(each) != ROOT / "service")])
    ran = subprocess.run(
        [sys.executable, "-c", SERVE, *documents, *files],
        env=os.environ | {"PYTHONPATH": path},
        cwd=unpacked,
        capture_output=True,
        text=True,
        check=True,
    )
    served = json.loads(ran.stdout)
    assert Path(served["from"]).is_relative_to(unpacked)
    assert {name: text for name, (_, text) in served["told"].items() if name in files} == files
    assert {status for status, _ in served["told"].values()} == {200}
    for name in documents:
        linked = re.findall(r'(?:src|href)="((?:playground|docs)/[^"]+)"', served["told"][name][1])
        assert linked
        assert {f"/{each}" for each in linked} <= files.keys()
