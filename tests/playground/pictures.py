"""Takes the pictures of the page that the README shows, before a service that serves the embedded model.

python -m tests.playground.pictures http://127.0.0.1:8000 docs/images
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tests.playground.conftest import CHROMIUM
from tests.playground.looking import SETTLE_MILLISECONDS, Opened, opened

LARGEST_BYTES: Final = 150_000
COLOURS: Final = 128


def entities(page: Opened) -> None:
    """A document with its entities, one of them told of."""
    choose(page, "urgences")
    page.run("ner", shows='#document[data-drawn="whole"]')
    page.page.fill("#least", "0.8")
    page.page.hover(".entity:not(.off)[data-label=BODYPART] >> nth=0")


def masks(page: Opened) -> None:
    """Candidates for a word."""
    page.type(
        "Ce médicament contient du lactose. Si votre médecin vous a informé d’une intolérance à certains sucres, contactez-le."
    )
    page.choose("fill-mask")
    page.page.click("#words .word >> text=médecin")
    page.page.wait_for_selector("#candidates")


def similarity(page: Opened) -> None:
    """The sections of a whole stay, compared."""
    choose(page, "sejour")
    page.run("embed", shows="#likeness .map svg")
    page.page.hover("#likeness .cell >> nth=100")


def choice(page: Opened) -> None:
    """A question about a document, with its options."""
    page.choose("multiple-choice")
    page.page.click("#example")
    page.page.click("#run")
    page.answered("#choice")
    page.page.eval_on_selector("#text", "area => { area.rows = 4; scrollTo(0, 0); }")


def status(page: Opened) -> None:
    """The status page after some requests."""
    page.page.click("#to-status")
    page.page.wait_for_selector("#served tbody tr")
    for text in ("Toux sèche. ", "Fièvre élevée depuis trois jours. ") * 6:
        body = {"inputs": [text * 20, text * 200], "tasks": ["ner", "classify"]}
        page.context.request.post(f"{page.address}/analyze", data=body, timeout=SETTLE_MILLISECONDS)
        page.page.wait_for_timeout(1000)


def choose(page: Opened, name: str) -> None:
    """Choose an invented document, and wait for its tokens."""
    page.page.select_option("#samples", name)
    page.until("() => document.querySelector('#text').value.length > 1000")
    page.page.wait_for_selector('#tokens[data-exact="true"]')


PICTURES: Final[Mapping[str, tuple[Callable[[Opened], None], dict[str, Any]]]] = {
    "playground-entities": (entities, {"locale": "fr-FR"}),
    "playground-masks": (masks, {"locale": "fr-FR"}),
    "playground-similarity": (similarity, {"locale": "en-GB", "color_scheme": "dark"}),
    "playground-choice": (choice, {"locale": "fr-FR"}),
    "playground-status": (status, {"locale": "en-GB"}),
}


def take(browser: Browser, address: str, folder: Path) -> None:
    """Take all pictures. Raises ValueError for one that is too large for a README."""
    for name, (prepare, options) in PICTURES.items():
        page = opened(browser, address, **options)
        page.page.set_viewport_size({"width": 1240, "height": 780})
        prepare(page)
        shot = Image.open(io.BytesIO(page.page.screenshot()))
        page.close()
        file = folder / f"{name}.png"
        shot.convert("RGB").quantize(COLOURS).save(file, optimize=True)
        if file.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"{file.name} has {file.stat().st_size} bytes, the limit is {LARGEST_BYTES}")


if __name__ == "__main__":
    with sync_playwright() as playwright:
        take(playwright.chromium.launch(executable_path=CHROMIUM), sys.argv[1].rstrip("/"), Path(sys.argv[2]))
