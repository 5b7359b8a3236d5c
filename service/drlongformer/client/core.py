"""The client's whole conduct without a connection: attempts, pauses, deadlines, requests under the limits.

Steps are generators. They yield what must be done, `Send` or `Pause`, and are given what came of it; the two clients only drive
them, one by blocking and one by awaiting, so nothing below is written twice.

    plan:  units -> batches under the service's limits       (asks for the limits once, if there is more than one unit)
    ask:   batch -> Send -> 429, Retry-After: 2 -> Pause(2) -> Send -> 200 -> Part
                         -> 413 of several units -> the first half, then the second
    join:  parts -> one answer
"""

from __future__ import annotations

import dataclasses
import email.utils
import json
import random
import time
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, islice
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from drlongformer.client.calls import A, Job, R
from drlongformer.client.errors import (
    Busy,
    InvalidSetting,
    OutOfTime,
    Problem,
    Refused,
    TooLong,
    UnexpectedAnswer,
    Unreachable,
    Untrusted,
    refusal,
)
from drlongformer.client.results import Failure, Limits, Model, ModelDetails, ModelList, ModelSummary, Usage

T = TypeVar("T")

LARGEST_PAUSE_SECONDS: Final = 30.0
FIRST_PAUSE_SECONDS: Final = 0.5
PROBLEM: Final = TypeAdapter(Problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Do one exchange with the service, within so many seconds."""

    method: str
    path: str
    body: bytes | None = None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the service answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Step = Send | Pause
Outcome = Reply | Unreachable | None
Steps = Generator[Step, Outcome, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long and how often one request is tried.

    deadline_seconds: for one request with all its attempts and pauses; the service is told what is left of it. retries:
    attempts after the first. request_bytes: of documents in one request, at most; one that is longer goes alone. Raises
    InvalidSetting.
    """

    deadline_seconds: float = 300.0
    retries: int = 8
    request_bytes: int = 128 * 1024
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        if not self.deadline_seconds > 0 or self.retries < 0 or self.request_bytes < 1:
            raise InvalidSetting(
                f"a deadline of {self.deadline_seconds} seconds, {self.retries} retries, {self.request_bytes} bytes a request: "
                "the first and the last must be above 0, retries not below"
            )

    def pause_seconds(self, attempt: int, error: Unreachable | Refused) -> float:
        """What the service asked for, else twice as long each time; never the same for all who were refused together."""
        asked = error.retry_after_seconds if isinstance(error, Refused) else None
        if asked is not None:
            return asked * (1 + 0.1 * self.jitter())
        return float(min(LARGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)) * (0.5 + 0.5 * self.jitter()))


def exchange(method: str, path: str, policy: Policy, *, body: bytes | None = None) -> Steps[Reply]:
    """One request with its attempts. Raises Refused, Unreachable and OutOfTime."""
    deadline, attempt = policy.clock() + policy.deadline_seconds, 0
    while True:
        attempt += 1
        left = deadline - policy.clock()
        if left <= 0:
            raise OutOfTime(f"{path} was not answered within {policy.deadline_seconds:g} seconds, attempt {attempt}")
        outcome = yield Send(method=method, path=path, body=body, seconds=left)
        error = _error(outcome)
        if error is None:
            assert isinstance(outcome, Reply)
            return outcome
        again = isinstance(error, Unreachable | Busy) and not isinstance(error, Untrusted) and attempt <= policy.retries
        pause = policy.pause_seconds(attempt, error)
        if not again or policy.clock() + pause >= deadline:
            raise error
        yield Pause(seconds=pause)


def _error(outcome: Outcome) -> Unreachable | Refused | None:
    if not isinstance(outcome, Reply):
        return outcome
    if outcome.status < 300:
        return None
    return refusal(_problem(outcome), retry_after_seconds=retry_after_seconds(outcome.headers))


def _problem(reply: Reply) -> Problem:
    """The problem told, or one of our own for an answer of something between us and the service."""
    try:
        return PROBLEM.validate_json(reply.body)
    except ValidationError:
        detail = f"{len(reply.body)} bytes that are no problem of this service; a proxy or another service may have answered"
        return Problem(type="about:blank", title="Refused", status=reply.status, detail=detail)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds or as a date (RFC 9110, 10.2.3); None where there is none that can be read."""
    told = headers.get("retry-after", "").strip()
    if told.isdecimal():
        return float(told)
    try:
        then = email.utils.parsedate_to_datetime(told)
    except ValueError:
        return None
    return max(0.0, then.timestamp() - time.time())


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Units of one request; `start` is the first one's place in the call."""

    start: int
    units: tuple[bytes, ...]

    def halves(self) -> tuple[Batch, Batch]:
        """Both parts of it, in order."""
        middle = len(self.units) // 2
        return (
            Batch(start=self.start, units=self.units[:middle]),
            Batch(start=self.start + middle, units=self.units[middle:]),
        )


def batches(units: Iterable[bytes], *, most: int, request_bytes: int) -> Iterator[Batch]:
    """Units in order, at most so many and so many bytes together; one that is longer goes alone."""
    held: list[bytes] = []
    start = size = 0
    for unit in units:
        if held and (len(held) == most or size + len(unit) > request_bytes):
            yield Batch(start=start, units=tuple(held))
            start, held, size = start + len(held), [], 0
        held.append(unit)
        size += len(unit)
    if held:
        yield Batch(start=start, units=tuple(held))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Generic[R]):
    """What one request brought."""

    model: Model
    results: tuple[R, ...]
    failures: tuple[Failure, ...]
    usage: Usage

    @property
    def documents(self) -> int:
        """How many were asked."""
        return len(self.results) + len(self.failures)


