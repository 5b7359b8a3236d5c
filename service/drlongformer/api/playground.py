"""The page at `/`, where people look at answers, and the files that it is made of (`drlongformer/playground/`).

It is a client of the service like any other: it asks the same routes, with a key where one is asked for. The page and its files
are open to anyone, for they say no more than the published source does. `serve --no-playground` leaves them out.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from drlongformer.api.assets import Shelf, page, shelf_routes

PAGE: Final = "/"

_FOLDER: Final = files("drlongformer") / "playground"

_SCRIPTS: Final = (
    "annotations.js",
    "answers.js",
    "app.js",
    "asking.js",
    "beside.js",
    "charts.js",
    "classes.js",
    "collection.js",
    "copying.js",
    "dom.js",
    "english.js",
    "entities.js",
    "entity_table.js",
    "fields.js",
    "files.js",
    "french.js",
    "input.js",
    "json_view.js",
    "likeness.js",
    "marked.js",
    "masking.js",
    "masks.js",
    "models.js",
    "play.js",
    "problems.js",
    "progress.js",
    "prometheus.js",
    "samples.js",
    "scores.js",
    "service.js",
    "snippets.js",
    "status.js",
    "text.js",
    "trace.js",
    "vectors.js",
    "wording.js",
)

_DOCUMENTS: Final = (
    "anatomopathologie.txt",
    "consultation.txt",
    "evolution.txt",
    "notice.txt",
    "operatoire.txt",
    "radiologie.txt",
    "sortie.txt",
    "urgences.txt",
)

SHELF: Final = Shelf(prefix="/playground", folder=_FOLDER, names=("icon.svg", "style.css", *_SCRIPTS, *_DOCUMENTS))


def playground_routes() -> APIRouter:
    """The page and its files. Raises OSError where one is missing."""
    router = APIRouter()
    html = (_FOLDER / "index.html").read_text(encoding="utf-8")

    @router.api_route(PAGE, methods=["GET", "HEAD"], include_in_schema=False)
    async def playground() -> HTMLResponse:
        """The page."""
        return page(html)

    router.include_router(shelf_routes(SHELF))
    return router
