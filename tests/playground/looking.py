"""A page that was opened, what it may never do, and the steps that many tests take."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request, ViewportSize

NOTE = "Motif : toux sèche et fièvre depuis trois jours. Le patient prend du paracétamol."
ASTRAL = "Bilan 𝛼🫁 : toux sèche 🤒 et fièvre depuis trois jours, 𝟚 comprimés de paracétamol."

WIDE: Final[ViewportSize] = {"width": 1360, "height": 900}
SETTLE_MILLISECONDS = 60_000
"""What a machine that does much else may take; nothing is slower for it where all goes well."""

TICK_MILLISECONDS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A page, the address of its service, and everything it asked for or complained of."""

    page: Page
    context: BrowserContext
    address: str
    requests: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def check(self) -> None:
        """What no page may do, whatever was done on it."""
        stored = self.page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]")
        assert self.complaints == []
        assert stored == [0, 0, ""]
        assert self.context.cookies() == []
        assert self.page.url.split("#")[0] == f"{self.address}/"
        assert self.page.url.partition("#")[2] in ("", "play", "status", "main")
        hosts = {urlsplit(request.url).netloc for request in self.requests if not request.url.startswith("blob:")}
        assert hosts <= {urlsplit(self.address).netloc}
        assert all("?" not in request.url for request in self.requests)

    def forget(self) -> None:
        """Go back to the playground, take the pointer off it, and forget what was asked so far."""
        self.page.click("#to-play")
        self.page.wait_for_selector("#play", state="visible")  # an address's part after # changes a moment after the click
        self.page.mouse.move(0, 0)
        self.requests.clear()

    def close(self) -> None:
        """Close the page."""
        self.context.close()

    def type(self, text: str) -> None:
        """Put a text into the page."""
        self.page.fill("#text", text)

    def choose(self, task: str) -> None:
        """Choose a task."""
        self.page.check(f'input[name="task"][value="{task}"]')

    def run(self, task: str, text: str | None = None, *, shows: str) -> None:
        """Ask a task about a text, and wait for what the answer shows."""
        if text is not None:
            self.type(text)
        self.choose(task)
        self.page.click("#run")
        self.answered(shows)

    def answered(self, shows: str) -> None:
        """Wait for the answer that was asked for, and for what it shows."""
        self.page.wait_for_selector("#results:not([aria-busy])", timeout=SETTLE_MILLISECONDS)
        self.page.wait_for_selector(shows, timeout=SETTLE_MILLISECONDS)

    def reads(self, selector: str, text: str) -> None:
        """Wait until an element is there, is seen, and holds a text."""
        shown = "([s, text]) => { const e = document.querySelector(s); return Boolean(e?.checkVisibility()) && INSIDE; }"
        self.until(shown.replace("INSIDE", "e.innerText.includes(text)"), [selector, text])

    def until(self, expression: str, argument: Any = None) -> None:
        """Wait for a function of an argument to hold; Playwright's own waiting would ask the page to evaluate strings."""
        for _ in range(SETTLE_MILLISECONDS // TICK_MILLISECONDS):
            if self.page.evaluate(expression, argument):
                return
            self.page.wait_for_timeout(TICK_MILLISECONDS)
        raise AssertionError(f"never came true: {expression}")

    def ask(self, path: str) -> list[dict[str, Any]]:
        """The bodies that were posted to a route, in order."""
        posted = [each for each in self.requests if each.method == "POST" and urlsplit(each.url).path == f"/{path}"]
        return [json.loads(each.post_data or "") for each in posted]

    def module(self, name: str, expression: str, argument: Any = None) -> Any:
        """What an expression of `m`, a module of the page, and of `x`, an argument, evaluates to."""
        return self.page.evaluate(
            f"async (x) => {{ const m = await import('/playground/{name}.js'); return {expression}; }}", argument
        )

    def asks_to_stay(self) -> bool:
        """Whether the browser would ask before it leaves the page."""
        leave = "() => !dispatchEvent(new Event('beforeunload', { cancelable: true }))"
        return bool(self.page.evaluate(leave))

    def saved(self, click: Callable[[], None]) -> str:
        """The text of the file that a click saves."""
        with self.page.expect_download() as download:
            click()
        return Path(download.value.path()).read_text(encoding="utf-8")


def opened(browser: Browser, address: str, *, locale: str = "fr-FR", ready: bool = True, **options: Any) -> Opened:
    """Open the page; `ready` waits until it knows the models."""
    context = browser.new_context(locale=locale, viewport=WIDE, **options)
    context.set_default_timeout(SETTLE_MILLISECONDS)
    page = context.new_page()
    one = Opened(page=page, context=context, address=address)
    page.on("request", lambda request: one.requests.append(request))  # noqa: PLW0108 - Playwright sets attributes on it
    page.on("pageerror", lambda error: one.complaints.append(str(error)))
    page.on("console", lambda message: _complain(one, message.type, message.text))
    page.goto(f"{address}/")
    if ready:
        page.wait_for_selector("#head option", state="attached", timeout=SETTLE_MILLISECONDS)
    return one


def _complain(one: Opened, kind: str, text: str) -> None:
    # The browser itself tells of every answer that is no 200; those are what some tests are about.
    if kind == "error" and not text.startswith("Failed to load resource: the server responded with a status"):
        one.complaints.append(text)
