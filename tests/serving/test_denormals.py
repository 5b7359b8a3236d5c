"""Tiny numbers are zeros inside the block alone, in its thread alone, and answers stay what they were."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from drlongformer.packing import SEGMENT_SUMS, pack
from drlongformer.serving.denormals import as_zeros, can_be_set
from drlongformer.serving.engine import OnnxEngine
from drlongformer.types import WindowInput
from tests.serving import bundles
from tests.serving.bundles import BLOCK, VOCAB_SIZE, WIDTHS

pytestmark = pytest.mark.skipif(not can_be_set(), reason="not Linux on x86-64, where nothing is set")


def tiny() -> float:
    """A product below a float's own range: 1e-40, or zero."""
    return float((np.full(64, 1e-20, np.float32) * np.float32(1e-20)).max())


def test_tiny_numbers_are_zeros_inside_and_themselves_again_behind() -> None:
    assert tiny() > 0
    with as_zeros():
        assert tiny() == 0
    assert tiny() > 0


def test_a_failure_inside_puts_it_back() -> None:
    with pytest.raises(KeyError), as_zeros():
        raise KeyError
    assert tiny() > 0


def test_other_threads_keep_theirs() -> None:
    asked, found = threading.Event(), []

    def other() -> None:
        asked.wait(timeout=10)
        found.append(tiny())

    thread = threading.Thread(target=other)  # one started inside would take over its maker's
    thread.start()
    with as_zeros():
        asked.set()
        thread.join()
        assert tiny() == 0
    assert found[0] > 0


@pytest.mark.parametrize("threads", [1, 2])
def test_an_engine_answers_to_the_last_bit_as_without_it_and_leaves_its_callers_thread_as_it_was(
    tmp_path: Path, threads: int
) -> None:
    bundle = bundles.write(tmp_path)
    draw = np.random.default_rng(0)
    windows = [
        WindowInput(ids=draw.integers(0, VOCAB_SIZE, length), global_slots=(0,), rows={}, segments=np.zeros(length, np.int64))
        for length in (1, BLOCK, 3 * BLOCK + 1)
    ]
    batch = pack(windows, block=BLOCK, heads=tuple(WIDTHS))
    engine = OnnxEngine(bundle, "cpu", threads)
    got = engine.run(batch).segment_sums
    assert tiny() > 0
    plain = ort.InferenceSession(bundle.folder / bundle.graph("cpu").file, providers=["CPUExecutionProvider"])
    (wanted,) = plain.run([SEGMENT_SUMS], batch.feeds())
    np.testing.assert_array_equal(got, wanted)
