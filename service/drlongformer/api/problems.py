"""Errors as `application/problem+json` (RFC 9457): one table from the error tree to statuses, one shape of answer.

The kind and title of a problem come from the name of its class (`DocumentTooLong` -> `/problems/document-too-long`, "Document
too long"), so the tree in `errors.py` is the vocabulary that clients see. A problem never holds a word of the input: our own
errors' messages name limits and figures, and whatever else goes wrong is told in one fixed sentence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus

from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import Response

from drlongformer.errors import (
    AnswerTooLarge,
    BodyTooLarge,
    BodyTooSlow,
    Cancelled,
    DeadlineExceeded,
    DeviceLost,
    DeviceOutOfMemory,
    DocumentTooLong,
    DrLongformerError,
    EmptyText,
    EngineFailed,
    Forbidden,
    InputError,
    InvalidRequest,
    MalformedBody,
    MaskError,
    NotReady,
    Overloaded,
    Quota,
    ServiceError,
    Unauthorized,
    UnknownLabel,
    UnknownModel,
    UnsupportedTask,
)

MEDIA_TYPE = "application/problem+json"


class HeadersTooLarge(InputError):
    """The request line and headers are over their byte limit, before there is a body to speak of."""


class HeadersTooSlow(InputError):
    """The request line and headers did not arrive in time."""


class MalformedHead(InputError):
    """The request line or a header is not HTTP/1.1, or could be read in two ways."""


class ForeignHost(InputError):
    """The Host header names another service: a page of another site may be asking through a browser on this machine."""


STATUS: Mapping[type[DrLongformerError], int] = {
    MalformedBody: 400,
    InvalidRequest: 422,
    EmptyText: 422,
    MaskError: 422,
    UnknownLabel: 422,
    UnsupportedTask: 422,
    UnknownModel: 404,
    DocumentTooLong: 413,
    AnswerTooLarge: 413,
    BodyTooLarge: 413,
    MalformedHead: 400,
    ForeignHost: 421,
    HeadersTooSlow: 408,
    HeadersTooLarge: 413,  # 431 is known to few clients; the contract has one status for what is too large
    BodyTooSlow: 408,
    Unauthorized: 401,
    Forbidden: 403,
    Overloaded: 429,
    Quota: 429,
    NotReady: 503,
    EngineFailed: 503,
    DeviceOutOfMemory: 503,
    DeviceLost: 503,
    Cancelled: 499,  # nobody reads it; the metrics and logs do
    DeadlineExceeded: 504,
}
"""Every error a request can meet; all others are unexpected, hence 500."""

COME_BACK = frozenset({429, 503})
DEFAULT_RETRY_AFTER_SECONDS = 1.0


class FieldError(BaseModel):
    """What is wrong with one field: the path to it, and a sentence with the limit and the actual figure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loc: tuple[str | int, ...]
    msg: str


class Problem(BaseModel):
    """The body of every refusal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: tuple[FieldError, ...] = ()


class SchemaMismatch(InvalidRequest):
    """The body breaks the schema in one or more fields."""

    def __init__(self, fields: tuple[FieldError, ...]) -> None:
        more = f" (and {len(fields) - 1} more, see errors)" if len(fields) > 1 else ""
        super().__init__(f"{placed(fields[0])}{more}")
        self.fields = fields


def placed(field: FieldError) -> str:
    """A field's sentence, with its place before it."""
    return f"{'.'.join(map(str, field.loc))}: {field.msg}" if field.loc else field.msg


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """The row an error falls under: its status, and the words its type and title are made of."""

    status: int
    words: str

    @property
    def slug(self) -> str:
        return self.words.lower().replace(" ", "-")


_ROUTER_DETAILS: Mapping[str, str] = {
    "Not Found": "no such route; GET /docs lists them",
    "Method Not Allowed": "this route does not take this method; the Allow header names those it takes",
}
"""The router says no more than the status; we do."""

_UNEXPECTED = _Kind(status=500, words="Internal error")


def describe(error: Exception, *, instance: str) -> Problem:
    """The problem that tells of this error; `instance` is the request's id."""
    kind = _kind(error)
    return Problem(
        type=f"/problems/{kind.slug}",
        title=kind.words,
        status=kind.status,
        detail=_detail(error, kind),
        instance=instance,
        errors=_fields(error),
    )


def respond(error: Exception, *, instance: str) -> Response:
    """The whole answer to a failed request, headers included."""
    problem = describe(error, instance=instance)
    return Response(
        problem.model_dump_json(exclude_defaults=True),
        status_code=problem.status,
        headers=_headers(error, problem.status),
        media_type=MEDIA_TYPE,
    )


def slug(error: Exception) -> str:
    """The last part of the problem's type, as logs and metrics name it."""
    return _kind(error).slug


def named(error: type[DrLongformerError]) -> str:
    """The last part of the type of this error's problems; it is a row of the table."""
    return _Kind(status=STATUS[error], words=_words(error.__name__)).slug


def is_expected(error: Exception) -> bool:
    """Whether the error is one of ours or a plain refusal of HTTP, not a defect."""
    return _kind(error) is not _UNEXPECTED


def _kind(error: Exception) -> _Kind:
    for ancestor in type(error).__mro__:
        if ancestor in STATUS:
            return _Kind(status=STATUS[ancestor], words=_words(ancestor.__name__))
    if isinstance(error, HTTPException):
        return _Kind(status=error.status_code, words=HTTPStatus(error.status_code).phrase.capitalize())
    return _UNEXPECTED


@cache
def _words(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).capitalize()


def _detail(error: Exception, kind: _Kind) -> str:
    if kind is _UNEXPECTED:
        return "the service met an unexpected error; its log names it under this instance"
    if isinstance(error, HTTPException):
        return _ROUTER_DETAILS.get(error.detail, error.detail)
    return str(error)


def _fields(error: Exception) -> tuple[FieldError, ...]:
    if isinstance(error, SchemaMismatch):
        return error.fields
    if isinstance(error, InputError) and error.location:
        return tuple(_field(each) for each in (error, *error.others))
    return ()


def _field(error: InputError) -> FieldError:
    """Its place and its sentence, which need not begin with the place then."""
    return FieldError(loc=error.location, msg=str(error).removeprefix(placed(FieldError(loc=error.location, msg=""))))


def _headers(error: Exception, status: int) -> dict[str, str]:
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if headers.get("Allow") == "GET":  # the router names one route of those with the same path, and HEAD has its own
        headers["Allow"] = "GET, HEAD"
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status in COME_BACK:
        known = error.retry_after_seconds if isinstance(error, ServiceError) else None
        seconds = DEFAULT_RETRY_AFTER_SECONDS if known is None else known
        headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return headers
