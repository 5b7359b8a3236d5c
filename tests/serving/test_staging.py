"""Batches in parts: every window is in one part, parts fit, and answers come back in order whatever fails."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drlongformer.errors import EngineFailed
from drlongformer.packing import EngineOutput, PackedBatch, blocks_of, pack, unpack
from drlongformer.serving.engine import FakeEngine, Stop, compute
from drlongformer.serving.staging import AHEAD, Staged, answers_in_parts, parts
from drlongformer.types import HIDDEN, WindowInput, WindowOutput

BLOCK = 4


def window(length: int) -> WindowInput:
    return WindowInput(ids=np.arange(length), rows={HIDDEN: np.arange(length)}, segments=np.zeros(length, dtype=np.int64))


class StagedFake(FakeEngine):
    """A fake engine that takes batches in. waits: every batch runs only once there was a second one."""

    part_blocks = 3

    def __init__(self, *, fail_on: int | None = None, waits: bool = False) -> None:
        super().__init__({}, block=BLOCK, fail_on=fail_on)
        self.waits = waits
        self.thread = ThreadPoolExecutor(1)
        self.taken = 0
        self.most_taken = 0
        self.second_is_in = Event()

    def begin(self, batch: PackedBatch, stop: Stop | None = None) -> Future[EngineOutput]:
        self.taken += 1
        self.most_taken = max(self.most_taken, self.taken)
        if self.taken == AHEAD:
            self.second_is_in.set()
        return self.thread.submit(self._run, batch, stop)

    def _run(self, batch: PackedBatch, stop: Stop | None) -> EngineOutput:
        try:
            if self.waits:
                assert self.second_is_in.wait(60), "the second part was not taken in before the first was answered"
            return self.run(batch, stop)
        finally:
            self.taken -= 1


@given(lengths=st.lists(st.integers(1, 5 * BLOCK), min_size=1, max_size=20), most=st.integers(1, 12))
def test_parts_hold_every_window_once_in_order_and_fit(lengths: list[int], most: int) -> None:
    asked = [window(length) for length in lengths]
    made = list(parts(asked, BLOCK, most))
    assert [id(one) for part in made for one in part] == [id(one) for one in asked]
    for part in made:
        assert len(part) == 1 or sum(blocks_of(len(one), BLOCK) for one in part) <= most


def test_parts_are_about_equal() -> None:
    sizes = [len(part) for part in parts([window(BLOCK)] * 20, BLOCK, 8)]
    assert sizes == [7, 7, 6]


@given(lengths=st.lists(st.integers(1, 3 * BLOCK), min_size=1, max_size=12))
def test_answers_in_parts_are_those_of_one_batch(lengths: list[int]) -> None:
    asked = [window(length) for length in lengths]
    plain = FakeEngine({}, block=BLOCK)
    batch = pack(asked, block=BLOCK, heads=plain.heads)
    for got, wanted in zip(answers_in_parts(StagedFake(), asked), unpack(batch, plain.run(batch)), strict=True):
        np.testing.assert_array_equal(got.rows[HIDDEN], wanted.rows[HIDDEN])


def test_the_next_part_is_taken_in_while_one_runs_and_no_more() -> None:
    engine = StagedFake(waits=True)
    answers_in_parts(engine, [window(2 * BLOCK)] * 6)
    assert engine.most_taken == AHEAD


def test_a_failure_comes_out_and_nothing_runs_on_behind_it() -> None:
    engine = StagedFake(fail_on=2 * BLOCK - 1)
    with pytest.raises(EngineFailed):
        answers_in_parts(engine, [window(2 * BLOCK)] * 6)
    assert engine.taken == 0


def test_computing_goes_in_parts_where_an_engine_takes_batches_in() -> None:
    engine = StagedFake()
    assert isinstance(engine, Staged)
    assert not isinstance(FakeEngine({}), Staged)
    answers = compute(engine, [window(2 * BLOCK)] * 3, [None] * 3)
    assert len(engine.batches) == 3
    assert all(isinstance(answer, WindowOutput) for answer in answers)
