"""The served environment, for real: a fresh virtual environment with the `cpu` extra serves the embedded model, no torch."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from drlongformer.api import pages, playground

ROOT = Path(__file__).parents[1]
STORE = ROOT / "model_store"
UNREACHABLE = (
    "NewConnectionError",
    "Name or service not known",
    "Temporary failure in name resolution",
    "Network is unreachable",
)
NEVER_INSTALLED = ("torch", "transformers", "onnx", "onnxscript", "safetensors")
NEVER_IMPORTED = (*NEVER_INSTALLED, "huggingface_hub")  # tokenizers depends on the latter
NOT_INHERITED = ("PYTHON", "DRLONGFORMER_", "ORT_", "XDG_", "CI")  # ONNX Runtime does not report where it sees CI
START_SECONDS = 60.0


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the project and its `cpu` extra, installed from a copy of the sources."""
    folder = tmp_path_factory.mktemp("served")
    sources, venv = folder / "sources", folder / "venv"
    sources.mkdir()
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    shutil.copytree(ROOT / "service", sources / "service", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python"]
    install: list[str | Path] = ["install", "--quiet", "--constraint", sources / "constraints.txt", f"{sources}[cpu]"]
    installed = subprocess.run([*pip, *install], capture_output=True, text=True, check=False)
    if installed.returncode and any(sign in installed.stderr for sign in UNREACHABLE) and "CI" not in os.environ:
        pytest.skip("pip reaches no package index, so no fresh environment can be made")
    assert installed.returncode == 0, installed.stderr
    return venv


@contextmanager
def serving(environment: Path, log: Path, home: Path) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """The installed command serving the embedded model; every module it imports is named in the log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [environment / "bin" / "drlongformer", "serve", "--port", port, "--store", STORE],
            env=inherited | {"PYTHONPROFILEIMPORTTIME": "1", "HOME": str(home)},
            cwd=log.parent,
            stderr=stderr,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0) as client:
            wait_until_ready(client, process, log)
            yield client, process
    finally:
        process.kill()
        process.wait()


def wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when `/readyz` says so; fail when the process ends before."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
        try:
            if client.get("/readyz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(0.05)
    pytest.fail(f"not ready after {START_SECONDS} s")


def imported(log: Path) -> set[str]:
    """Top-level packages the process imported, from the lines `import time: self | cumulative | name`."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if line.startswith("import time:")}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_served_environment_answers_every_task_without_torch_and_reports_to_nobody(
    environment: Path, tmp_path: Path
) -> None:
    present = "import importlib.util, sys; print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name)))"
    found = subprocess.run(
        [environment / "bin" / "python", "-c", present, *NEVER_INSTALLED], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []

    log, home = tmp_path / "stderr.log", tmp_path / "home"
    home.mkdir()
    texts = {"fill-mask": "Le patient prend un <mask> par jour."}
    with serving(environment, log, home) as (client, process):
        for task in ("embed", "classify", "ner", "fill-mask"):
            answer = client.post(
                f"/{task}", json={"inputs": texts.get(task, "Patient de 62 ans, douleur thoracique depuis 3 jours.")}
            )
            assert answer.status_code == httpx.codes.OK, answer.text
            assert answer.json()["usage"]["documents"] == 1
        for shelf in (playground.SHELF, pages.SHELF):
            for name in shelf.names:
                assert client.get(f"{shelf.prefix}/{name}").content == (shelf.folder / name).read_bytes()
        for path in (playground.PAGE, pages.SWAGGER, pages.REDOC):
            assert client.get(path).headers["content-type"].startswith("text/html")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert {"onnxruntime", "tokenizers", "fastapi"} <= imported(log)
    assert not imported(log) & set(NEVER_IMPORTED)
    # ONNX Runtime's reports to its makers begin with an identifier in the home folder.
    assert list(home.rglob("*")) == []
