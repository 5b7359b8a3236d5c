"""Several engines behind one queue: work is shared, order and answers stay what they are with one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from drlongformer.errors import DeviceUnavailable, NotReady
from drlongformer.serving.batcher import Batcher
from drlongformer.serving.budget import Budget
from drlongformer.serving.engine import FakeEngine, parse_devices
from drlongformer.serving.engines import Compute
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models
from drlongformer.serving.runner import Station
from drlongformer.types import HIDDEN
from tests.serving import bundles
from tests.serving.factories import BLOCK, count, window


def station(*, batch: int = 64, **told: object) -> Station:
    return Station(engine=FakeEngine({}, block=BLOCK, **told), budget=Budget.fixed(batch))  # type: ignore[arg-type]


def batcher(*stations: Station, metrics: Metrics | None = None) -> Batcher:
    return Batcher(stations, metrics=metrics or Metrics.create(), max_queue_tokens=1024)


def batches(*stations: Station) -> list[list[int]]:
    """The windows of each batch of each engine."""
    return [[len(batch.shares) for batch in each.engine.batches] for each in stations]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("cpu", ("cpu",)),
        ("cpu,cpu", ("cpu", "cpu")),
        ("cuda", ("cuda",)),
        ("cuda:1", ("cuda:1",)),
        ("cuda:0,1,3", ("cuda:0", "cuda:1", "cuda:3")),
        ("cuda:0,cuda:1", ("cuda:0", "cuda:1")),
    ],
)
def test_devices_are_told_one_by_one_or_by_their_numbers(told: str, meant: tuple[str, ...]) -> None:
    assert parse_devices(told) == meant


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("cuda:0,0", "names a card twice"),
        ("cuda,cuda:0", "names a card twice"),
        ("cpu,cuda", "mixes CPU and CUDA"),
        ("cpu,", "is no device"),
        ("0,1", "is no device"),
    ],
)
def test_devices_that_make_no_sense_together_are_refused(told: str, why: str) -> None:
    with pytest.raises(DeviceUnavailable, match=why):
        parse_devices(told)


async def test_engines_that_are_idle_together_share_what_is_there() -> None:
    stations = [station(), station()]
    work = batcher(*stations)
    await work.start()
    await work.submit_all([[window(n)] for n in range(1, 7)])
    await work.stop()
    assert batches(*stations) == [[3], [3]]


async def test_windows_of_one_document_are_computed_beside_each_other_and_joined_in_order() -> None:
    stations = [station(delay_seconds=0.02), station(delay_seconds=0.02)]
    work = batcher(*stations)
    windows = [window(1, 2), window(3), window(4), window(5)]
    await work.start()
    outputs = await work.submit(windows)
    await work.stop()
    assert batches(*stations)[0][0] == batches(*stations)[1][0] == 2
    alone = FakeEngine({}, block=BLOCK)
    only = batcher(Station(engine=alone, budget=Budget.fixed(64)))
    await only.start()
    for output, expected in zip(outputs, await only.submit(windows), strict=True):
        np.testing.assert_array_equal(output.rows[HIDDEN], expected.rows[HIDDEN])
    await only.stop()


async def test_a_busy_engine_takes_nothing_and_the_idle_one_everything() -> None:
    stations = [station(hang=True), station()]
    metrics = Metrics.create()
    work = batcher(*stations, metrics=metrics)
    await work.start()
    held = asyncio.create_task(work.submit([window(1)]))
    while not any(each.engine.batches for each in stations):  # type: ignore[attr-defined]  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    for n in range(2, 6):
        await asyncio.wait_for(work.submit([window(n)]), timeout=5)
    assert batches(*stations) == [[1], [1, 1, 1, 1]]
    assert count(metrics, "engine_busy_seconds_total", device="cpu:1") > 0
    await work.stop()
    with pytest.raises(NotReady):
        await held
    assert count(metrics, "engine_busy_seconds_total", device="cpu:0") > 0


async def test_draining_waits_for_every_engine() -> None:
    stations = [station(batch=BLOCK, delay_seconds=0.01), station(batch=BLOCK, delay_seconds=0.05)]
    work = batcher(*stations)
    await work.start()
    asked = asyncio.create_task(work.submit_all([[window(n)] for n in range(1, 9)]))
    await asyncio.sleep(0)
    await work.drain()
    assert all(not isinstance(outcome, Exception) for outcome in await asked)
    assert sum(map(sum, batches(*stations))) == 8
    assert len(batches(*stations)[1]) >= 1
    await work.stop()


async def test_two_engines_of_one_bundle_answer_as_one_does(tmp_path: Path) -> None:
    bundles.write(tmp_path)
    metrics = Metrics.create()
    [two] = Models.load(tmp_path, metrics=metrics, compute=Compute(device="cpu,cpu", threads=1))
    [one] = Models.load(tmp_path, metrics=Metrics.create(), compute=Compute(threads=1))
    assert (two.device, len(two.engines), one.device) == ("cpu,cpu", 2, "cpu")
    labels = {"name": "by-hand", "version": "1", "precision": "fp32", "provider": "CPUExecutionProvider"}
    assert count(metrics, "model_info", **labels, device="cpu,cpu", sha256=two.identity.sha256) == 1
    documents = [[window(*range(2, 2 + length))] for length in (3, 17, 40, 9, 33, 50)]
    answers = []
    for model in (one, two):
        await model.batcher.start()
        answers.append(await model.batcher.submit_all(documents))
        await model.batcher.stop()
    for expected, outcome in zip(*answers, strict=True):
        np.testing.assert_array_equal(outcome.windows[0].rows[HIDDEN], expected.windows[0].rows[HIDDEN])
    for device in ("cpu:0", "cpu:1"):
        assert count(metrics, "engine_busy_seconds_total", device=device) > 0
