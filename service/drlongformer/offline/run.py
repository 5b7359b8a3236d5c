"""A run: records in, parts out, through the pipeline that serves; bad records are told of and the others go on.

Which records have their outcome is read from the output folder (`output.py`), never remembered elsewhere. A resumed run reads
its input from the beginning, compares what was answered before with its fingerprints, and goes on behind it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

from drlongformer.errors import EngineFailed, InputError, RunError
from drlongformer.offline import flow, known
from drlongformer.offline.asked import Ask, unit
from drlongformer.offline.known import Known
from drlongformer.offline.outcomes import Outcome, Status
from drlongformer.offline.output import Output
from drlongformer.offline.reader import Reader
from drlongformer.offline.records import BadRecord, Found
from drlongformer.offline.writer import Writer
from drlongformer.packing import blocks_of
from drlongformer.serving.engine import parse_device
from drlongformer.serving.metrics import reason
from drlongformer.serving.models import MOST_WINDOWS_PER_BATCH, ServedModel
from drlongformer.serving.pipeline import Pipeline
from drlongformer.serving.requests import DocumentResult
from drlongformer.text.runs import runs

GROUP_DOCUMENTS: Final = 16
GROUP_CHARACTERS: Final = 16_000
"""A request to the pipeline holds at most so many documents, and not many more characters."""
LOOK_AHEAD_BATCHES: Final = 6
CHARACTERS_PER_SLOT: Final = 4
"""Characters of text that fill a token slot, at most about."""
PART_SECONDS: Final = 60.0
"""A kill costs no more than about so much work."""
PART_SIZE: Final = 1 << 25
"""Characters and numbers of the outcomes of one part, which are held until it is written."""
TELL_SECONDS: Final = 0.2
MOST_FAILURES: Final = 8
"""So many documents in a row that fail in the engine are the engine's fault."""
BAD_START: Final = 1000
"""So many records at the beginning, all bad: the input is not what it was said to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How far a run is. consumed, total: bytes of input. seconds: since it began; tokens: computed since.

    encodings: files by how they were read.
    """

    records: int
    statuses: Mapping[Status, int]
    tokens: int
    seconds: float
    consumed: int
    total: int
    encodings: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything a run needs. known: fingerprints of a former output. tell: called now and then, from the event loop."""

    ask: Ask
    reader: Reader
    output: Output
    writer: Writer
    known: Known
    part_documents: int
    tell: Callable[[Figures], None]


async def run(job: Job, pipeline: Pipeline, model: ServedModel) -> Figures:
    """Give every record its outcome. Raises RunError, and EngineFailed where the engine answers nothing any more."""
    book = _Book(job)
    answering = Answering(job.ask, pipeline)
    groups = grouped(book.records())
    async with aclosing(flow.outcomes(groups, answering, look_ahead=look_ahead(model))) as outcomes:
        try:
            async for outcome in outcomes:
                await book.add(outcome)
        except RunError:
            raise
        except BaseException:
            book.commit()  # what was answered is not computed again
            raise
    book.commit()
    job.output.finish({"seconds": round(book.seconds, 1), "encodings": dict(job.reader.encodings)})
    return book.figures()


def look_ahead(model: ServedModel) -> int:
    """Characters that fill a few of the largest batches of every engine."""
    block = model.engine.block
    window = blocks_of(model.bundle.manifest.max_tokens, block) * block
    most = window * MOST_WINDOWS_PER_BATCH[parse_device(model.engine.device)[0]]
    return LOOK_AHEAD_BATCHES * CHARACTERS_PER_SLOT * most * len(model.engines)


def grouped(outcomes: Iterator[Outcome]) -> Iterator[flow.Group]:
    """Small groups of successive records."""
    return runs(outcomes, lambda one: len(one.text), most=GROUP_DOCUMENTS, most_characters=GROUP_CHARACTERS)


def begun(number: int, found: Found, *, key: bytes, known_before: Known, writer: Writer) -> Outcome:
    """A record's outcome as far as it is told without a model; one that is to be answered has its text and no result."""
    if isinstance(found, BadRecord):
        return Outcome(number=number, place=found.place, problem="bad_record", reason=found.reason)
    mark = known.fingerprint(found, key)
    if refusal := writer.refusal(found.id):
        return Outcome(number=number, place=found.place, id=found.id, fingerprint=mark, problem="bad_record", reason=refusal)
    if found.id is not None and mark in known_before:
        return Outcome(number=number, place=found.place, id=found.id, fingerprint=mark)
    return Outcome(number=number, place=found.place, id=found.id, fingerprint=mark, text=found.text, asked=True)


