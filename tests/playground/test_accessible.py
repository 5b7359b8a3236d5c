"""axe-core on every view, in both themes and languages; and a whole turn by the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.playground.looking import NOTE, WIDE, Opened

if TYPE_CHECKING:
    from playwright.sync_api import ViewportSize

NARROW: Final[ViewportSize] = {"width": 400, "height": 850}

VIEWS: Final = {
    "ner": "#document[data-drawn]",
    "classify": "#classes",
    "fill-mask": "#words",
    "embed": "#likeness .map svg",
    "similarity": "#comparisons",
    "multiple-choice": "#choice",
    "all": "#likeness .map svg",
}
"""What each task shows; every other one is looked at in the dark."""


def violations(page: Opened) -> list[Any]:
    """What axe finds, as rule and places."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe (pip install axe-playwright-python)")
    found = axe.Axe().run(page.page).response["violations"]
    return [(each["id"], [node["target"] for node in each["nodes"]][:3]) for each in found]


def test_no_view_breaks_a_rule_of_axe_in_either_theme(page: Opened) -> None:
    for task, shown in VIEWS.items():
        page.choose(task)
        if task in ("similarity", "multiple-choice"):
            page.page.click("#example")
            page.page.click("#run")
            page.answered(shown)
            page.page.click("#folded-json summary")
        elif task != "fill-mask":
            page.run(task, f"MOTIF\n{NOTE}\n\nCONCLUSION\n{NOTE}", shows=f'#answer[data-task="{task}"] {shown}')
        page.page.wait_for_selector(shown)
        assert violations(page) == [], task
        page.page.click("#theme")
    page.page.check('input[name="entity-view"][value="table"]')
    assert violations(page) == []
    page.page.set_viewport_size(NARROW)
    assert violations(page) == []
    assert page.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    page.page.click("#to-status")
    page.page.wait_for_selector("#served tbody tr")
    assert violations(page) == []
    page.page.set_viewport_size(WIDE)
    page.page.click("#theme")
    assert violations(page) == []
    page.page.click("#to-play")
    page.page.wait_for_selector("#play", state="visible")
    page.type(" ")
    page.page.click("#run")
    page.page.wait_for_selector("#problem:not([hidden])")
    assert violations(page) == []


def test_an_answer_to_another_text_or_left_standing_by_an_error_is_told_to_be_of_before(page: Opened) -> None:
    page.run("classify", NOTE, shows="#classes")
    page.page.wait_for_selector("#stale", state="hidden")
    page.type(f"{NOTE} Repos.")
    page.page.wait_for_selector("#stale", state="visible")
    page.type(NOTE)
    page.page.wait_for_selector("#stale", state="hidden")
    page.type(" ")
    page.page.click("#run")
    page.page.wait_for_selector("#problem:not([hidden])")
    page.page.wait_for_selector("#stale", state="visible")
    page.run("classify", NOTE, shows="#classes")
    page.page.wait_for_selector("#stale", state="hidden")


def test_a_dark_english_browser_gets_a_dark_english_page_and_back_leads_to_it(
    pages: Callable[..., Opened], address: str
) -> None:
    page = pages(address, locale="en-GB", color_scheme="dark")
    assert page.page.get_attribute("html", "lang") == "en"
    assert page.page.inner_text("#run") == "Run"
    assert page.page.inner_text("#theme") == "Light theme"
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.page.evaluate(ground) == "rgb(17, 22, 27)"
    page.page.click("#theme")
    assert page.page.evaluate(ground) == "rgb(245, 247, 249)"
    page.page.click("#to-status")
    page.page.wait_for_selector("#play", state="hidden")
    page.page.go_back()
    page.page.wait_for_selector("#play", state="visible")
    page.page.set_viewport_size({"width": 1280, "height": 900})
    assert page.page.evaluate("scrollY") == 0
    assert page.page.eval_on_selector("#run", "e => e.getBoundingClientRect().bottom <= innerHeight")


def test_every_view_of_a_document_says_what_the_answers_are_not(page: Opened) -> None:
    for tag, told in (("en", ("Negation is not modelled", "not a medical device")), ("fr", ("négation", "dispositif médical"))):
        page.page.click(f"#speak-{tag}")
        for sentence in told:
            page.reads("#device-notice", sentence)


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
    page.page.wait_for_selector("#bubble", state="visible")
