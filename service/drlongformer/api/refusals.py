"""Which refusals each route can give, for the OpenAPI document: the error tree's own sentences, grouped by status.

Statuses and names come from the table in `problems.py`, so the document cannot tell others than the answers do. What any server
may meet, whatever is asked (a head that is no HTTP, a defect), is told of every route; a body only of routes that read one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Final

from drlongformer.api.gate import OPEN, required
from drlongformer.api.problems import (
    COME_BACK,
    MEDIA_TYPE,
    STATUS,
    ForeignHost,
    HeadersTooLarge,
    HeadersTooSlow,
    MalformedHead,
    named,
)
from drlongformer.errors import (
    AnswerTooLarge,
    BodyTooLarge,
    BodyTooSlow,
    DeadlineExceeded,
    DeviceLost,
    DeviceOutOfMemory,
    DocumentTooLong,
    DrLongformerError,
    EmptyText,
    EngineFailed,
    Forbidden,
    InvalidRequest,
    MalformedBody,
    MaskError,
    NotReady,
    Overloaded,
    Quota,
    Unauthorized,
    UnknownLabel,
    UnknownModel,
    UnsupportedTask,
)

Errors = tuple[type[DrLongformerError], ...]

_HEAD: Final[Errors] = (MalformedHead, HeadersTooSlow, HeadersTooLarge)
_TASK: Final[Errors] = (
    MalformedBody,
    BodyTooSlow,
    BodyTooLarge,
    InvalidRequest,
    EmptyText,
    UnsupportedTask,
    UnknownModel,
    DocumentTooLong,
    Overloaded,
    NotReady,
    EngineFailed,
    DeviceOutOfMemory,
    DeviceLost,
    DeadlineExceeded,
)
_READY: Final[Errors] = (NotReady, EngineFailed, DeviceLost)

ROUTES: Final[Mapping[str, Errors]] = {
    "/embed": _TASK,
    "/ner": (*_TASK, UnknownLabel),
    "/classify": _TASK,
    "/analyze": (*_TASK, UnknownLabel),
    "/fill-mask": (*_TASK, MaskError, AnswerTooLarge),
    "/similarity": _TASK,
    "/multiple-choice": _TASK,
    "/tokenize": (*_TASK, AnswerTooLarge),
    "/models": (),
    "/models/{name}": (UnknownModel,),
    "/livez": (EngineFailed, DeviceLost),
    "/readyz": _READY,
    "/health": _READY,
    "/usage": (),
    "/debug/slow": (),
    "/metrics": (),
}
"""What each route of our own can meet once it is asked."""

_HEADERS: Final[Mapping[int, Mapping[str, Any]]] = {
    401: {"WWW-Authenticate": {"description": "How to show a key.", "schema": {"const": "Bearer"}}},
    415: {"Accept-Encoding": {"description": "Where the coding is at fault: `gzip`.", "schema": {"type": "string"}}},
}
_RETRY_AFTER: Final = {
    "description": "Whole seconds after which to ask again.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}


def of(path: str, *, keyed: bool) -> dict[str, Any]:
    """The answers of one route that are problems, by status, as OpenAPI writes them; keyed: whether keys are asked."""
    told: dict[int, list[str]] = {}
    for status, sentence in _sentences(path, keyed=keyed):
        told.setdefault(status, []).append(sentence)
    return {str(status): _answer(status, sentences) for status, sentences in sorted(told.items())}


def _sentences(path: str, *, keyed: bool) -> Iterator[tuple[int, str]]:
    for error in (*_HEAD, *ROUTES[path], *_of_keys(path, keyed=keyed)):
        meaning = (inspect.getdoc(error) or "").partition("\n\n")[0].replace("\n", " ")
        yield STATUS[error], f"`{named(error)}`: {meaning}"
    if MalformedBody in ROUTES[path]:
        yield 415, "`unsupported-media-type`: The body is not sent as JSON in UTF-8, plain or in gzip."
    yield 500, "`internal-error`: A defect of the service; its log names it under the request's id."


def _of_keys(path: str, *, keyed: bool) -> Errors:
    """Who may not ask: foreign pages where anyone on this machine may, else who has no key for this route."""
    if not keyed:
        return (ForeignHost,)
    if path in OPEN:
        return ()
    return (Unauthorized, Forbidden, Quota) if required(path) == "infer" else (Unauthorized, Forbidden)


def _answer(status: int, sentences: list[str]) -> dict[str, Any]:
    headers = dict(_HEADERS.get(status, {})) | ({"Retry-After": _RETRY_AFTER} if status in COME_BACK else {})
    shown = {"description": "\n".join(sentences), "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    return shown | ({"headers": headers} if headers else {})
