"""`/docs` and `/redoc` in a real browser without a network: they load the service's own files alone, and show every route."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from drlongformer.api.app import create_app
from drlongformer.api.contract import contract
from drlongformer.api.pages import SHELF
from drlongformer.settings import Server, Settings
from tests.api import services
from tests.api.serving import running

CHROMIUM = shutil.which("chromium")
SETTINGS = Settings(server=Server(drain_seconds=0))
CLOSED = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    served = services.service(tmp_path_factory.mktemp("store"), tree=SETTINGS)
    with running(create_app(served), settings=SETTINGS, lifecycle=served.lifecycle) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium (Debian package chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as it:
        browser = it.chromium.launch(executable_path=CHROMIUM, args=CLOSED)
        yield browser
        browser.close()


class Watched:
    """A page, what it asked for, and what it complained of."""

    def __init__(self, browser: Any) -> None:
        self.page = browser.new_page()
        self.page.set_default_timeout(60_000)
        self.asked: list[str] = []
        self.told: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("console", lambda line: self.told.append(line.text) if line.type in ("error", "warning") else None)

    def texts(self, selector: str) -> set[str]:
        """What stands in every element, without spaces that only break lines."""
        return {text.strip().replace("\u200b", "") for text in self.page.locator(selector).all_text_contents()}


def paths() -> set[str]:
    return set(json.loads(contract())["paths"])


@pytest.mark.slow
def test_swagger_ui_shows_every_operation_and_sends_one(url: str, browser: Any) -> None:
    watched = Watched(browser)
    watched.page.goto(f"{url}/docs")
    watched.page.wait_for_selector(".opblock")
    assert watched.texts(".opblock-summary-path") == paths()
    watched.page.locator(".opblock", has_text="/fill-mask").click()
    watched.page.get_by_text("Le patient souffre de <mask> chronique.").first.wait_for()
    watched.page.get_by_role("button", name="Try it out").click()
    watched.page.get_by_role("button", name="Execute").click()
    watched.page.wait_for_selector(".live-responses-table .response-col_status")
    assert "200" in watched.page.locator(".live-responses-table tbody .response-col_status").first.inner_text()
    assert f"{url}/fill-mask" in watched.asked
    assert all(address.startswith((f"{url}/", "data:")) for address in watched.asked)
    assert watched.told == []


@pytest.mark.slow
def test_redoc_shows_every_operation(url: str, browser: Any) -> None:
    watched = Watched(browser)
    watched.page.goto(f"{url}/redoc")
    watched.page.get_by_text("Long French clinical documents in").first.wait_for()
    shown = watched.page.locator("body").inner_text()
    assert all(path in shown for path in paths())
    width = watched.page.locator(".menu-content").first.evaluate("it => getComputedStyle(it).width")
    assert width == "260px"  # its styles were let in
    assert all(address.startswith((f"{url}/", "data:")) for address in watched.asked)
    assert watched.told == []


def test_what_is_shipped_names_no_address_to_load_from() -> None:
    scripts = [(SHELF.folder / name).read_bytes() for name in SHELF.names]
    assert len(scripts) == 6
    for script in scripts:
        assert b"cdn." not in script
        assert b"googleapis" not in script


def test_every_file_beside_them_is_served_or_says_where_they_are_from() -> None:
    there = {file.name for file in SHELF.folder.iterdir()}
    told = {name for name in there if name.endswith("LICENSE.txt")} | {"README.md"}
    assert there == {*SHELF.names} | told
    readme = (SHELF.folder / "README.md").read_text(encoding="utf-8")
    assert all(name in readme for name in there - {"README.md"})
