"""`Client`: the routes as methods that wait for their answer. How they are asked is `core.py`'s."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Literal, Self, TypeVar, Unpack

import httpx

from drlongformer.client import calls, connection, core
from drlongformer.client.calls import A, Job, Pairs, Questions, R, Sentences, Texts
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

T = TypeVar("T")


class Client:
    """A connection to the service; use it in `with`, from as many threads as you like. Methods raise `ClientError`."""

    def __init__(
        self,
        url: str = connection.DEFAULT_URL,
        *,
        transport: httpx.BaseTransport | None = None,
        **options: Unpack[connection.Options],
    ) -> None:
        """`transport` takes the network's place. Raises InvalidSetting."""
        self._concurrency = connection.concurrency(options)
        self._core = Core(policy=connection.policy(options))
        self._http = httpx.Client(**connection.Connection.of(url, options).arguments(), transport=transport)
        self._progress = options.get("progress", False)

    def embed(self, inputs: Texts, **options: Unpack[calls.EmbedOptions]) -> Embeddings:
        """One vector for each document."""
        return self._run(calls.embed(inputs, **options))

    def ner(self, inputs: Texts, **options: Unpack[calls.NerOptions]) -> Answer[Entities]:
        """The entities of each document."""
        return self._run(calls.ner(inputs, **options))

    def classify(self, inputs: Texts, **options: Unpack[calls.ClassifyOptions]) -> Answer[Labels]:
        """The labels of each document, best first."""
        return self._run(calls.classify(inputs, **options))

    def analyze(
        self,
        inputs: Texts,
        tasks: Sequence[Literal["embed", "ner", "classify"]],
        **options: Unpack[calls.AnalyzeOptions],
    ) -> Answer[Analysis]:
        """Several tasks about each document, from as few passes of the model as can be."""
        return self._run(calls.analyze(inputs, tasks, **options))

    def fill_mask(self, inputs: Texts, **options: Unpack[calls.FillMaskOptions]) -> Answer[Masks]:
        """Words that may stand where each document has a mask."""
        return self._run(calls.fill_mask(inputs, **options))

    def tokenize(self, inputs: Texts, **options: Unpack[calls.TokenizeOptions]) -> Answer[Tokens]:
        """The model's tokens of each document."""
        return self._run(calls.tokenize(inputs, **options))

    def similarity(self, pairs: Pairs, **options: Unpack[calls.Common]) -> Answer[Similarity]:
        """How alike the two texts of each pair are."""
        return self._run(calls.similarity(pairs, **options))

    def similarity_to(self, source: str, sentences: Sentences, **options: Unpack[calls.Common]) -> Answer[Similarity]:
        """How alike one text is to each of several."""
        return self._run(calls.similarity_to(source, sentences, **options))

    def multiple_choice(self, questions: Questions, **options: Unpack[calls.ChoiceOptions]) -> Answer[Choice]:
        """Which options of each question are right."""
        return self._run(calls.multiple_choice(questions, **options))

    def models(self) -> tuple[ModelSummary, ...]:
        """Every model that is served."""
        return core.model_list(self._drive(self._core.get("/models")))

    def model(self, name: str) -> ModelDetails:
        """Heads, labels, limits and provenance of `name` or `name:version`."""
        return core.read(ModelDetails, self._drive(self._core.get(core.model_path(name))))

    def usage(self) -> UsageReport:
        """What each key did, by day; needs a key with the scope `admin`."""
        return core.read(UsageReport, self._drive(self._core.get("/usage")))

    def metrics(self) -> str:
        """The figures in Prometheus' text format; needs a key with the scope `metrics`."""
        return core.text(self._drive(self._core.get("/metrics")))

    def slowest(self) -> dict[str, Any]:
        """The slowest requests lately, with their stages and batches; needs a key with the scope `admin`."""
        return core.read(dict[str, Any], self._drive(self._core.get("/debug/slow")))

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return core.read(dict[str, Any], self._drive(self._core.get("/openapi.json")))

    def is_alive(self) -> bool:
        """Whether the process answers and no engine hangs; asked once. Raises Untrusted."""
        return self._drive(self._core.health("/livez"))

    def is_ready(self) -> bool:
        """Whether new requests are welcome; asked once, and False where nobody answers. Raises Untrusted."""
        return self._drive(self._core.health("/readyz"))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _run(self, job: Job[R, A]) -> A:
        batches = self._drive(self._core.plan(job))
        parts = []
        with connection.bar(job.path, job.total, shown=self._progress) as bar:
            for some in self._parts(job, batches):
                parts += some
                bar.advance(sum(part.documents for part in some))
        return core.join(job, parts)

    def _parts(self, job: Job[R, A], batches: Iterator[Batch]) -> Iterator[list[Part[R]]]:
        """What each batch brought, in order, with so many under way at once; the first error ends all."""
        stopped = threading.Event()
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="drlongformer-client")
        waiting: deque[Future[list[Part[R]]]] = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(self._drive, self._core.ask(job, batch), stopped))
                if len(waiting) == 2 * self._concurrency:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)

    def _drive(self, steps: Steps[T], stopped: threading.Event | None = None) -> T:
        """Do what the steps ask for; between two of them the call may be given up."""
        given_up, outcome = stopped or threading.Event(), None
        try:
            while True:
                step = steps.send(outcome)
                if given_up.wait(step.seconds if isinstance(step, Pause) else 0.0):
                    raise CancelledError
                outcome = self._send(step) if isinstance(step, Send) else None
        except StopIteration as end:
            value: T = end.value
            return value

    def _send(self, step: Send) -> Outcome:
        try:
            return connection.reply(self._http.request(**connection.arguments(step)))
        except httpx.HTTPError as error:
            return connection.failure(error, step)
