"""`/docs` (Swagger UI) and `/redoc` (ReDoc): pages that show `/openapi.json`, made of files that come with the package.

Both load their scripts and styles from here and nowhere else (`assets.py`), so they work where no network is. Addresses are
relative: behind a proxy that puts a prefix before the service they still hold.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from drlongformer.api.assets import Shelf, page, shelf_routes

SWAGGER: Final = "/docs"
REDOC: Final = "/redoc"

SHELF: Final = Shelf(
    prefix="/docs",
    folder=files("drlongformer.api") / "shipped",
    names=("pages.css", "redoc.js", "redoc.standalone.js", "swagger-ui-bundle.js", "swagger-ui.css", "swagger.js"),
)
"""What the pages are made of; `README.md` beside the files says where each is from."""

_REDOC_STYLES: Final = (
    "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",  # an empty element, into which ReDoc puts its rules one by one
    "sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc=",  # its scroll bars; a browser's console tells it of another version
)


def page_routes() -> APIRouter:
    """The pages and their files. Raises OSError where one is missing."""
    router = APIRouter()

    @router.api_route(SWAGGER, methods=["GET", "HEAD"], include_in_schema=False)
    async def swagger() -> HTMLResponse:
        """Swagger UI, which can also send requests, with a key where one is asked for."""
        return page(_SWAGGER)

    @router.api_route(REDOC, methods=["GET", "HEAD"], include_in_schema=False)
    async def redoc() -> HTMLResponse:
        """ReDoc, to read and to print; its script makes its styles, rule by rule."""
        return page(_REDOC, style_hashes=_REDOC_STYLES)

    router.include_router(shelf_routes(SHELF))
    return router


_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>DrLongformer service</title><link rel="icon" href="data:,"><link rel="stylesheet" href="docs/pages.css">"""

_NAV = """</head><body>
<nav><a href="docs">Swagger UI</a><a href="redoc">ReDoc</a><a href="openapi.json">openapi.json</a></nav>
"""

_SWAGGER: Final = (
    _HEAD
    + """<link rel="stylesheet" href="docs/swagger-ui.css">"""
    + _NAV
    + """<div id="swagger"></div>
<script src="docs/swagger-ui-bundle.js"></script><script src="docs/swagger.js"></script>
</body></html>
"""
)

_REDOC: Final = (
    _HEAD
    + _NAV
    + """<div id="redoc"></div>
<script src="docs/redoc.standalone.js"></script><script src="docs/redoc.js"></script>
</body></html>
"""
)
