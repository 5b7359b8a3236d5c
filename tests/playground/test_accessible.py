"""axe-core on every view, in both themes and languages; and a whole turn by the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.playground.looking import NOTE, Opened


def violations(page: Opened) -> list[Any]:
    """What axe finds, as rule and places."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe (pip install axe-playwright-python)")
    found = axe.Axe().run(page.page).response["violations"]
    return [(each["id"], [node["target"] for node in each["nodes"]][:3]) for each in found]


def test_no_view_breaks_a_rule_of_axe_in_either_theme(page: Opened) -> None:
    for task, shown in (("ner", "#document[data-drawn]"), ("fill-mask", "#words"), ("all", "#likeness .map svg")):
        if task == "fill-mask":
            page.choose(task)
            page.page.wait_for_selector(shown)
        else:
            page.run(task, f"MOTIF\n{NOTE}\n\nCONCLUSION\n{NOTE}", shows=f'#answer[data-task="{task}"] {shown}')
        assert violations(page) == []
        page.page.click("#theme")
        assert violations(page) == []
    page.page.check('input[name="entity-view"][value="table"]')
    assert violations(page) == []
    page.page.click("#to-status")
    page.page.wait_for_selector("#served tbody tr")
    assert violations(page) == []
    page.page.click("#to-play")


def test_a_dark_english_browser_gets_a_dark_english_page(pages: Callable[..., Opened], address: str) -> None:
    page = pages(address, locale="en-GB", color_scheme="dark")
    assert page.page.get_attribute("html", "lang") == "en"
    assert page.page.inner_text("#run") == "Run"
    assert page.page.inner_text("#theme") == "Light theme"
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.page.evaluate(ground) == "rgb(17, 22, 27)"
    page.page.click("#theme")
    assert page.page.evaluate(ground) == "rgb(245, 247, 249)"


def test_the_keyboard_alone_takes_a_reader_from_the_text_to_the_entities(page: Opened) -> None:
    page.choose("ner")
    page.page.focus("#text")
    page.page.keyboard.press("Control+a")
    page.page.keyboard.insert_text(NOTE)
    page.page.keyboard.press("Control+Enter")
    page.answered('#document[data-drawn="whole"]')
    page.page.focus("#text")
    for _ in range(40):
        page.page.keyboard.press("Tab")
        if page.page.evaluate("document.activeElement.id") == "document":
            break
    page.page.keyboard.press("ArrowDown")
    assert page.page.evaluate("document.activeElement.classList.contains('entity')")
    assert page.page.evaluate("document.activeElement.getAttribute('aria-describedby')") == "bubble"
    assert page.page.is_visible("#bubble")
