"""One request's story, without HTTP: documents are read in a pool of threads, computed by the batcher, finished in the pool.

Every task goes the same way and differs only in its reader (`reading.py`). A request is answered by one version of one model.
It is admitted to the engine whole or refused whole; with `on_error="report"` a bad document is told of in its own result.
Stages are measured where they meet, and every document that is accepted leaves `inflight_documents` again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from drlongformer.errors import Cancelled, DeadlineExceeded, DrLongformerError, EngineFailed, InputError, Overloaded
from drlongformer.serving import reading
from drlongformer.serving.batcher import Computed, Outcome
from drlongformer.serving.engine import available_cpus
from drlongformer.serving.metrics import Metrics, length_class, reason
from drlongformer.serving.models import Models, ServedModel
from drlongformer.serving.reading import Limits, Reader, Reading
from drlongformer.serving.requests import (
    Answer,
    ClassifyOptions,
    DocumentResult,
    Embedding,
    EmbedOptions,
    Entities,
    FillMaskOptions,
    NerOptions,
    RequestOptions,
    Timings,
    TokenSpan,
)
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.fill_mask import MaskPredictions
from drlongformer.types import Document, Task

A = TypeVar("A")
X = TypeVar("X")

MAX_PENDING_CHARACTERS = 64_000_000
"""Characters that may wait for the tokenizer threads, over all requests."""

MAX_TOKENIZER_THREADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What is the same for all documents of a request."""

    task: str
    model: ServedModel
    options: RequestOptions
    started: float

    @property
    def deadline(self) -> float | None:
        """On the clock of `started`, which is the batcher's."""
        seconds = self.options.deadline_seconds
        return None if seconds is None else self.started + seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read(Generic[A]):
    """A document, and what came of reading it."""

    document: Document
    reading: Reading[A] | InputError
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finished(Generic[A]):
    """A document's result, and the time its decoding took."""

    result: DocumentResult[A]
    seconds: float


_NOT_COMPUTED = Computed(windows=(), queue_seconds=0.0, compute_seconds=0.0)
"""The outcome of a document that asks nothing of the engine."""


