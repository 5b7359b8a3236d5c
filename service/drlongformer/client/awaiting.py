"""`AsyncClient`: the routes as coroutines. How they are asked is `core.py`'s; here it is driven by awaiting.

Units may come from an asynchronous generator, too; that is read to its end before the first of them is sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, Self, TypeVar, Unpack

import httpx

from drlongformer.client import calls, connection, core
from drlongformer.client.calls import A, Job, R
from drlongformer.client.core import Batch, Core, Outcome, Part, Pause, Send, Steps
from drlongformer.client.results import (
    Analysis,
    Answer,
    Choice,
    Embeddings,
    Entities,
    Labels,
    Masks,
    ModelDetails,
    ModelSummary,
    Similarity,
    Tokens,
    UsageReport,
)
from drlongformer.client.units import Question

T = TypeVar("T")

Texts = calls.Texts | AsyncIterable[calls.Text]
Pairs = calls.Pairs | AsyncIterable[tuple[str, str] | Mapping[str, Any]]
Sentences = calls.Sentences | AsyncIterable[str]
Questions = calls.Questions | AsyncIterable[Question | Mapping[str, Any]]


class AsyncClient:
    """A connection to the service, for `async with`. Methods raise `ClientError`; cancelling one gives its requests up."""

    def __init__(
        self,
        url: str = connection.DEFAULT_URL,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        **options: Unpack[connection.Options],
    ) -> None:
        """`transport` takes the network's place. Raises InvalidSetting."""
        self._concurrency = connection.concurrency(options)
        self._core = Core(policy=connection.policy(options))
        self._http = httpx.AsyncClient(**connection.Connection.of(url, options).arguments(), transport=transport)
        self._progress = options.get("progress", False)

    async def embed(self, inputs: Texts, **options: Unpack[calls.EmbedOptions]) -> Embeddings:
        """One vector for each document."""
        return await self._run(calls.embed(await _listed(inputs), **options))

    async def ner(self, inputs: Texts, **options: Unpack[calls.NerOptions]) -> Answer[Entities]:
        """The entities of each document."""
        return await self._run(calls.ner(await _listed(inputs), **options))

    async def classify(self, inputs: Texts, **options: Unpack[calls.ClassifyOptions]) -> Answer[Labels]:
        """The labels of each document, best first."""
        return await self._run(calls.classify(await _listed(inputs), **options))

    async def analyze(
        self,
        inputs: Texts,
        tasks: Sequence[Literal["embed", "ner", "classify"]],
        **options: Unpack[calls.AnalyzeOptions],
    ) -> Answer[Analysis]:
        """Several tasks about each document, from as few passes of the model as can be."""
        return await self._run(calls.analyze(await _listed(inputs), tasks, **options))

    async def fill_mask(self, inputs: Texts, **options: Unpack[calls.FillMaskOptions]) -> Answer[Masks]:
        """Words that may stand where each document has a mask."""
        return await self._run(calls.fill_mask(await _listed(inputs), **options))

    async def tokenize(self, inputs: Texts, **options: Unpack[calls.TokenizeOptions]) -> Answer[Tokens]:
        """The model's tokens of each document."""
        return await self._run(calls.tokenize(await _listed(inputs), **options))

    async def similarity(self, pairs: Pairs, **options: Unpack[calls.Common]) -> Answer[Similarity]:
        """How alike the two texts of each pair are."""
        return await self._run(calls.similarity(await _listed(pairs), **options))

    async def similarity_to(self, source: str, sentences: Sentences, **options: Unpack[calls.Common]) -> Answer[Similarity]:
        """How alike one text is to each of several."""
        return await self._run(calls.similarity_to(source, await _listed(sentences), **options))

    async def multiple_choice(self, questions: Questions, **options: Unpack[calls.ChoiceOptions]) -> Answer[Choice]:
        """Which options of each question are right."""
        return await self._run(calls.multiple_choice(await _listed(questions), **options))

    async def models(self) -> tuple[ModelSummary, ...]:
        """Every model that is served."""
        return core.model_list(await self._drive(self._core.get("/models")))

    async def model(self, name: str) -> ModelDetails:
        """Heads, labels, limits and provenance of `name` or `name:version`."""
        return core.read(ModelDetails, await self._drive(self._core.get(core.model_path(name))))

    async def usage(self) -> UsageReport:
        """What each key did, by day; needs a key with the scope `admin`."""
        return core.read(UsageReport, await self._drive(self._core.get("/usage")))

    async def metrics(self) -> str:
        """The figures in Prometheus' text format; needs a key with the scope `metrics`."""
        return core.text(await self._drive(self._core.get("/metrics")))

    async def slowest(self) -> dict[str, Any]:
        """The slowest requests lately, with their stages and batches; needs a key with the scope `admin`."""
        return core.read(dict[str, Any], await self._drive(self._core.get("/debug/slow")))

    async def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return core.read(dict[str, Any], await self._drive(self._core.get("/openapi.json")))

    async def is_alive(self) -> bool:
        """Whether the process answers and no engine hangs; asked once. Raises Untrusted."""
        return await self._drive(self._core.health("/livez"))

    async def is_ready(self) -> bool:
        """Whether new requests are welcome; asked once, and False where nobody answers. Raises Untrusted."""
        return await self._drive(self._core.health("/readyz"))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def _run(self, job: Job[R, A]) -> A:
        batches = await self._drive(self._core.plan(job))
        parts = []
        with connection.bar(job.path, job.total, shown=self._progress) as bar:
            async with aclosing(self._parts(job, batches)) as coming:
                async for some in coming:
                    parts += some
                    bar.advance(sum(part.documents for part in some))
        return core.join(job, parts)

    async def _parts(self, job: Job[R, A], batches: Iterator[Batch]) -> AsyncGenerator[list[Part[R]], None]:
        """What each batch brought, in order, with so many under way at once; the first error ends all."""
        turns = asyncio.Semaphore(self._concurrency)
        waiting: deque[asyncio.Task[list[Part[R]]]] = deque()

        async def ask(batch: Batch) -> list[Part[R]]:
            async with turns:
                return await self._drive(self._core.ask(job, batch))

        try:
            for batch in batches:
                waiting.append(asyncio.create_task(ask(batch)))
                if len(waiting) == 2 * self._concurrency:
                    yield await waiting[0]
                    waiting.popleft()
            while waiting:
                yield await waiting[0]
                waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _drive(self, steps: Steps[T]) -> T:
        """Do what the steps ask for."""
        outcome = None
        try:
            while True:
                step = steps.send(outcome)
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                outcome = await self._send(step) if isinstance(step, Send) else None
        except StopIteration as end:
            value: T = end.value
            return value

    async def _send(self, step: Send) -> Outcome:
        try:
            return connection.reply(await self._http.request(**connection.arguments(step)))
        except httpx.HTTPError as error:
            return connection.failure(error, step)


async def _listed(units: Any) -> Any:
    """The units themselves; those of an asynchronous generator as a list."""
    return [each async for each in units] if isinstance(units, AsyncIterable) else units
