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

from drlongformer.api.keys import Key
from drlongformer.serving.requests import Timings

KEY: Final = "drlongformer.record"
BROKEN: Final = "drlongformer.broken"
"""In a request's scope, what is wrong with its body when the peer broke HTTP itself while it sent it."""

LEFT: Final = "drlongformer.left"
"""In a request's scope once the peer has shut its side down: it counts as having left, whether or not it still listens."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True, kw_only=True)
class Record:
    """Filled in by whoever learns something; the only mutable thing that travels with a request.

    body_complete: whether the body was read to its end. linger_seconds: how long what still comes of a body that was refused is
    read after the answer. admitted: whether the pipeline has the request, and so counts
    its refusals itself. read_seconds: when it was read and checked. key: whose request it is, where keys are asked.
    """

    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: float = field(default_factory=time.perf_counter)
    body_bytes: int = 0
    body_complete: bool = False
    linger_seconds: float = 0.0
    admitted: bool = False
    read_seconds: float | None = None
    key: Key | None = None
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


def size_class(size: int) -> str:
    """A size as it may be told, by the next power of two: an exact one could tell which document it was."""
    return f"le{1 << (size - 1).bit_length()}" if size > 0 else "0"


def begin(scope: Scope) -> Record:
    """Start the record of a request, once; the caller's id is kept if it is harmless."""
    if KEY not in scope:
        wished = Headers(scope=scope).get("x-request-id", "")
        scope[KEY] = Record(request_id=wished) if _REQUEST_ID.fullmatch(wished) else Record()
    return record_of(scope)


def record_of(scope: Mapping[str, object]) -> Record:
    """The record of the request that is being answered."""
    record = scope[KEY]
    assert isinstance(record, Record)
    return record
