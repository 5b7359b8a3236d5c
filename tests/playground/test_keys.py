"""Keys in the page: asked for when they are needed, sent in a header, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from drlongformer.api import keys
from drlongformer.api.keys import KeyFile
from drlongformer.settings import Server, Settings
from tests.api.test_keys import SECRET, bearer, key
from tests.client.served import serving
from tests.playground.looking import Opened

WARD, WATCH = (bearer(id_).decode().removeprefix("Bearer ") for id_ in ("infer111", "watch111"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service over a fake engine that asks for keys."""
    folder = tmp_path_factory.mktemp("guarded")
    holders = (key("infer111", scopes=("infer",)), key("watch111", scopes=("metrics",)))
    keys.write(folder / "keys.json", KeyFile(keys=holders))
    with serving(folder / "store", tree=Settings(server=Server(keys=folder / "keys.json"))) as (address, _):
        yield address


def give(page: Opened, secret: str) -> None:
    page.page.fill("#key", secret)
    page.page.click("#gate button")


def test_a_key_is_asked_for_held_in_memory_and_forgotten(pages: Callable[..., Opened], guarded: str) -> None:
    page = pages(guarded, ready=False)
    page.page.wait_for_selector("#gate:not([hidden])")
    give(page, "infer111.wrong")
    page.page.wait_for_selector("#gate-problem:not([hidden])")
    assert page.page.inner_text("#gate-problem") == "Il faut une clé valide."
    give(page, WATCH)
    page.page.wait_for_selector("#problem:not([hidden])")
    page.requests.clear()
    page.type("Toux sèche.")
    with page.page.expect_response(f"{guarded}/models"):
        page.page.click("#run")
    page.reads("#problem", "Cette clé ne donne pas accès")
    assert {urlsplit(request.url).path for request in page.requests} == {"/models"}
    assert page.page.inner_text("#announced") == ""
    page.page.click("#lock")
    page.page.wait_for_selector("#gate:not([hidden])")
    give(page, WARD)
    page.page.wait_for_selector("#head option", state="attached")
    page.run("ner", "Toux sèche.", shows="#entities")
    assert "DRLONGFORMER_KEY" in page.page.inner_text("#snippet")
    assert SECRET not in page.page.content()
    assert SECRET not in page.page.evaluate("[...document.querySelectorAll('input, textarea')].map(e => e.value).join()")
    sent = [request for request in page.requests if request.headers.get("authorization") == f"Bearer {WARD}"]
    assert {request.url.rsplit("/", 1)[1] for request in sent} >= {"models", "ner"}
    page.page.click("#to-status")
    page.page.wait_for_selector("#gate:not([hidden])")
    assert "metrics" in page.page.inner_text("#gate-told")
    give(page, WATCH)
    page.page.wait_for_selector("#served tbody tr")
    page.page.click("#to-play")
    page.page.click("#lock")
    page.page.wait_for_selector("#gate:not([hidden])")
    assert page.page.is_hidden("#play")
    assert page.page.input_value("#text") == ""
    assert "Toux" not in page.page.content()
