r"""Refusals before a body is parsed: a full service does no work for what it cannot admit.

    body read -> room for one block of the caller, in any lane of any model that may be meant? -> parsed, tokenized, queued
                 \-> 429, with the time after which there is room for a document as long as the whole body

What is refused here would be refused after parsing and tokenizing too, or told of another mistake; nothing is that would be
admitted. `/tokenize` asks nothing of an engine, and is never refused here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import Scope

from drlongformer.api.keys import Key
from drlongformer.api.record import Record, record_of
from drlongformer.errors import InvalidRequest, NotReady, Overloaded
from drlongformer.serving.batcher import Batcher
from drlongformer.serving.models import ANSWERING, Models
from drlongformer.serving.queue import Terms
from drlongformer.serving.requests import PRIORITIES, Priority
from drlongformer.settings import Limits
from drlongformer.types import TASKS, Task

ENGINE_ROUTES: Final[Mapping[str, tuple[Task, ...]]] = {
    "/embed": ("embed",),
    "/ner": ("ner",),
    "/classify": ("classify",),
    "/analyze": ("embed", "ner", "classify"),
    "/fill-mask": ("fill-mask",),
    "/similarity": ANSWERING["similarity"],
    "/multiple-choice": ("multiple-choice",),
    "/v1/embeddings": ("embed",),
    "/hf/{task}": TASKS,
    "/tei": TASKS,
    "/tei/embed": ("embed",),
    "/tei/predict": TASKS,
    "/tei/similarity": ANSWERING["similarity"],
    "/v2/models/{name}/infer": TASKS,
    "/v2/models/{name}/versions/{version}/infer": TASKS,
}
"""The routes that ask something of an engine, with the tasks that a request of them may mean."""

_ANYBODY: Final = tuple(Terms(priority=priority) for priority in PRIORITIES)

_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")


def allowed_seconds(headers: Headers, *, longest: float) -> float:
    """What `X-Request-Timeout` asks for, at most the service's own limit. Raises InvalidRequest."""
    asked = headers.get("x-request-timeout")
    if asked is None:
        return longest
    if not _SECONDS.fullmatch(asked) or not float(asked) > 0:
        raise InvalidRequest(
            f"X-Request-Timeout must be seconds above 0 in plain digits, such as 30 or 2.5, and counts up to {longest:g}",
            location=("header", "X-Request-Timeout"),
        )
    return min(float(asked), longest)


class Room:
    """Whether the queues have room for anything at all of a request."""

    def __init__(self, models: Models, *, limits: Limits) -> None:
        self._models = models
        self._limits = limits
        self._patterns = [(compile_path(route)[0], tasks) for route, tasks in ENGINE_ROUTES.items() if "{" in route]

    def require(self, scope: Scope, *, body_bytes: int) -> None:
        """Raise Overloaded, and InvalidRequest for a deadline that is none. body_bytes: size of the body, unpacked."""
        tasks = self._tasks(scope)
        record = record_of(scope)
        places = list(self._places(tasks, record)) if tasks else []
        if not places or any(batcher.has_space(batcher.slots_of([1]), terms) for batcher, terms in places):
            return
        left = allowed_seconds(Headers(scope=scope), longest=self._limits.request_seconds) - record.elapsed_seconds
        deadline = time.monotonic() + left
        refusals = []
        for batcher, terms in places:
            try:
                _require_block(batcher, replace(terms, deadline=deadline), body_bytes=body_bytes)
            except Overloaded as refusal:
                refusals.append(refusal)
            except NotReady:
                return  # the route tells of it
        # Which of them it is for is not known yet: the latest time is true for all.
        raise max(refusals, key=lambda refusal: refusal.retry_after_seconds or 0.0)

    def _tasks(self, scope: Scope) -> tuple[Task, ...]:
        if scope["method"] != "POST":
            return ()
        path = scope["path"]
        return ENGINE_ROUTES.get(path) or next((tasks for pattern, tasks in self._patterns if pattern.match(path)), ())

    def _places(self, tasks: tuple[Task, ...], record: Record) -> Iterator[tuple[Batcher, Terms]]:
        """The queues of all models that may be meant, and how the caller would wait in each lane it may ask for."""
        for model in self._models:
            if not set(tasks).isdisjoint(model.bundle.tasks):
                for terms in _ways(record.key):
                    yield model.batcher, terms


def _ways(key: Key | None) -> tuple[Terms, ...]:
    """How a caller may wait: in each lane it may ask for."""
    if key is None:
        return _ANYBODY
    lanes: tuple[Priority, ...] = ("bulk",) if key.lane == "bulk" else PRIORITIES
    return tuple(Terms(priority=lane, caller=key.id, weight=key.weight) for lane in lanes)


def _require_block(batcher: Batcher, terms: Terms, *, body_bytes: int) -> None:
    """Raise what the smallest document is refused with; it is told when there is room for a slot a byte."""
    batcher.require_space(batcher.slots_of([1]), terms, most=batcher.slots_of([max(1, body_bytes)]))
