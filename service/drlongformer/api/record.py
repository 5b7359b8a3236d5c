"""What is noted of one request while it is answered, for its headers, log line and metrics; never a word of its text."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from drlongformer.serving.requests import Timings

KEY: Final = "drlongformer.record"
BROKEN: Final = "drlongformer.broken"
"""Set in a request's scope when the peer broke HTTP itself while it sent the body."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True, kw_only=True)
class Record:
    """Filled in by whoever learns something; the only mutable thing that travels with a request.

    body_complete: whether the body was read to its end. admitted: whether the pipeline has the request, and so counts
    its refusals itself.
    """

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    body_bytes: int = 0
    body_complete: bool = False
    admitted: bool = False
    status: int | None = None
    problem: str | None = None
    documents: int | None = None
    tokens: int | None = None
    model: str | None = None
    timings: Timings | None = None

    @property
    def elapsed_seconds(self) -> float:
        """Time since the request's headers were read."""
        return time.perf_counter() - self.started


def begin(scope: Scope) -> Record:
    """Start the record of a request; the caller's id is kept if it is harmless."""
    wished = Headers(scope=scope).get("x-request-id", "")
    record = Record(request_id=wished if _REQUEST_ID.fullmatch(wished) else uuid.uuid4().hex)
    scope[KEY] = record
    return record


def record_of(scope: Mapping[str, object]) -> Record:
    """The record of the request that is being answered."""
    record = scope[KEY]
    assert isinstance(record, Record)
    return record
