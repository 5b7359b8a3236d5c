"""The code of the pages below, run as it stands against the model of the repository, served on loopback."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.api.serving import embedded

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:8000"
PAGES = ("api.md", "clients.md", "quickstart.md", "how-it-works.md", "faq.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A block of code of a page."""

    page: str
    place: int
    language: str
    source: str

    @property
    def name(self) -> str:
        return f"{self.page}-{self.place}-{self.language}"


def snippets(page: str) -> Iterator[Snippet]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for place, (language, source) in enumerate(re.findall(r"^```(python|bash|r)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)):
        yield Snippet(page=page, place=place, language=language, source=source)


SNIPPETS = [snippet for page in PAGES for snippet in snippets(page)]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with embedded() as it:
        yield f"127.0.0.1:{it.port}"


def test_there_are_snippets_for_every_surface() -> None:
    clients = ("Client(", "/v1", "/hf/", "/tei", "triton")
    for page, more in (("api.md", ("curl", "httr2", "edsnlp", "llama_index")), ("clients.md", ("AsyncClient(", "httr2"))):
        together = "".join(snippet.source for snippet in snippets(page))
        assert [each for each in (*clients, *more) if each not in together] == []
        assert together.count(ADDRESS) >= len(list(snippets(page))) >= 8


def run_python(source: str, name: str) -> None:
    with contextlib.chdir(ROOT):
        exec(compile(source, name, "exec"), {"__name__": "snippet"})


def run_bash(source: str, _name: str) -> None:
    if not shutil.which("curl"):
        pytest.skip("no curl (Debian package curl)")
    subprocess.run(["bash", "-euo", "pipefail", "-c", source], check=True, timeout=120)


def run_r(source: str, _name: str) -> None:
    if not shutil.which("Rscript") or subprocess.run(["Rscript", "-e", "library(httr2)"], check=False).returncode:
        pytest.skip("no R with httr2 (Debian packages r-base-core and r-cran-httr2)")
    environment = {**os.environ, "DRLONGFORMER_KEY": "unused", "LC_ALL": "C.UTF-8"}
    subprocess.run(["Rscript", "-"], input=source.encode(), env=environment, check=True, timeout=120)


RUN = {"python": run_python, "bash": run_bash, "r": run_r}


@pytest.mark.slow
@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.name)
def test_a_snippet_runs(snippet: Snippet, address: str) -> None:
    RUN[snippet.language](snippet.source.replace(ADDRESS, address), f"docs/{snippet.page}, snippet {snippet.place}")
