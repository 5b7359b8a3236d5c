"""100,000 characters in the page: nothing that is done with them keeps it from taking input."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from tests.playground.looking import Opened
from tests.playground.smoothness import long_text, measured

MOST_MILLISECONDS = 200.0
"""Processor time, not wall time, and several times what was measured: one task over the whole text would break it."""


def test_no_task_of_the_page_is_long_with_a_hundred_thousand_characters(pages: Callable[..., Opened], address: str) -> None:
    page = pages(address)
    browser = page.context.browser
    assert browser is not None
    found = dict(measured(browser, page.page, settled=200))
    assert found.keys() >= {"paste", "type", "count", "draw", "slide", "table", "words"}
    assert {name: busy for name, busy in found.items() if busy > MOST_MILLISECONDS} == {}
    counted = page.ask("tokenize")
    assert counted
    assert all(each["return_tokens"] is False for each in counted)


def test_counting_a_hundred_thousand_characters_sends_a_number_back(page: Opened) -> None:
    answer = httpx.post(f"{page.address}/tokenize", json={"inputs": long_text(), "return_tokens": False}, timeout=60)
    assert answer.json()["results"][0]["count"] > 20_000
    assert len(answer.content) < 1000
