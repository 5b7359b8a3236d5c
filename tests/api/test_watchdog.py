"""A process whose engine hangs, or whose batching loop died, tells its callers, tells why, and ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from drlongformer import bundle
from drlongformer.api import watchdog
from drlongformer.api.lifecycle import Lifecycle
from drlongformer.errors import DeviceLost, EngineFailed, NotReady
from drlongformer.serving.batcher import Batcher
from drlongformer.serving.budget import Budget
from drlongformer.serving.engine import FakeEngine
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models, ServedModel
from drlongformer.serving.pipeline import Pipeline
from drlongformer.serving.requests import EmbedOptions
from drlongformer.serving.runner import HANG_FACTOR, LEAST_HANG_SECONDS, Station
from drlongformer.text.tokenizer import Tokenizer
from drlongformer.types import Document
from tests.api import bundles
from tests.serving.bundles import WIDTHS

TEXT = [Document(index=0, text="Toux et fièvre.")]


class Hanging:
    """A service whose engine never answers unless it fails, on a clock that is set by hand."""

    def __init__(self, store: Path, *, seconds_per_slot: float = 0.0, failures: Sequence[EngineFailed] = ()) -> None:
        self.now = 0.0
        self.metrics = Metrics.create()
        self.lifecycle = Lifecycle(self.metrics)
        self.engine = FakeEngine(WIDTHS, block=16, hang=not failures, failures=failures)
        found = bundle.load(bundles.write(store))
        self.batcher = Batcher(
            [Station(engine=self.engine, budget=Budget.fixed(64))],
            metrics=self.metrics,
            max_queue_tokens=1000,
            seconds_per_slot=seconds_per_slot,
            clock=lambda: self.now,
        )
        tokenizer = Tokenizer.from_file(found.folder / "tokenizer.json", spec=found.manifest.tokenizer)
        self.models = Models([ServedModel(bundle=found, tokenizer=tokenizer, engines=(self.engine,), batcher=self.batcher)])
        self.pipeline = Pipeline(self.models, self.metrics)
        self.codes: list[int] = []

    async def begin(self) -> asyncio.Task[object]:
        """Start, and send one request that comes to hang."""
        await self.pipeline.start()
        asked = asyncio.create_task(self.pipeline.embed(TEXT, EmbedOptions()))
        while not self.engine.batches:  # noqa: ASYNC110 - it runs in another thread
            await asyncio.sleep(0.001)
        return asked

    async def watch(self) -> None:
        await watchdog.watch(self.models, self.pipeline, self.lifecycle, end=self.codes.append)


async def test_an_engine_that_hangs_ends_the_process_with_a_line_and_a_503(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = Hanging(tmp_path)
    asked = await service.begin()
    service.now = LEAST_HANG_SECONDS + 1
    await service.watch()
    assert service.codes == [watchdog.EXIT_CODE] == [70]
    assert service.lifecycle.phase == "draining"
    with pytest.raises(NotReady):
        await asked
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert told == "a batch has run for 31 seconds, the limit is 30; the process ends with code 70"


async def test_a_batching_loop_that_died_ends_the_process(tmp_path: Path) -> None:
    service = Hanging(tmp_path)
    await service.pipeline.start()
    [loop] = service.batcher._loops
    loop.cancel()
    await service.watch()
    assert service.codes == [70]


async def test_a_lost_device_ends_the_process_with_a_code_of_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    service = Hanging(tmp_path, failures=[DeviceLost("told to be lost")])
    asked = await service.begin()
    with pytest.raises(DeviceLost):
        await asked
    with pytest.raises(NotReady):
        await service.pipeline.embed(TEXT, EmbedOptions())
    await service.watch()
    assert service.codes == [watchdog.DEVICE_EXIT_CODE] == [71]
    assert service.lifecycle.phase == "draining"
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert told == "told to be lost; the process ends with code 71"


async def test_a_batch_hangs_when_it_takes_many_times_what_was_predicted(tmp_path: Path) -> None:
    service = Hanging(tmp_path, seconds_per_slot=1.0)
    asked = await service.begin()
    expected = 16.0  # one block
    service.now = HANG_FACTOR * expected - 1
    service.models.require_alive()
    watching = asyncio.create_task(service.watch())
    done, _ = await asyncio.wait([watching], timeout=1.2)
    assert not done
    service.now = HANG_FACTOR * expected + 1
    await watching
    assert service.codes == [70]
    assert isinstance((await asyncio.gather(asked, return_exceptions=True))[0], NotReady)


def test_the_end_does_not_wait_for_a_thread_that_hangs() -> None:
    script = (
        "import time; from concurrent.futures import ThreadPoolExecutor; from drlongformer.api import watchdog;"
        "ThreadPoolExecutor(1).submit(time.sleep, 60); watchdog.end(watchdog.EXIT_CODE)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=30, check=False).returncode == 70
