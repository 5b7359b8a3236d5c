"""Who may ask what: every request's key, route and quota are checked before its body is read.

Access is denied by default. `SCOPES` and `OPEN` name every route there is; a path in neither does not exist, whatever the
router knows. The decision is made from the path that the router matches, never from a URL, which the `Host` header is part of.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Request

from drlongformer.api import pages
from drlongformer.api.keys import Key, Ring, Scope
from drlongformer.api.playground import PAGE
from drlongformer.api.playground import SHELF as PLAYGROUND
from drlongformer.api.problems import slug
from drlongformer.api.quota import Quotas, Tally, Usage
from drlongformer.api.record import Record, record_of
from drlongformer.api.schemas import CommonRequest
from drlongformer.errors import Forbidden
from drlongformer.serving.requests import Caller

B = TypeVar("B", bound=CommonRequest[Any])

SHELVES: Final = (pages.SHELF, PLAYGROUND)

PROBES: Final = frozenset({"/livez", "/readyz", "/health", "/tei/health", "/v2/health/live", "/v2/health/ready"})

OPEN: Final = PROBES.union({pages.SWAGGER, pages.REDOC, "/openapi.json", PAGE}, *(shelf.paths for shelf in SHELVES))
"""Paths for anyone: probes cannot carry a key, and the documents and pages say no more than the published source does."""

OPEN_ROUTES: Final = OPEN.union(shelf.route for shelf in SHELVES)
"""The same, and the templates that logs name them by."""

SCOPES: Final[Mapping[str, Scope]] = {
    "/embed": "infer",
    "/ner": "infer",
    "/classify": "infer",
    "/analyze": "infer",
    "/fill-mask": "infer",
    "/similarity": "infer",
    "/multiple-choice": "infer",
    "/tokenize": "infer",
    "/models": "infer",
    "/models/{name}": "infer",
    "/v1/embeddings": "infer",
    "/v1/models": "infer",
    "/v1/models/{name}": "infer",
    "/hf/{task}": "infer",
    "/tei": "infer",
    "/tei/embed": "infer",
    "/tei/predict": "infer",
    "/tei/similarity": "infer",
    "/tei/tokenize": "infer",
    "/tei/info": "infer",
    "/v2": "infer",
    "/v2/models/{name}": "infer",
    "/v2/models/{name}/ready": "infer",
    "/v2/models/{name}/infer": "infer",
    "/v2/models/{name}/versions/{version}": "infer",
    "/v2/models/{name}/versions/{version}/ready": "infer",
    "/v2/models/{name}/versions/{version}/infer": "infer",
    "/usage": "admin",
    "/debug/slow": "admin",
    "/metrics": "metrics",
}
"""The scope that each other route asks for."""

RELOAD_SECONDS: Final = 1.0

_SCOPES = tuple((compile_path(template)[0], scope) for template, scope in SCOPES.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The keys in force, what is left of their quotas, and what they did."""

    ring: Ring
    quotas: Quotas = field(default_factory=Quotas)
    usage: Usage = field(default_factory=Usage)

    @classmethod
    def of(cls, path: Path | None) -> Access | None:
        """The access that a file of keys grants; None where no key is asked. Raises SettingsError."""
        return None if path is None else cls(ring=Ring(path))


class KeyGate:
    """Middleware that lets in who may, notes the key in the request's record, and keeps the usage of each key."""

    def __init__(
        self, app: ASGIApp, *, access: Access, linger_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """linger_seconds: how long a refused body is still read, so that its peer sees the answer."""
        self._app = app
        self._access = access
        self._linger_seconds = linger_seconds
        self._clock = clock

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        """Check, run, account. Raises Unauthorized, Forbidden, Quota, and HTTPException for a path that does not exist."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        record = record_of(scope)
        try:
            key = self._access.ring.identify([value for name, value in scope["headers"] if name == b"authorization"])
        except Exception:
            self._leave_body(record, scope)
            raise
        record.key = key
        tally = self._access.usage.of(key, datetime.now(UTC).date())
        tally.requests += 1
        try:
            try:
                self._check(key, scope["path"])
            except Exception:
                self._leave_body(record, scope)
                raise
            await self._app(scope, receive, send)
        except Exception as error:
            tally.refused[slug(error)] += 1
            raise
        finally:
            self._charge(key, tally, record)

    def _check(self, key: Key, path: str) -> None:
        asked = required(path)
        if asked is None:
            raise HTTPException(404, "Not Found")
        if asked not in key.scopes:
            raise Forbidden(f"this route needs a key with the scope {asked!r}")
        if asked == "infer":
            self._access.quotas.admit(key, now=self._clock())

    def _charge(self, key: Key, tally: Tally, record: Record) -> None:
        """What was answered; a refusal has no tokens."""
        if record.tokens is not None:
            tally.tokens += record.tokens
            tally.documents += record.documents or 0
            self._access.quotas.charge(key, record.tokens, now=self._clock())

    def _leave_body(self, record: Record, scope: Request) -> None:
        """A request that is refused before its body was read: without one its connection can go on, else the rest is let in."""
        headers = Headers(scope=scope)
        if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
            record.body_complete = True
        elif headers.get("expect", "").lower() != "100-continue":
            record.linger_seconds = self._linger_seconds


def required(path: str) -> Scope | None:
    """The scope that a path asks for; None where there is no such route."""
    return next((scope for template, scope in _SCOPES if template.fullmatch(path)), None)


def asked_by(key: Key | None, body: B) -> B:
    """The request in the turns of its key, and in its lane if it names none. Raises Forbidden for one the key may not use."""
    if key is None:
        return body
    asked = body.priority if "priority" in body.model_fields_set else key.lane
    if asked != key.lane == "bulk":
        raise Forbidden("this key may only ask for the priority 'bulk'", location=("priority",))
    return body.asked_by(Caller(name=key.id, weight=key.weight), priority=asked)


async def follow(ring: Ring) -> None:
    """Keep the ring as its file is, until cancelled."""
    while True:
        await asyncio.sleep(RELOAD_SECONDS)
        await asyncio.to_thread(ring.refresh)


class KeyUsage(BaseModel):
    """What one key did on one day; refused: how many of its requests, by kind of problem."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date
    key: str
    requests: int
    documents: int
    tokens: int
    refused: dict[str, int]


class UsageReport(BaseModel):
    """Answer of `GET /usage`: days are UTC, the latest first; counted in memory, since this process started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: datetime
    usage: list[KeyUsage]


def report(access: Access | None, *, since: datetime) -> UsageReport:
    """The usage of every key; none where no key is asked."""
    return UsageReport(
        since=since,
        usage=[
            KeyUsage(
                day=day,
                key=key,
                requests=tally.requests,
                documents=tally.documents,
                tokens=tally.tokens,
                refused=dict(tally.refused),
            )
            for day, key, tally in (access.usage if access else ())
        ],
    )
