"""The steps of a request's story that need no event loop: a unit read, a unit finished, the results of texts joined to pairs.

unit -> Read (its reading, or what is wrong with it) -> computed by the batcher -> Told (its result, its time in each stage)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from drlongformer.errors import DrLongformerError, EngineFailed, InputError
from drlongformer.serving.ledger import Computed, Outcome
from drlongformer.serving.metrics import Metrics, length_class, reason
from drlongformer.serving.models import ServedModel
from drlongformer.serving.queue import Terms
from drlongformer.serving.reading import Reader, Reading, Steps
from drlongformer.serving.requests import Answer, BatchShape, DocumentResult, RequestOptions, Timings
from drlongformer.types import Unit

MAX_TOLD: Final = 19
"""Other refused units that the first one's refusal tells of."""

A = TypeVar("A")
B = TypeVar("B")
U = TypeVar("U", bound=Unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is the same for all units of a request; queue_tokens: token slots that waited for the engines when it came."""

    task: str
    model: ServedModel
    options: RequestOptions
    started: float
    queue_tokens: int = 0

    @property
    def terms(self) -> Terms:
        """How it waits for the engines."""
        caller = self.options.caller
        return Terms(deadline=self.deadline, priority=self.options.priority, caller=caller.name, weight=caller.weight)

    @property
    def deadline(self) -> float | None:
        """On the clock of `started`, which is the batcher's."""
        seconds = self.options.deadline_seconds
        return None if seconds is None else self.started + seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Generic[A]):
    """A unit, and what came of reading it."""

    unit: Unit
    reading: Reading[A] | InputError
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Generic[A]):
    """A unit's result, and how long it was in each stage; one that was refused was in none."""

    result: DocumentResult[A]
    stages: Mapping[str, float]
    batch: BatchShape | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story(Generic[A]):
    """What became of a request's units, in order, and how long reading them took."""

    told: tuple[Told[A], ...]
    tokenize_seconds: float


COUNTED_CHARACTERS: Final = 65_536
"""Characters of a request that are looked at to tell how many tokens it has at least: half a millisecond of the event loop."""

OBSERVED_TOGETHER: Final = 64
"""Units whose figures are taken in one step, of a few milliseconds."""

NOT_COMPUTED = Computed(windows=(), queue_seconds=0.0, compute_seconds=0.0)
"""The outcome of a unit that asks nothing of the engine."""


def require_space(reader: Reader[U, A], units: Sequence[U], request: Request) -> None:
    """Raise Overloaded, before anything is tokenized, where a request has no room however few tokens its texts have.

    How many they may have at most, for the time to return, is guessed from above: one a character. With `on_error="report"`
    units may yet be left out, so one of them is all that is certain.
    """
    batcher, least = request.model.batcher, reader.least
    if least is None:
        return
    most = batcher.slots_of(unit.characters for unit in units)
    if batcher.has_space(most, request.terms):
        return
    lengths, left = [], COUNTED_CHARACTERS
    for unit in units:
        lengths.append(least(unit, left))
        left = max(0, left - unit.characters)
    certain = lengths if request.options.on_error == "fail" else [1]
    batcher.require_space(batcher.slots_of(certain), request.terms, most=most)


def read(
    reader: Reader[U, A], units: Sequence[U], options: RequestOptions, *, admit: Callable[[Reading[A]], None]
) -> Steps[list[Read[A]]]:
    """Read a request's units, one after the other, in a thread; what is wrong with one is told by its place in the request.

    What characters tell is asked of all of them before any is tokenised. With `on_error="fail"` the first refusal ends the
    reading. `admit` is told of each reading and raises where the units so far cannot be computed.
    """
    refused: dict[int, InputError] = {}
    for unit in units:
        error = _told(reader, unit)
        if error is not None:
            refused[unit.index] = error
        yield
    if refused and options.on_error == "fail":
        first, *others = refused.values()
        first.others = tuple(others[:MAX_TOLD])
        raise first
    found = []
    for unit in units:
        one = (
            Read(unit=unit, reading=refused[unit.index], seconds=0.0)
            if unit.index in refused
            else (yield from _read(reader, unit))
        )
        if isinstance(one.reading, Reading):
            admit(one.reading)
        elif options.on_error == "fail":
            raise one.reading
        found.append(one)
        yield
    return found


def _read(reader: Reader[U, A], unit: U) -> Steps[Read[A]]:
    """One unit; its seconds are those in which it was read, not those in which others had their turn."""
    steps, seconds = reader.read(unit), 0.0
    while True:
        started = time.perf_counter()
        try:
            next(steps)
        except StopIteration as end:
            return Read(unit=unit, reading=end.value, seconds=seconds + time.perf_counter() - started)
        except InputError as error:
            return Read(unit=unit, reading=_placed(error, unit), seconds=seconds + time.perf_counter() - started)
        seconds += time.perf_counter() - started
        yield


