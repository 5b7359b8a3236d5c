"""Errors in each surface's own form; statuses and headers are those of the problem (`problems.py`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from drlongformer.api import problems
from drlongformer.api.compat.bodies import json_bytes
from drlongformer.api.gate import OPEN, SCOPES
from drlongformer.api.problems import Problem

_CODES: Final[Mapping[str, str]] = {
    "unknown-model": "model_not_found",
    "unauthorized": "invalid_api_key",
    "overloaded": "rate_limit_exceeded",
    "quota": "rate_limit_exceeded",
}
_TEI_TYPES: Final[Mapping[int, str]] = {429: "Overloaded", 500: "Backend", 503: "Unhealthy", 504: "Backend"}


def respond(error: Exception, *, instance: str, path: str) -> Response:
    """The answer to a failed request, in the form of the surface that the path belongs to."""
    prefix = next((prefix for prefix in FORMS if _is_below(path, prefix)), None)
    if prefix is None:
        return problems.respond(error, instance=instance)
    if isinstance(error, HTTPException) and error.detail == "Not Found":
        routes = ", ".join(sorted(route for route in OPEN | SCOPES.keys() if _is_below(route, prefix)))
        error = HTTPException(error.status_code, f"no such route; below {prefix} there are {routes}", error.headers)
    answer = problems.respond(error, instance=instance)
    body = json_bytes(FORMS[prefix](problems.describe(error, instance=instance)))
    kept = {name: value for name, value in answer.headers.items() if name not in ("content-length", "content-type")}
    return Response(body, status_code=answer.status_code, headers=kept, media_type="application/json")


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def _openai(problem: Problem) -> dict[str, Any]:
    kind = problem.type.rpartition("/")[2]
    place = problem.errors[0].loc[:1] if problem.errors else ()
    if problem.status == 401:
        family = "authentication_error"
    elif problem.status == 429:
        family = "rate_limit_error"
    else:
        family = "invalid_request_error" if problem.status < 500 else "server_error"
    return {
        "error": {
            "message": re.sub(r"^inputs\b", "input", problem.detail),
            "type": family,
            "param": {"inputs": "input", "encoding": "encoding_format"}.get(str(place[0]), str(place[0])) if place else None,
            "code": _CODES.get(kind, kind.replace("-", "_")),
        }
    }


def _tei(problem: Problem) -> dict[str, Any]:
    return {"error": problem.detail, "error_type": _TEI_TYPES.get(problem.status, "Validation")}


def _plain(problem: Problem) -> dict[str, Any]:
    return {"error": problem.detail}


FORMS: Final[Mapping[str, Callable[[Problem], dict[str, Any]]]] = {
    "/v1": _openai,
    "/hf": _plain,
    "/tei": _tei,
    "/v2": _plain,
}
"""How each surface, by the prefix of its paths, tells a problem."""
