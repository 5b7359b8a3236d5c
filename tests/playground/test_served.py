"""The page and its files as the service hands them out: open to anyone, all of them shipped, nothing inline."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest

from drlongformer.api import gate, keys
from drlongformer.api.keys import KeyFile
from drlongformer.api.playground import PAGE, SHELF
from drlongformer.settings import Server, Settings
from tests.api import services
from tests.api.test_keys import key

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "service" / "drlongformer" / "playground"
SHIPPED = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.iterdir()}
NAMESPACE = "http://www.w3.org/2000/svg"


def test_every_file_is_on_the_shelf_and_in_the_wheel() -> None:
    assert {*SHELF.names, "index.html"} == SHIPPED.keys()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    globs = project["tool"]["setuptools"]["package-data"]["drlongformer"]
    assert all(any(fnmatch.fnmatch(f"playground/{name}", glob) for glob in globs) for name in SHIPPED)


async def test_the_page_and_its_files_need_no_key_and_what_they_ask_does(tmp_path: Path) -> None:
    keys.write(tmp_path / "keys.json", KeyFile(keys=(key(),)))
    served = services.service(tmp_path / "store", tree=Settings(server=Server(keys=tmp_path / "keys.json")))
    async with services.client(served) as client:
        page = await client.get(PAGE)
        assert page.text == SHIPPED["index.html"]
        for name in SHELF.names:
            assert (await client.get(f"/playground/{name}")).text == SHIPPED[name]
        assert (await client.get("/models")).status_code == 401
        assert (await client.get("/playground/index.html")).status_code == 401
    assert gate.SHELVES
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "connect-src 'self'" in policy


async def test_no_playground_leaves_it_out(tmp_path: Path) -> None:
    served = services.service(tmp_path, tree=Settings(server=Server(playground=False)))
    async with services.client(served) as client:
        assert (await client.get(PAGE)).status_code == 404
        assert (await client.get("/playground/app.js")).status_code == 404
        assert (await client.get("/docs")).status_code == 200


def test_markup_holds_no_script_no_style_and_no_other_host() -> None:
    html = SHIPPED["index.html"]
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", html) == []
    assert all(
        re.fullmatch(r'<script type="module" src="playground/\w+\.js">', tag) for tag in re.findall(r"<script[^>]*>", html)
    )
    assert {name for name, text in SHIPPED.items() if re.search(r"https?://", text.replace(NAMESPACE, ""))} == set()


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.endswith(".js")])
def test_scripts_write_no_markup_and_keep_nothing(name: str) -> None:
    banned = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|[lL]ocalStorage|sessionStorage"
        r"|indexedDB|\.cookie|pushState|replaceState|location\.(hash|search|href) ?="
    )
    assert re.findall(banned, SHIPPED[name]) == []
    imported = re.findall(r'from "\./([\w.]+)"', SHIPPED[name])
    assert set(imported) <= set(SHELF.names)
