"""How long the page's main thread is busy at once with a text of 100,000 characters and 6,000 entities, step by step.

    python -m tests.playground.smoothness http://127.0.0.1:8000

Told is the processor time of the longest task of each step, by the browser's own tracing: the wall time of a machine that does
other work says little. The service is asked for the page and, where typing pauses, for the number of tokens.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

from tests.playground.conftest import CHROMIUM, ROOT
from tests.playground.looking import opened

CHARACTERS: Final = 100_000
ENTITIES: Final = 6_000
SETTLED_MILLISECONDS: Final = 700
TRACED: Final = ["toplevel", "disabled-by-default-devtools.timeline"]

PASTE = """() => {
  const clipboardData = new DataTransfer();
  clipboardData.setData('text/plain', window.text);
  document.getElementById('text').dispatchEvent(new ClipboardEvent('paste', { clipboardData, cancelable: true }));
}"""

DRAW = """async () => {
  const { entities } = window;
  const { Entities } = await import('/playground/entities.js');
  const { Kept } = await import('/playground/annotations.js');
  const text = document.getElementById('text').value;
  const view = new Entities({ text, entities, answer: { results: [{ entities }] }, kept: new Kept() });
  document.getElementById('answer').replaceChildren(view.element());
}"""


def steps(page: Page, text: str, entities: list[dict[str, Any]]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is done with the page, by name."""
    drawn = '#document[data-drawn="whole"]'

    def draw() -> None:
        page.evaluate(DRAW)
        page.wait_for_selector(drawn)

    def slide() -> None:
        for least in ("0.3", "0.6", "0.9", "0"):
            page.fill("#least", least)

    page.evaluate("([text, entities]) => Object.assign(window, { text, entities })", [text, entities])
    yield "paste", lambda: page.evaluate(PASTE)
    yield "type", lambda: page.type("#text", "toux")
    yield "count", lambda: page.wait_for_selector('#tokens[data-exact="true"]')
    yield "draw", draw
    yield "slide", slide
    yield "legend", lambda: page.uncheck(".legend input >> nth=0")
    yield "table", lambda: page.check('input[name="entity-view"][value="table"]')
    yield "JSON", lambda: page.check('input[name="entity-view"][value="json"]')
    yield "words", lambda: page.check('input[name="task"][value="fill-mask"]')
    yield "compare", lambda: page.check('input[name="task"][value="similarity"]')


def words(text: str) -> Iterator[dict[str, Any]]:
    """The first seven of every sixteen characters, as an entity of one of twelve types."""
    for place, start in enumerate(range(0, len(text) - 16, 16)):
        covered = {"start": start, "end": start + 7, "text": text[start : start + 7]}
        yield {"label": f"L{place % 12}", "score": place % 100 / 100, **covered}


def busiest(browser: Browser) -> float:
    """Milliseconds of processor time of the longest task since tracing began, which ends here."""
    events = json.loads(browser.stop_tracing())["traceEvents"]
    named = [each for each in events if each.get("name") == "thread_name" and each["args"]["name"] == "CrRendererMain"]
    main = {(each["pid"], each["tid"]) for each in named}
    tasks = [each for each in events if (each["pid"], each["tid"]) in main and each.get("name", "").endswith("RunTask")]
    return float(max(each.get("tdur", 0) for each in tasks)) / 1000


def long_text() -> str:
    """So many characters of the invented documents."""
    parts = sorted((ROOT / "service" / "drlongformer" / "playground").glob("*.txt"))
    return ("\n".join(part.read_text(encoding="utf-8") for part in parts) * 8)[:CHARACTERS]


def measured(browser: Browser, page: Page, *, settled: int = SETTLED_MILLISECONDS) -> Iterator[tuple[str, float]]:
    """Each step by its name, with the milliseconds of its longest task."""
    text = long_text()
    for name, step in steps(page, text, list(islice(words(text), ENTITIES))):
        browser.start_tracing(page=page, categories=TRACED)
        step()
        page.wait_for_timeout(settled)
        yield name, busiest(browser)


def main(address: str) -> None:
    """Measure, and print a line a step."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu"])
        page = opened(browser, address).page
        for name, milliseconds in measured(browser, page):
            sys.stdout.write(f"{name:8}{milliseconds:6.0f} ms\n")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
