"""`/openapi.json`: generated from the very models that read requests and write answers.

Bodies and headers are read by our own strict readers, not by FastAPI, so what they take is put into the document here. It is
committed as `docs/openapi.json` (`make openapi`), so that a change of the contract is seen in a diff.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from drlongformer.api import refusals
from drlongformer.api.examples import EXAMPLES, READ
from drlongformer.api.problems import Problem
from drlongformer.api.schemas import CommonRequest

REFERENCE: Final = "#/components/schemas/{model}"

KEY: Final = "key"
"""Name of the way to show who one is."""

TITLE: Final = "DrLongformer service"
SUMMARY: Final = "Long French clinical documents in; embeddings, entities, classes, masked words, similarities and answers out."


def for_task(path: str, request: type[CommonRequest[Any]], answer: type[BaseModel]) -> dict[str, Any]:
    """Arguments of a task route that describe it: the schemas of both bodies, and the example."""
    example = EXAMPLES[path]
    body = {"schema": {"$ref": REFERENCE.format(model=request.__name__)}, "example": example.request}
    shown = {
        "model": answer,
        "description": "One result per document.",
        "content": {"application/json": {"example": example.answer}},
    }
    return {
        "responses": {200: shown},
        "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": body}}},
        "tags": ["tasks"],
    }


def for_reading(meaning: str, answer: type[BaseModel] | None = None, *, tag: str) -> dict[str, Any]:
    """Arguments of a GET route that describe it."""
    shown: dict[str, Any] = {"description": meaning}
    if answer is not None:
        shown["model"] = answer
    return {"responses": {200: shown}, "tags": [tag]}


def request_schemas(requests: tuple[type[CommonRequest[Any]], ...]) -> dict[str, Any]:
    """The schemas that FastAPI does not know of, by name."""
    inner = dict.fromkeys(body for request in requests for body in request.inner.values())
    models = [(model, "validation") for model in (*requests, *inner, Problem)]
    _, definitions = models_json_schema(models, ref_template=REFERENCE)  # type: ignore[arg-type]  # a list of pairs is one
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def ask_for_keys(document: dict[str, Any], *, but: Collection[str]) -> None:
    """Say in the document that every route asks for a key, but those that are open to anyone."""
    told = "A key as `drlongformer keys create` shows it once, `ID.SECRET`."
    document["components"]["securitySchemes"] = {KEY: {"type": "http", "scheme": "bearer", "description": told}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["security"] = [] if path in but else [{KEY: []}]


def tell_refusals(document: dict[str, Any], *, keyed: bool) -> None:
    """Put each route's refusals in the place of those that FastAPI presumes: what is sent is read by our own reader."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"] = {"200": operation["responses"]["200"], **refusals.of(path, keyed=keyed)}
    for presumed in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(presumed, None)


def tell_headers(document: dict[str, Any]) -> None:
    """Put into the document which headers are read, and which every answer has."""
    document["components"] |= {"parameters": dict(_READ), "headers": dict(_SENT)}
    told = {name: {"$ref": f"#/components/headers/{name}"} for name in _SENT}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            names = [name for name in _READ if path in EXAMPLES or name not in _OF_TASKS]
            read = [{"$ref": f"#/components/parameters/{name}"} for name in names]
            operation["parameters"] = [*operation.get("parameters", ()), *read]
            for answer in operation["responses"].values():
                answer["headers"] = told | answer.get("headers", {})


def show_examples(document: dict[str, Any]) -> None:
    """Put an answer of each route that only tells into the document, whole as FastAPI does not, and one of all refusals."""
    for path, answer in READ.items():
        for shown in document["paths"][path]["get"]["responses"]["200"]["content"].values():
            shown["example"] = answer
    document["components"]["schemas"]["Problem"]["examples"] = [
        {
            "type": "/problems/document-too-long",
            "title": "Document too long",
            "status": 413,
            "detail": "document 0 has 5120 tokens, the limit is 4096",
            "instance": _SENT["X-Request-Id"]["example"],
            "errors": [{"loc": ["inputs", 0], "msg": "document 0 has 5120 tokens, the limit is 4096"}],
        }
    ]


def written(document: Mapping[str, Any]) -> str:
    """The document as it is committed."""
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _parameter(name: str, description: str, schema: Mapping[str, Any], example: str) -> dict[str, Any]:
    """A header that may be sent."""
    return {"name": name, "in": "header", "description": description, "schema": dict(schema), "example": example}


_READ: Final[Mapping[str, Mapping[str, Any]]] = {
    "X-Request-Id": _parameter(
        "X-Request-Id",
        "The caller's own id of the request: it comes back, and stands in the log. Kept if it is 1 to 64 letters, digits, "
        "dots, underscores or hyphens of ASCII, else replaced by one of the service's.",
        {"type": "string"},
        "crh-2026-11-22.0042",
    ),
    "X-Request-Timeout": _parameter(
        "X-Request-Timeout",
        "Seconds, above 0, after which the caller no longer waits; it counts up to the service's own limit, which is also the "
        "default (`request_seconds` of `/models/{name}`). Where it cannot be met the request is refused at once, with 504.",
        {"type": "string", "pattern": r"^([0-9]*[1-9][0-9]*(\.[0-9]+)?|[0-9]+\.[0-9]*[1-9][0-9]*)$"},
        "30",
    ),
    "traceparent": _parameter(
        "traceparent",
        "The caller's span (W3C Trace Context), the parent of the service's where it sends spans; passed over if it is none.",
        {"type": "string"},
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
}

_OF_TASKS: Final = frozenset({"X-Request-Timeout"})

_SENT: Final[Mapping[str, Mapping[str, Any]]] = {
    "X-Request-Id": {
        "description": "The id of the request in the service's log, and `instance` of its problem.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "example": "crh-2026-11-22.0042",
    },
    "Server-Timing": {
        "description": "Milliseconds of each stage the request went through: `tokenize`, `queue`, `compute`, and `total`.",
        "required": True,
        "schema": {"type": "string"},
        "example": "tokenize;dur=1.92, queue;dur=0.31, compute;dur=18.40, total;dur=21.07",
    },
    "Cache-Control": {
        "description": "Nothing of an answer may be kept.",
        "required": True,
        "schema": {"const": "no-store"},
    },
    "X-Content-Type-Options": {
        "description": "A browser takes an answer for what its type says.",
        "required": True,
        "schema": {"const": "nosniff"},
    },
}
