"""Shipped files: what is on the shelf comes as it is and is known again; nothing else in the folder, or above it, comes."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from drlongformer.api.assets import Shelf, page, shelf_routes


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    (tmp_path / "page.js").write_text("console.log('é');", encoding="utf-8")
    (tmp_path / "secret.js").write_text("no", encoding="utf-8")
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.include_router(shelf_routes(Shelf(prefix="/shelf", folder=tmp_path, names=("page.js",))))
    app.add_api_route("/", lambda: page("<!doctype html>", style_hashes=["sha256-abc="]))
    return TestClient(app)


def test_a_file_of_the_shelf_comes_as_it_is_with_its_type(client: TestClient) -> None:
    answer = client.get("/shelf/page.js")
    assert answer.text == "console.log('é');"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert client.head("/shelf/page.js").headers["content-length"] == str(len("console.log('é');".encode()))


@pytest.mark.parametrize("known", ["{}", '"other", {}', "W/{}", "*"])
def test_a_browser_that_has_the_bytes_is_not_sent_them_again(known: str, client: TestClient) -> None:
    tag = client.get("/shelf/page.js").headers["etag"]
    answer = client.get("/shelf/page.js", headers={"If-None-Match": known.format(tag)})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert client.get("/shelf/page.js", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/shelf/secret.js", "/shelf/../page.js", "/shelf/%2e%2e%2fpage.js", "/shelf/", "/shelf/page.js/"]
)
def test_nothing_else_comes(path: str, client: TestClient) -> None:
    assert client.get(path).status_code == 404


def test_a_page_loads_nothing_of_another_site_and_runs_no_script_that_stands_in_it(client: TestClient) -> None:
    rules = dict(rule.split(" ", 1) for rule in client.get("/").headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
    assert rules["style-src"] == "'self' 'sha256-abc='"
    assert "unsafe" not in str(rules)


@pytest.mark.parametrize("name", ["a/page.js", "notes.docx", "plain"])
def test_a_shelf_takes_only_names_of_known_types(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="media type"):
        Shelf(prefix="/shelf", folder=tmp_path, names=(name,))


def test_a_missing_file_is_told_before_anyone_asks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        shelf_routes(Shelf(prefix="/shelf", folder=tmp_path, names=("page.js",)))