class Answering:
    """Asks the pipeline for a group's answers. tokens: computed so far."""

    def __init__(self, ask: Ask, pipeline: Pipeline) -> None:
        self._ask = ask
        self._pipeline = pipeline
        self._failures = 0

    async def __call__(self, group: flow.Group) -> list[Outcome]:
        """The same records, each with its outcome. Raises EngineFailed where too many fail in the engine, one by one."""
        asked = [one for one in group if one.asked]
        answered = {one.number: one for one in await self._answered(asked)}
        return [answered.get(one.number, one) for one in group]

    async def _answered(self, asked: list[Outcome]) -> list[Outcome]:
        if not asked:
            return []
        try:
            answer = await self._ask(self._pipeline, [unit(one.number, one.text) for one in asked])
        except InputError as error:
            if len(asked) == 1:
                return [_failed(asked[0], error)]
            return [settled for one in asked for settled in await self._answered([one])]
        return [self._settled(one, result) for one, result in zip(asked, answer.results, strict=True)]

    def _settled(self, one: Outcome, result: DocumentResult[Any]) -> Outcome:
        if result.error is None:
            self._failures = 0
            return replace(one, result=result, asked=False)
        if isinstance(result.error, EngineFailed):
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                raise EngineFailed(f"{self._failures} documents in a row failed in the engine, the last with: {result.error}")
        return _failed(one, result.error)


def _failed(one: Outcome, error: Exception) -> Outcome:
    return replace(one, text="", asked=False, problem=reason(error), reason=str(error))


class _Book:
    """The records of a run and the part that is being filled."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._part: list[Outcome] = []
        self._size = 0
        self._records = job.output.records
        self._statuses = sum((Counter(part.statuses) for part in job.output.parts), Counter[Status]())
        self._tokens = 0
        self._began = self._committed = self._told = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._began

    def records(self) -> Iterator[Outcome]:
        """The records that have no outcome yet. Raises RunError where the input is not the one that was begun with."""
        job, done, number = self._job, self._records, -1
        before, good = job.output.committed(), done > 0
        for number, found in enumerate(job.reader):
            one = begun(number, found, key=job.output.key, known_before=job.known, writer=job.writer)
            if number < done:
                if next(before).fingerprint != one.fingerprint:
                    raise RunError(f"{found.place} is not what it was when it was answered; --resume needs the same input")
                continue
            good = good or not one.problem
            if not good and number + 1 == BAD_START:
                raise RunError(f"none of the first {BAD_START} records can be read; {found.place}: {one.reason}")
            yield one
        if number + 1 < done:
            raise RunError(f"the input has {number + 1} records, {done} were answered; --resume needs the same input")
        if number < 0:
            raise RunError("the input holds no record")

    async def add(self, outcome: Outcome) -> None:
        """Take the next outcome, and write a part when it is full or old."""
        self._part.append(outcome)
        self._size += outcome.size
        self._records += 1
        self._statuses[outcome.status] += 1
        self._tokens += outcome.result.tokens_read if outcome.result else 0
        now = time.monotonic()
        full = len(self._part) >= self._job.part_documents or self._size >= PART_SIZE
        if full or now - self._committed >= PART_SECONDS:
            part = self._taken()
            await asyncio.to_thread(self._job.output.commit, part, self._job.writer)
            self._committed = time.monotonic()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            self._job.tell(self.figures())

    def commit(self) -> None:
        """Write the part, if there is anything in it."""
        if part := self._taken():
            self._job.output.commit(part, self._job.writer)

    def figures(self) -> Figures:
        """How far the run is."""
        return Figures(
            records=self._records,
            statuses=dict(self._statuses),
            tokens=self._tokens,
            seconds=self.seconds,
            consumed=self._job.reader.consumed,
            total=self._job.reader.total,
            encodings=dict(self._job.reader.encodings),
        )

    def _taken(self) -> list[Outcome]:
        """The part, which is empty from now on: what is being written is written once, whatever ends the run meanwhile."""
        part, self._part, self._size = self._part, [], 0
        return part
