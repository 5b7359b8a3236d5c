"""One request's story, without HTTP: units are read by threads in turns, computed by the batcher, finished by the threads.

A unit is a document, a pair of texts or a question. Every task goes the same way and differs only in its reader (`readers.py`,
`pair_readers.py`); `steps.py` has what needs no event loop. A request is answered by one version of one model. It is admitted
to the engine whole or refused whole; with `on_error="report"` a bad unit is told of in its own result. Stages are measured
where they meet, and every unit that is accepted leaves `inflight_documents` again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from drlongformer.errors import Cancelled, DeadlineExceeded, DrLongformerError, InputError, Overloaded
from drlongformer.serving import cosine, pair_readers, readers, steps
from drlongformer.serving.engine import available_cpus
from drlongformer.serving.ledger import Outcome
from drlongformer.serving.metrics import Metrics, reason
from drlongformer.serving.models import ANSWERING, Models, ServedModel
from drlongformer.serving.reading import Limits, Reader, Reading, Steps, check_items, finished
from drlongformer.serving.requests import (
    Analysis,
    AnalyzeOptions,
    Answer,
    ChoiceOptions,
    ClassifyOptions,
    Embedding,
    EmbedOptions,
    Entities,
    FillMaskOptions,
    NerOptions,
    RequestOptions,
    Similarity,
    TokenSpan,
)
from drlongformer.serving.steps import NOT_COMPUTED, Read, Request, Story, raise_first
from drlongformer.serving.turns import Turns
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.fill_mask import MaskPredictions
from drlongformer.tasks.multiple_choice import Choice
from drlongformer.types import Document, Pair, Question, Task, Unit

A = TypeVar("A")
X = TypeVar("X")
U = TypeVar("U", bound=Unit)

MAX_PENDING_CHARACTERS = 32_000_000
"""Characters that may wait for the tokenizer threads, over all requests: some 20 seconds of their work."""

SHORT_CHARACTERS = 100_000
"""Requests of at most so many characters may wait beyond that bound, up to twice of it, so that long ones lock none out."""

SECONDS_PER_CHARACTER = 1e-6
"""What tokenizing takes, about; it tells refused callers when to come back."""

MAX_TOKENIZER_THREADS = 4


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
        self._turns = Turns(threads)

    async def start(self) -> None:
        """Begin to take work."""
        await asyncio.gather(*(model.batcher.start() for model in self._models))

    async def drain(self) -> None:
        """Refuse new work and finish what was admitted."""
        await asyncio.gather(*(model.batcher.drain() for model in self._models))

    async def stop(self) -> None:
        """Refuse new work, give up what was admitted, stop the engines."""
        await asyncio.gather(*(model.batcher.stop() for model in self._models))
        self._turns.close()

    async def embed(self, documents: Sequence[Document], options: EmbedOptions) -> Answer[Embedding]:
        """One vector per document."""
        return await self._answer(documents, "embed", options.common, lambda m: readers.embed(m, options, self._limits))

    async def ner(self, documents: Sequence[Document], options: NerOptions) -> Answer[Entities]:
        """The entities of each document."""
        return await self._answer(documents, "ner", options.common, lambda m: readers.ner(m, options, self._limits))

    async def classify(self, documents: Sequence[Document], options: ClassifyOptions) -> Answer[tuple[LabelScore, ...]]:
        """The labels of each document, best first."""
        return await self._answer(documents, "classify", options.common, lambda m: readers.classify(m, options, self._limits))

    async def analyze(self, documents: Sequence[Document], options: AnalyzeOptions) -> Answer[Analysis]:
        """What several tasks say of each document, from one pass where their heads look at the text alike."""
        with self._accounted(len(documents)):
            model = self._models.get_for_all(options.common.model, options.tasks)
            request = _begin("analyze", model, options.common)
            return await self._end(await self._tell(documents, request, readers.analyze(model, options, self._limits)), request)

    async def fill_mask(self, documents: Sequence[Document], options: FillMaskOptions) -> Answer[tuple[MaskPredictions, ...]]:
        """Words for each mask of each document."""
        return await self._answer(documents, "fill-mask", options.common, lambda m: readers.fill_mask(m, options, self._limits))

    async def tokenize(self, documents: Sequence[Document], options: RequestOptions) -> Answer[Sequence[TokenSpan]]:
        """The tokens of each document."""
        return await self._answer(documents, None, options, lambda m: readers.tokenize(m, options, self._limits))

    async def multiple_choice(self, questions: Sequence[Question], options: ChoiceOptions) -> Answer[Choice]:
        """The right options of each question."""
        return await self._answer(
            questions, "multiple-choice", options.common, lambda m: pair_readers.multiple_choice(m, options, self._limits)
        )

    async def similarity(self, pairs: Sequence[Pair], options: RequestOptions) -> Answer[Similarity]:
        """The score of each pair: by a head for pairs, else by the embeddings of its texts, each embedded once."""
        with self._accounted(len(pairs)):
            tasks = ANSWERING["similarity"]
            model = self._models.get_for_any(options.model, tasks)
            request = _begin("similarity", model, options)
            head = model.bundle.head_of_any(tasks, options.head)
            if head.task == "similarity":
                reader = pair_readers.similarity(model, head, options, self._limits)
                return await self._end(await self._tell(pairs, request, reader), request)
            embedder = readers.embed(model, EmbedOptions(common=cosine.in_one_window(options)), self._limits)
            texts = cosine.distinct(pairs)
            embedded = await self._tell(texts, request, embedder)
            return await self._end(cosine.joined(embedded, texts, pairs), request)

    async def beside(self, job: Steps[X], *, since: float | None = None) -> X:
        """Work through a job that is no document's in the same threads: more of them would only fight for the interpreter.

        since: when its request came (monotonic).
        """
        return await self._turns.run(job, since=since)

    async def _answer(
        self,
        units: Sequence[U],
        task: Task | None,
        options: RequestOptions,
        reader: Callable[[ServedModel], Reader[U, A]],
    ) -> Answer[A]:
        with self._accounted(len(units)):
            model = self._models.get(options.model, task)
            request = _begin(task or "tokenize", model, options)
            return await self._end(await self._tell(units, request, reader(model)), request)

    async def _tell(self, units: Sequence[U], request: Request, reader: Reader[U, A]) -> Story[A]:
        """The story itself: read, compute, finish; the model is kept until then, whatever version is served by then."""
        with request.model.in_use():
            steps.require_space(reader, units, request)
            with self._pending(sum(unit.characters for unit in units)):
                reading = steps.read(reader, units, request.options, admit=_Admission(request, self._limits))
                read = await self._in_turns("tokenize", request, reading, documents=len(units))
            tokenize_seconds = time.monotonic() - request.started
            outcomes = await self._compute(read, request)
            raise_first(outcomes, request.options)
            told = await self._in_turns("postprocess", request, steps.finish_all(read, outcomes), documents=len(units))
            return Story(told=tuple(told), tokenize_seconds=tokenize_seconds)

    async def _end(self, story: Story[A], request: Request) -> Answer[A]:
        """The figures of every unit, and the answer. Those of many are taken in the threads, to the last, whoever leaves."""
        total_seconds = time.monotonic() - request.started
        figures = steps.observe_all(self._metrics, story.told, request, total_seconds=total_seconds)
        if len(story.told) < steps.OBSERVED_TOGETHER:
            finished(figures)
        else:
            await asyncio.shield(self._turns.run(figures, since=request.started))
        return steps.answer(story, request, total_seconds=total_seconds)

    async def _compute(self, read: Sequence[Read[A]], request: Request) -> list[Outcome | InputError]:
        """One outcome per unit; those that cannot be read keep their error."""
        asking = [one.reading for one in read if isinstance(one.reading, Reading) and one.reading.passes]
        outcomes = await request.model.batcher.submit_all(
            [one.passes for one in asking],
            deadline=request.deadline,
            priority=request.options.priority,
            caller=request.options.caller.name,
            weight=request.options.caller.weight,
            digest=asking[0].digest if asking else None,  # all units of a request are asked the same
        )
        computed = iter(outcomes)
        return [
            one.reading if isinstance(one.reading, InputError) else next(computed) if one.reading.passes else NOT_COMPUTED
            for one in read
        ]

    async def _in_turns(self, stage: str, request: Request, job: Steps[X], *, documents: int) -> X:
        """Work through a job in the threads; if the deadline passes or the caller leaves, it ends with the step it is in."""
        left = None if request.deadline is None else request.deadline - time.monotonic()
        try:
            async with asyncio.timeout(left):
                return await self._turns.run(job, since=request.started)
        except TimeoutError:
            self._metrics.deadline_exceeded_total.labels(stage=stage).inc(documents)
            raise DeadlineExceeded("the deadline passed before every document was answered") from None
        except asyncio.CancelledError:
            self._metrics.cancelled_total.labels(stage=stage).inc(documents)
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
        limit = MAX_PENDING_CHARACTERS * (2 if characters <= SHORT_CHARACTERS else 1)
        excess = self._pending_characters + characters - limit
        if excess > 0:
            raise Overloaded(
                f"{self._pending_characters} characters wait to be tokenized, {characters} more are over the limit of {limit}",
                retry_after_seconds=max(1.0, excess * SECONDS_PER_CHARACTER),
            )
        self._pending_characters += characters
        try:
            yield
        finally:
            self._pending_characters -= characters


class _Admission:
    """Told of each reading of a request, it refuses the request as soon as what was read of it cannot be answered now."""

    def __init__(self, request: Request, limits: Limits) -> None:
        self._batcher, self._terms = request.model.batcher, request.terms
        self._limits = limits
        self._items = self._slots = 0

    def __call__(self, reading: Reading[A]) -> None:
        """Raises DocumentTooLong and Overloaded."""
        self._items += reading.items
        check_items(self._items, self._limits, whose="the request")
        if reading.passes:
            self._slots += self._batcher.slots_of(map(len, reading.passes))
            self._batcher.require_space(self._slots, self._terms)


def _begin(task: str, model: ServedModel, options: RequestOptions) -> Request:
    """Raises NotReady where the model takes no work."""
    model.batcher.require_open()
    waiting = model.batcher.queued_slots
    return Request(task=task, model=model, options=options, started=time.monotonic(), queue_tokens=waiting)