def _told(reader: Reader[U, A], unit: U) -> InputError | None:
    if unit.fault is not None:
        return _placed(unit.fault, unit)
    try:
        reader.check(unit)
    except InputError as error:
        return _placed(error, unit)
    return None


def _placed(error: InputError, unit: Unit) -> InputError:
    error.location = error.location or unit.place
    return error


def finish_all(read: Sequence[Read[A]], outcomes: Sequence[Outcome | InputError]) -> Steps[list[Told[A]]]:
    """Decode a request's units, in a thread, one after the other."""
    told = []
    for one, outcome in zip(read, outcomes, strict=True):
        told.append(finish(one, outcome))
        yield
    return told


def finish(read: Read[A], outcome: Outcome | InputError) -> Told[A]:
    """Decode one unit, in a thread: a long one takes milliseconds that the event loop does not have."""
    started = time.perf_counter()
    known = read.reading if isinstance(read.reading, Reading) else None
    result: DocumentResult[A] = DocumentResult(
        index=read.unit.index,
        id=read.unit.id,
        tokens=known.tokens if known else 0,
        windows=known.windows if known else 0,
        truncated=known.truncated if known else False,
        tokens_read=known.tokens_read if known else 0,
        answer=known.finish(outcome.windows) if known and isinstance(outcome, Computed) else None,
        error=None if isinstance(outcome, Computed) else outcome,
    )
    stages: dict[str, float] = {}
    if isinstance(outcome, Computed):
        stages = {"tokenize": read.seconds, "postprocess": time.perf_counter() - started}
        if outcome is not NOT_COMPUTED:
            stages |= {"queue": outcome.queue_seconds, "compute": outcome.compute_seconds}
    return Told(result=result, stages=stages, batch=outcome.batch if isinstance(outcome, Computed) else None)


def raise_first(outcomes: Iterable[object], options: RequestOptions) -> None:
    """Raise the first error that fails the request: any, or with `report` any that is not one unit's own."""
    for outcome in outcomes:
        own = isinstance(outcome, InputError | EngineFailed)
        if isinstance(outcome, DrLongformerError) and not (own and options.on_error == "report"):
            raise outcome


def join(first: Told[A], second: Told[A], *, index: int, name: str | None, answer: Callable[[A, A], B]) -> Told[B]:
    """What becomes of two units as one; an error of either is its error, and each stage took as long as the slower one's."""
    both = (first, second)
    error = next((told.result.error for told in both if told.result.error is not None), None)
    answers = [told.result.answer for told in both if told.result.answer is not None]
    result: DocumentResult[B] = DocumentResult(
        index=index,
        id=name,
        tokens=sum(told.result.tokens for told in both),
        windows=sum(told.result.windows for told in both),
        truncated=any(told.result.truncated for told in both),
        tokens_read=sum(told.result.tokens_read for told in both),
        answer=None if error is not None else answer(*answers),
        error=error,
    )
    stages = {} if error else {stage: max(told.stages[stage] for told in both) for stage in first.stages}
    return Told(result=result, stages=stages, batch=max(both, key=lambda told: _engine_seconds(told.stages)).batch)


def answer(story: Story[A], request: Request, *, total_seconds: float) -> Answer[A]:
    """The story's end; queue and compute are told of the unit that was settled last."""
    last = max(story.told, key=lambda told: _engine_seconds(told.stages), default=None)
    stages = last.stages if last else {}
    return Answer(
        model=request.model.identity,
        results=tuple(told.result for told in story.told),
        timings=Timings(
            tokenize_seconds=story.tokenize_seconds,
            queue_seconds=stages.get("queue", 0.0),
            compute_seconds=stages.get("compute", 0.0),
            total_seconds=total_seconds,
            queue_tokens=request.queue_tokens,
            batch=last.batch if last else None,
        ),
    )


def observe_all(metrics: Metrics, told: Sequence[Told[A]], request: Request, *, total_seconds: float) -> Steps[None]:
    """The figures of all units, in steps; any thread may observe."""
    for place, one in enumerate(told, start=1):
        observe(metrics, one, request, total_seconds=total_seconds)
        if place % OBSERVED_TOGETHER == 0:
            yield


def observe(metrics: Metrics, told: Told[A], request: Request, *, total_seconds: float) -> None:
    """The figures of one unit that was answered, or why it was not."""
    if told.result.error is not None:
        metrics.rejected_total.labels(reason=reason(told.result.error)).inc()
        return
    tokens, priority = told.result.tokens_read, request.options.priority
    length, identity = length_class(tokens), request.model.identity
    for stage, seconds in told.stages.items():
        metrics.stage_duration_seconds.labels(stage=stage, length=length, priority=priority).observe(seconds)
    metrics.document_tokens.labels(task=request.task).observe(tokens - told.result.shared_tokens)
    metrics.document_duration_seconds.labels(
        task=request.task, length=length, priority=priority, model=identity.name, version=str(identity.version)
    ).observe(total_seconds)


def _engine_seconds(stages: Mapping[str, float]) -> float:
    return stages.get("queue", 0.0) + stages.get("compute", 0.0)
