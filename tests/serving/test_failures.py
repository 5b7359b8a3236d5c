"""What an engine's failure costs: the document at fault, nobody else; unless the device is lost."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter

import pytest

from drlongformer.errors import DeviceLost, DeviceOutOfMemory, EngineFailed, NotReady
from drlongformer.packing import EngineOutput, PackedBatch
from drlongformer.serving.batcher import Batcher
from drlongformer.serving.budget import Budget
from drlongformer.serving.engine import FakeEngine, Stop, compute
from drlongformer.serving.failures import failure_of
from drlongformer.serving.ledger import Computed
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.runner import Station
from tests.serving.factories import BLOCK, batcher, count, window

ORT = "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running MatMul node. Status Message: "


@pytest.mark.parametrize(
    "told",
    [
        "onnxruntime::BFCArena::AllocateRawInternal(...) Failed to allocate memory for requested buffer of size 939524096",
        "Available memory of 12 is smaller than requested bytes of 4096",
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=host ; expr=cudaMalloc((void**)&p, size);",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=host",
        "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=1",
        "std::bad_alloc",
        "bad allocation",
    ],
)
def test_too_little_memory_is_known_by_its_words(told: str) -> None:
    assert failure_of(RuntimeError(ORT + told)) is DeviceOutOfMemory


@pytest.mark.parametrize(
    "told",
    [
        "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=host ; expr=cudaMemcpy(d, s, n, k);",
        "CUDA failure 214: uncorrectable ECC error encountered ; GPU=1",
        "CUDA failure 12345: an error that nobody knows ; GPU=0",
        "CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED ; GPU=0",
        "CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED ; GPU=0",
    ],
)
def test_what_breaks_the_context_of_a_device_is_its_end(told: str) -> None:
    assert failure_of(RuntimeError(ORT + told)) is DeviceLost


@pytest.mark.parametrize(
    "told",
    [
        "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: input_ids",
        "Einsum op: Transpose failed: CUDA failure 1: invalid argument ; GPU=1",
        "CUDNN failure 3000: CUDNN_STATUS_NOT_SUPPORTED ; GPU=0",
        "",
    ],
)
def test_every_other_failure_is_of_its_batch_alone(told: str) -> None:
    assert failure_of(RuntimeError(ORT + told)) is EngineFailed


def test_a_failure_that_is_known_keeps_its_class() -> None:
    assert failure_of(DeviceLost("x")) is DeviceLost
    assert failure_of(MemoryError()) is DeviceOutOfMemory


class Broken(FakeEngine):
    """Breaks as native code does: with an exception that is not ours."""

    def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
        raise MemoryError(f"{batch.slots} slots, {stop}")


def test_the_class_of_a_failure_is_found_wherever_it_breaks() -> None:
    with pytest.raises(DeviceOutOfMemory, match="MemoryError on a batch of 1 windows"):
        compute(Broken({}, block=BLOCK), [window(1)], [None])


# A hundred of each


POISON = 666


class Cramped(FakeEngine):
    """Has memory for so many blocks at a time. refused: batches that did not fit. recovery_seconds: the longest from one such
    to the next batch that was computed.
    """

    def __init__(self, *, blocks: int, fail_on: int | None = None) -> None:
        super().__init__({}, block=BLOCK, fail_on=fail_on)
        self.blocks = blocks
        self.refused = 0
        self.refused_at: float | None = None
        self.recovery_seconds = 0.0

    def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
        if batch.slots > self.blocks * BLOCK:
            self.refused += 1
            self.refused_at = self.refused_at or time.monotonic()
            raise DeviceOutOfMemory(f"no memory for {batch.slots} slots")
        output = super().run(batch, stop)
        if self.refused_at is not None:
            self.recovery_seconds = max(self.recovery_seconds, time.monotonic() - self.refused_at)
            self.refused_at = None
        return output


class Flaky(FakeEngine):
    """Breaks so many times on what holds more than one window; a poisonous window breaks whatever it is in, every time."""

    def __init__(self, *, times: int) -> None:
        super().__init__({}, block=BLOCK, fail_on=POISON)
        self.times = times

    def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
        if len(batch.shares) > 1 and self.times:
            self.times -= 1
            raise EngineFailed("told to fail")
        return super().run(batch, stop)


async def test_a_hundred_failures_of_the_engine_and_a_hundred_poisonous_documents_cost_nobody_else_anything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics, engine = Metrics.create(), Flaky(times=100)
    work = batcher(engine, metrics, batch=32 * BLOCK, queue=400 * BLOCK)
    await work.start()
    outcomes = await work.submit_all([[window(n + 1, POISON if n % 4 == 0 else 2)] for n in range(400)])
    await work.stop()
    ends = Counter((n % 4 == 0, type(outcome)) for n, outcome in enumerate(outcomes))
    failures = count(metrics, "engine_failures_total", reason="engine_failed")
    with capsys.disabled():
        told = f"{ends[True, EngineFailed]} poisonous documents failed alone, {ends[False, Computed]} others were computed"
        sys.stdout.write(f"\n{failures:.0f} engine failures, 100 of them by the engine itself: {told}\n")
    assert engine.times == 0
    assert ends == {(True, EngineFailed): 100, (False, Computed): 300}


async def test_a_hundred_times_too_little_memory_costs_nobody_anything(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = Metrics.create()
    computed, recovery_seconds = 0, 0.0
    for blocks in [1, 2, 3, 4, 5, 6, 7] * 6:
        engine, budget = Cramped(blocks=blocks, fail_on=POISON), Budget([BLOCK, 8 * BLOCK], start=8 * BLOCK)
        work = Batcher([Station(engine=engine, budget=budget)], metrics=metrics, max_queue_tokens=64 * BLOCK)
        await work.start()
        outcomes = await work.submit_all([[window(n, POISON if n == 9 else 2)] for n in range(1, 41)])
        assert [type(outcome) for outcome in outcomes] == [EngineFailed if n == 9 else Computed for n in range(1, 41)]
        assert engine.refused
        assert budget.slots == BLOCK
        refused = engine.refused
        assert all(isinstance(outcome, Computed) for outcome in await work.submit_all([[window(n)] for n in range(1, 41)]))
        assert engine.refused == refused, "what did not fit is not tried again"
        await work.stop()
        computed += 39 + 40
        recovery_seconds = max(recovery_seconds, engine.recovery_seconds)
    failures = count(metrics, "engine_failures_total", reason="device_out_of_memory")
    with capsys.disabled():
        told = f"{computed} documents were computed, 42 poisonous ones failed, recovery took {recovery_seconds:.3f} s at most"
        sys.stdout.write(f"\n{failures:.0f} times too little memory: {told}\n")
    assert failures >= 100


# The end of a device


async def test_a_lost_device_ends_its_batch_and_is_never_asked_again() -> None:
    metrics, engine = Metrics.create(), FakeEngine({}, block=BLOCK, failures=[DeviceLost("told to be lost")] * 2)
    work = batcher(engine, metrics)
    await work.start()
    outcomes = await work.submit_all([[window(n)] for n in range(1, 9)])
    assert [type(outcome) for outcome in outcomes] == [DeviceLost] * 8
    assert len(engine.batches) == 1
    with pytest.raises(DeviceLost, match="told to be lost"):
        work.require_alive()
    with pytest.raises(NotReady, match="an engine is lost"):
        await work.submit([window(1)])
    assert count(metrics, "engine_failures_total", reason="device_lost") == 1
    assert count(metrics, "queue_tokens", priority="interactive") == 0
    await work.stop()


async def test_the_parts_of_a_failed_batch_end_with_the_device_too() -> None:
    engine = FakeEngine({}, block=BLOCK, failures=[EngineFailed("told to fail"), None, DeviceLost("told to be lost")])
    work = batcher(engine)
    await work.start()
    outcomes = await work.submit_all([[window(n)] for n in range(1, 5)])
    assert [type(outcome) for outcome in outcomes] == [Computed, Computed, DeviceLost, DeviceLost]
    await work.stop()


async def test_what_waits_when_the_only_device_is_lost_is_told_at_once() -> None:
    engine = FakeEngine({}, block=BLOCK, delay_seconds=0.02, failures=[DeviceLost("told to be lost")])
    work = batcher(engine, batch=BLOCK)
    await work.start()
    outcomes = await asyncio.wait_for(work.submit_all([[window(n)] for n in range(1, 5)]), timeout=5)
    assert [type(outcome) for outcome in outcomes] == [DeviceLost, EngineFailed, EngineFailed, EngineFailed]
    await work.stop()


async def test_after_one_device_is_lost_the_others_finish_what_was_admitted() -> None:
    lost = FakeEngine({}, block=BLOCK, failures=[DeviceLost("told to be lost")])
    sound = FakeEngine({}, block=BLOCK, delay_seconds=0.005)
    work = Batcher(
        [Station(engine=engine, budget=Budget.fixed(BLOCK)) for engine in (lost, sound)],
        metrics=Metrics.create(),
        max_queue_tokens=64 * BLOCK,
    )
    await work.start()
    outcomes = await work.submit_all([[window(n)] for n in range(1, 11)])
    assert Counter(type(outcome) for outcome in outcomes) == {DeviceLost: 1, Computed: 9}
    with pytest.raises(NotReady):
        work.require_open()
    await asyncio.wait_for(work.drain(), timeout=5)
    await work.stop()