@dataclass(slots=True, kw_only=True)
class Core:
    """What a client's calls share: the policy, and the limits by model, asked once."""

    policy: Policy
    limits: dict[str | None, Limits] = field(default_factory=dict)

    def plan(self, job: Job[R, A]) -> Steps[Iterator[Batch]]:
        """The requests of a job, made as they are sent, so that documents may come from a stream."""
        first = list(islice(job.units, 2))
        units = chain(first, job.units)
        if len(first) < 2:
            return batches(units, most=1, request_bytes=self.policy.request_bytes)
        limits = yield from self._limits(job.model)
        room = limits.max_body_bytes - len(job.body(())) - limits.max_documents
        return batches(units, most=limits.max_documents, request_bytes=min(self.policy.request_bytes, room))

    def _limits(self, model: str | None) -> Steps[Limits]:
        if model not in self.limits:
            name = model or model_list((yield from self.get("/models")))[0].name
            self.limits[model] = read(ModelDetails, (yield from self.get(model_path(name)))).limits
        return self.limits[model]

    def get(self, path: str) -> Steps[Reply]:
        """`GET`, with all attempts."""
        return exchange("GET", path, self.policy)

    def health(self, path: str) -> Steps[bool]:
        """Whether a health route says yes; asked once, for a no is an answer too, and so is nobody there. Raises Untrusted."""
        try:
            yield from exchange("GET", path, dataclasses.replace(self.policy, retries=0))
        except Untrusted:
            raise
        except (Busy, Unreachable):
            return False
        return True

    def ask(self, job: Job[R, A], batch: Batch) -> Steps[list[Part[R]]]:
        """One request; where it is too large for some limit on the way, its halves. Raises Refused, Unreachable, OutOfTime."""
        try:
            reply = yield from exchange("POST", job.path, self.policy, body=job.body(batch.units, start=batch.start))
        except TooLong as error:
            if len(batch.units) < 2 or error.problem.names_a_document:
                raise error.moved(batch.start) from None
        except Refused as error:
            raise error.moved(batch.start) from None
        else:
            return [_part(job, batch, reply)]
        first, second = batch.halves()
        return [*(yield from self.ask(job, first)), *(yield from self.ask(job, second))]


def join(job: Job[R, A], parts: Sequence[Part[R]]) -> A:
    """The answer of a call."""
    return job.answer(
        results=tuple(result for part in parts for result in part.results),
        failures=tuple(failure for part in parts for failure in part.failures),
        models=tuple(dict.fromkeys(part.model for part in parts)),
        usage=sum((part.usage for part in parts), Usage()),
        requests=len(parts),
    )


def _part(job: Job[R, A], batch: Batch, reply: Reply) -> Part[R]:
    """Raises UnexpectedAnswer."""
    told = _json(reply)
    try:
        placed = [result | {"index": result["index"] + batch.start} for result in told["results"]]
        if len(placed) != len(batch.units):
            raise UnexpectedAnswer(f"{len(placed)} results for {len(batch.units)} documents of {job.path}")
        failures = tuple(_as(Failure, result) for result in placed if "error" in result)
        return Part(
            model=_as(Model, told["model"]),
            results=tuple(_as(job.single, result) for result in placed if "error" not in result),
            failures=tuple(dataclasses.replace(each, error=_cause(job, batch, each)) for each in failures),
            usage=_as(Usage, told["usage"]),
        )
    except (KeyError, TypeError) as error:
        raise UnexpectedAnswer(f"the answer of {job.path} is not of the known form: {type(error).__name__}") from None


def _cause(job: Job[R, A], batch: Batch, failure: Failure) -> Problem:
    """What is wrong with a unit: what was seen here, where something stood in its place, else what the service told."""
    return job.unfit.get(failure.index) or failure.error.moved(batch.start)


def model_list(reply: Reply) -> tuple[ModelSummary, ...]:
    """Every model that is served, at least one. Raises UnexpectedAnswer."""
    models = read(ModelList, reply).models
    if not models:
        raise UnexpectedAnswer("the service serves no model")
    return models


def model_path(name: str) -> str:
    """The route of one model."""
    return f"/models/{quote(name, safe=':')}"


def text(reply: Reply) -> str:
    """The body of an answer that is plain text."""
    return reply.body.decode()


def read(kind: type[T], reply: Reply) -> T:
    """The body of an answer as one of our types. Raises UnexpectedAnswer."""
    return _as(kind, _json(reply))


def _json(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except ValueError:
        raise UnexpectedAnswer(f"an answer of {len(reply.body)} bytes that is not JSON") from None


def _as(kind: type[T], value: Any) -> T:
    try:
        found: T = adapter(cast("Hashable", kind)).validate_python(value)
    except ValidationError as error:  # its message quotes the answer
        places = ", ".join(".".join(map(str, each["loc"])) or "it" for each in error.errors(include_input=False)[:3])
        raise UnexpectedAnswer(f"an answer is not of the form of {kind.__name__}: see {places}") from None
    return found


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """The reader of a type, made once."""
    return TypeAdapter(kind)