class Pipeline:
    """Answers requests with the models that are served."""

    def __init__(
        self, models: Models, metrics: Metrics, *, limits: Limits | None = None, tokenizer_threads: int | None = None
    ) -> None:
        self._models = models
        self._metrics = metrics
        self._limits = limits or Limits()
        self._pending_characters = 0
        threads = tokenizer_threads or min(MAX_TOKENIZER_THREADS, available_cpus())
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="reader")

    async def start(self) -> None:
        """Begin to take work."""
        await asyncio.gather(*(model.batcher.start() for model in self._models))

    async def drain(self) -> None:
        """Refuse new work and finish what was admitted."""
        await asyncio.gather(*(model.batcher.drain() for model in self._models))

    async def stop(self) -> None:
        """Refuse new work, give up what was admitted, stop the engines."""
        await asyncio.gather(*(model.batcher.stop() for model in self._models))
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def embed(self, documents: Sequence[Document], options: EmbedOptions) -> Answer[Embedding]:
        """One vector per document."""
        return await self._answer(documents, "embed", options.common, lambda m: reading.embed(m, options, self._limits))

    async def ner(self, documents: Sequence[Document], options: NerOptions) -> Answer[Entities]:
        """The entities of each document."""
        return await self._answer(documents, "ner", options.common, lambda m: reading.ner(m, options, self._limits))

    async def classify(self, documents: Sequence[Document], options: ClassifyOptions) -> Answer[tuple[LabelScore, ...]]:
        """The labels of each document, best first."""
        return await self._answer(documents, "classify", options.common, lambda m: reading.classify(m, options, self._limits))

    async def fill_mask(self, documents: Sequence[Document], options: FillMaskOptions) -> Answer[tuple[MaskPredictions, ...]]:
        """Words for each mask of each document."""
        return await self._answer(documents, "fill-mask", options.common, lambda m: reading.fill_mask(m, options, self._limits))

    async def tokenize(self, documents: Sequence[Document], options: RequestOptions) -> Answer[tuple[TokenSpan, ...]]:
        """The tokens of each document."""
        return await self._answer(documents, None, options, lambda m: reading.tokenize(m, options, self._limits))

    async def _answer(
        self,
        documents: Sequence[Document],
        task: Task | None,
        options: RequestOptions,
        reader: Callable[[ServedModel], Reader[A]],
    ) -> Answer[A]:
        with self._accounted(len(documents)):
            model = self._models.get(options.model, task)
            model.batcher.require_open()
            request = _Request(task=task or "tokenize", model=model, options=options, started=time.monotonic())
            return await self._tell(documents, request, reader(model))

    async def _tell(self, documents: Sequence[Document], request: _Request, reader: Reader[A]) -> Answer[A]:
        """The story itself: read, compute, finish."""
        with self._pending(sum(len(document.text) for document in documents)):
            read = await self._in_pool("tokenize", request, [partial(_read, reader, document) for document in documents])
        tokenize_seconds = time.monotonic() - request.started
        _raise_first([one.reading for one in read], request.options)
        items = sum(one.reading.items for one in read if isinstance(one.reading, Reading))
        reading.check_items(items, self._limits, whose="the request")
        outcomes = await self._compute(read, request)
        _raise_first(outcomes, request.options)
        jobs = [partial(_finish, one, outcome) for one, outcome in zip(read, outcomes, strict=True)]
        finished = await self._in_pool("postprocess", request, jobs)
        total_seconds = time.monotonic() - request.started
        for one, outcome, end in zip(read, outcomes, finished, strict=True):
            self._observe(one, outcome, end, total_seconds, request)
        last = max((outcome for outcome in outcomes if isinstance(outcome, Computed)), key=_seconds, default=_NOT_COMPUTED)
        return Answer(
            model=request.model.identity,
            results=tuple(end.result for end in finished),
            timings=Timings(
                tokenize_seconds=tokenize_seconds,
                queue_seconds=last.queue_seconds,
                compute_seconds=last.compute_seconds,
                total_seconds=total_seconds,
            ),
        )

    async def _compute(self, read: Sequence[_Read[A]], request: _Request) -> list[Outcome | InputError]:
        """One outcome per document; those that cannot be read keep their error."""
        asking = [one.reading for one in read if isinstance(one.reading, Reading) and one.reading.passes]
        outcomes = await request.model.batcher.submit_all(
            [one.passes for one in asking],
            deadline=request.deadline,
            priority=request.options.priority,
            digest=asking[0].digest if asking else None,  # all documents of a request are asked the same
        )
        computed = iter(outcomes)
        return [
            one.reading if isinstance(one.reading, InputError) else next(computed) if one.reading.passes else _NOT_COMPUTED
            for one in read
        ]

    async def _in_pool(self, stage: str, request: _Request, jobs: Sequence[Callable[[], X]]) -> list[X]:
        """Run jobs in the threads; if the deadline passes or the caller leaves, those that have not begun never do."""
        loop = asyncio.get_running_loop()
        left = None if request.deadline is None else request.deadline - time.monotonic()
        try:
            async with asyncio.timeout(left):
                return await asyncio.gather(*(loop.run_in_executor(self._pool, job) for job in jobs))
        except TimeoutError:
            self._metrics.deadline_exceeded_total.labels(stage=stage).inc(len(jobs))
            raise DeadlineExceeded("the deadline passed before every document was answered") from None
        except asyncio.CancelledError:
            self._metrics.cancelled_total.labels(stage=stage).inc(len(jobs))
            raise

    @contextmanager
    def _accounted(self, documents: int) -> Iterator[None]:
        """Count documents in and out, and why a request is refused."""
        self._metrics.inflight_documents.inc(documents)
        try:
            yield
        except Cancelled:
            raise  # a departure, counted where it happened
        except Exception as error:
            known = isinstance(error, DrLongformerError)
            self._metrics.rejected_total.labels(reason=reason(error) if known else "internal_error").inc()
            raise
        finally:
            self._metrics.inflight_documents.dec(documents)

    @contextmanager
    def _pending(self, characters: int) -> Iterator[None]:
        """Hold a share of what the threads may have before them. Raises Overloaded."""
        if self._pending_characters + characters > MAX_PENDING_CHARACTERS:
            raise Overloaded(
                f"{self._pending_characters} characters wait, {characters} more are over the limit of {MAX_PENDING_CHARACTERS}",
                retry_after_seconds=1.0,
            )
        self._pending_characters += characters
        try:
            yield
        finally:
            self._pending_characters -= characters

    def _observe(
        self, read: _Read[A], outcome: Outcome | InputError, finished: _Finished[A], total_seconds: float, request: _Request
    ) -> None:
        """The figures of one document that was answered, or why it was not."""
        if not isinstance(outcome, Computed):
            self._metrics.rejected_total.labels(reason=reason(outcome)).inc()
            return
        tokens, priority = finished.result.tokens, request.options.priority
        length, identity = length_class(tokens), request.model.identity
        stages = {"tokenize": read.seconds, "postprocess": finished.seconds}
        if outcome is not _NOT_COMPUTED:
            stages |= {"queue": outcome.queue_seconds, "compute": outcome.compute_seconds}
        for stage, seconds in stages.items():
            self._metrics.stage_duration_seconds.labels(stage=stage, length=length, priority=priority).observe(seconds)
        self._metrics.document_tokens.labels(task=request.task).observe(tokens)
        self._metrics.document_duration_seconds.labels(
            task=request.task, length=length, priority=priority, model=identity.name, version=str(identity.version)
        ).observe(total_seconds)


def _read(reader: Reader[A], document: Document) -> _Read[A]:
    """Read one document, in a thread; what is wrong with it is told by its place in the request."""
    started = time.perf_counter()
    reading: Reading[A] | InputError
    try:
        reading = reader(document)
    except InputError as error:
        error.location = error.location or ("inputs", document.index)
        reading = error
    return _Read(document=document, reading=reading, seconds=time.perf_counter() - started)


def _finish(read: _Read[A], outcome: Outcome | InputError) -> _Finished[A]:
    """Decode one document, in a thread: a long one takes milliseconds that the event loop does not have."""
    started = time.perf_counter()
    known = read.reading if isinstance(read.reading, Reading) else None
    result: DocumentResult[A] = DocumentResult(
        index=read.document.index,
        id=read.document.id,
        tokens=known.tokens if known else 0,
        windows=known.windows if known else 0,
        truncated=known.truncated if known else False,
        answer=known.finish(outcome.windows) if known and isinstance(outcome, Computed) else None,
        error=None if isinstance(outcome, Computed) else outcome,
    )
    return _Finished(result=result, seconds=time.perf_counter() - started)


def _raise_first(outcomes: Iterable[object], options: RequestOptions) -> None:
    """Raise the first error that fails the request: any, or with `report` any that is not one document's own."""
    for outcome in outcomes:
        own = isinstance(outcome, InputError | EngineFailed)
        if isinstance(outcome, DrLongformerError) and not (own and options.on_error == "report"):
            raise outcome


def _seconds(outcome: Computed) -> float:
    return outcome.queue_seconds + outcome.compute_seconds
