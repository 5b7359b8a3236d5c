"""The documentation as a site: built strictly, complete, and alone with its own files, search included."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from mkdocs.config import load_config

from docs import hooks

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CHROMIUM = shutil.which("chromium")
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
"""What a browser fetches by itself, by element and attribute."""


class Fetched(HTMLParser):
    """Collects the addresses that a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if LOADED.get(tag) == name]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(target)]
    built = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "true"},
        check=False,
        timeout=240,
        text=True,
        capture_output=True,
    )
    assert built.returncode == 0, built.stderr
    return target


@pytest.mark.slow
def test_every_page_is_in_the_site_and_a_browser_fetches_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(page.relative_to(site).with_suffix("").as_posix() for page in site.rglob("*.html"))
    wanted = {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md")}
    assert wanted | {"tutorial/search-and-classify"} <= set(pages)
    addresses = []
    for page in site.rglob("*.html"):
        parser = Fetched()
        parser.feed(page.read_text(encoding="utf-8"))
        addresses += parser.addresses
    assert any(address.endswith("iframe-worker.js") for address in addresses)
    addresses += [
        address for sheet in site.rglob("*.css") for address in re.findall(r"url\([\"']?([^)\"']+)", sheet.read_text())
    ]
    assert [address for address in addresses if re.match(r"(?!data:)(?:[a-z]+:)?//", address)] == []


@pytest.mark.slow
def test_the_notebook_is_a_page_with_its_answers_and_its_picture(site: Path) -> None:
    page = (site / "tutorial" / "search-and-classify.html").read_text(encoding="utf-8")
    assert "by chance 25%" in page
    assert 'src="search-and-classify-1.png"' in page
    assert (site / "tutorial" / "search-and-classify-1.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_search_finds_pages_that_are_opened_as_files_without_a_network(site: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("no chromium (Debian package chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as it:
        browser = it.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(offline=True).new_page()
        page.set_default_timeout(90_000)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for name in ("comparison", "settings", "tutorial/search-and-classify", "index"):
            page.goto((site / f"{name}.html").as_uri())
        page.locator("input.md-search__input").click()
        page.locator("input.md-search__input").press_sequentially("golden law")
        page.locator(".md-search-result__item", has_text="How the packed Longformer works").first.wait_for()
        browser.close()
    assert len(asked) > 3
    assert [address for address in asked if not address.startswith(("file:", "data:", "about:", "blob:"))] == []


def test_links_that_leave_the_documentation_become_paths_and_others_stay() -> None:
    assert hooks.told("see [the card](../model_store/a/README.md).", "") == "see the card (`model_store/a/README.md`)."
    assert hooks.told("[import](../import.md#x)", "training") == "[import](../import.md#x)"
    assert hooks.told("[slurm](../../deploy/slurm)", "training") == "slurm (`deploy/slurm`)"
    assert hooks.told("![drawn](../x.png)", "") == "![drawn](../x.png)"
    assert hooks.told("[it](a/b.ipynb)", "") == "[it](a/b.md)"


def test_a_notebook_becomes_markdown_with_its_pictures() -> None:
    drawn = {"data": {"image/png": "iVBORw=="}}
    cells = [
        {"cell_type": "markdown", "source": ["# A\n", "b"]},
        {"cell_type": "code", "source": "print(1)", "outputs": [{"text": ["1\n"]}, drawn]},
    ]
    pages = hooks.pages_of("a/b.ipynb", {"cells": cells})
    assert pages["a/b.md"] == ("# A\nb\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n![What the cell draws](b-1.png)\n")
    assert pages["a/b-1.png"] == b"\x89PNG"


def lines_of_shell() -> Iterator[str]:
    """Every line of a block of shell code of README, CONTRIBUTING and the pages, continued lines as one."""
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))):
        for block in re.findall(r"^```(?:sh|bash)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            yield from block.replace("\\\n", " ").splitlines()


def test_every_make_verb_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {verb for line in lines_of_shell() for verb in re.findall(r"^make ([a-z]+)", line)}
    assert {"serve", "test"} <= named <= targets


def unknown_words(words: list[str], command: Any) -> list[str]:
    """The commands and flags among a line's words that this command does not have."""
    while subcommands := getattr(command, "commands", None):
        if not words or words[0] not in subcommands:
            return words[:1]
        command, words = subcommands[words[0]], words[1:]
    flags = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    ours = itertools.takewhile(lambda word: word not in ("|", ">", "&&", ";"), words)
    return [word for word in ours if word.startswith("--") and word.partition("=")[0] not in flags]


def test_every_command_and_flag_that_a_page_names_exists() -> None:
    from typer.main import get_command

    from drlongformer.cli import app

    command: Any = get_command(app)
    called = [found[1] for line in lines_of_shell() if (found := re.search(r"^(?:\S+=\S* )*(?:\S*/)?drlongformer (.*)", line))]
    assert len(called) > 60
    assert unknown_words(["serve", "--prot", "1"], command) == ["--prot"]
    assert [words for line in called if (words := unknown_words(shlex.split(line, comments=True), command))] == []


def test_the_navigation_leads_to_every_page_once_and_to_no_other() -> None:
    config = load_config(str(ROOT / "mkdocs.yml"))
    listed = re.findall(r"[\w/.-]+\.md", json.dumps(hooks.on_config(config).nav))
    pages = [page.relative_to(DOCS) for page in (*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb"))]
    assert sorted(listed) == sorted(page.with_suffix(".md").as_posix() for page in pages)
    assert len(listed) > 30


def test_the_drawings_are_small_and_hold_no_program() -> None:
    drawings = sorted((DOCS / "images").glob("how-*.svg"))
    assert len(drawings) == 4
    for drawing in drawings:
        text = drawing.read_text(encoding="utf-8")
        assert len(text) < 40_000
        assert "<title>" in text
        assert "<script" not in text
        assert json.dumps(text).count("href") == 0
