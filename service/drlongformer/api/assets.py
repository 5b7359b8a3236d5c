"""Pages and files for browsers, sent as they are shipped: named one by one, typed, and under a strict policy.

Nothing of another site is ever loaded, and the policy has the browser see to that. A file's address carries no version, so the
browser asks each time and is told 304 while it has the same bytes. What is on no shelf does not exist, whatever lies beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Final

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'{styles}; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_ALONE: Final = {"Cross-Origin-Opener-Policy": "same-origin", "Referrer-Policy": "no-referrer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Files of one folder that anyone may fetch at `{prefix}/{name}`; a name holds no slash."""

    prefix: str
    folder: Traversable
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        untyped = [name for name in self.names if "/" in name or PurePosixPath(name).suffix not in MEDIA_TYPES]
        if untyped:
            raise ValueError(f"no media type, or a slash in the name: {untyped}")

    @property
    def route(self) -> str:
        """The template of their addresses."""
        return f"{self.prefix}/{{name}}"

    @property
    def paths(self) -> frozenset[str]:
        """Their addresses, for `gate.OPEN`."""
        return frozenset(f"{self.prefix}/{name}" for name in self.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """The bytes of one file, their type, and the tag by which a browser knows them again."""

    content: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, file: Traversable) -> Asset:
        """The asset in a file. Raises OSError."""
        content = file.read_bytes()
        return cls(
            content=content,
            media_type=MEDIA_TYPES[PurePosixPath(file.name).suffix],
            etag=f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        )

    def response(self, known: str | None) -> Response:
        """The answer to who has the bytes of the tags `known` (its `If-None-Match`)."""
        headers = {"ETag": self.etag, "Cache-Control": "no-cache", "Cross-Origin-Resource-Policy": "same-origin"}
        if known is not None and {self.etag, "*"} & {tag.strip().removeprefix("W/") for tag in known.split(",")}:
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def shelf_routes(shelf: Shelf) -> APIRouter:
    """The route of a shelf; its files are read here, once. Raises OSError where one is missing."""
    router = APIRouter()
    assets = {name: Asset.read(shelf.folder / name) for name in shelf.names}

    @router.api_route(shelf.route, methods=["GET", "HEAD"], include_in_schema=False)
    async def asset(name: str, request: Request) -> Response:
        """One file. Raises HTTPException for a name that is not on the shelf."""
        if name not in assets:
            raise HTTPException(404, "Not Found")
        return assets[name].response(request.headers.get("if-none-match"))

    return router


def page(html: str, *, style_hashes: Iterable[str] = ()) -> HTMLResponse:
    """A page whose scripts and styles come from files; `style_hashes` (`sha256-...`) let in styles that its scripts make."""
    styles = "".join(f" '{each}'" for each in style_hashes)
    return HTMLResponse(html, headers={"Content-Security-Policy": _POLICY.format(styles=styles), **_ALONE})
