"""Packing is a bijection between windows and block slots, whatever the lengths, rows and segments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drlongformer.packing import EngineOutput, PackedBatch, blocks_of, pack, unpack
from drlongformer.types import HIDDEN, IntArray, WindowInput

BLOCK = 4
HEADS = (HIDDEN, "tags")


@st.composite
def window(draw: st.DrawFn) -> WindowInput:
    length = draw(st.integers(1, 3 * BLOCK + 1))
    ids = np.array(draw(st.lists(st.integers(0, 999), min_size=length, max_size=length)))
    slots = st.lists(st.integers(0, length - 1), max_size=5)
    rows = {head: np.array(draw(slots), dtype=np.int64) for head in draw(st.sets(st.sampled_from(HEADS)))}
    segments = None
    if draw(st.booleans()) or not any(len(at) for at in rows.values()):
        segments = np.array(draw(st.lists(st.integers(-1, 2), min_size=length, max_size=length)))
        segments[draw(st.integers(0, length - 1))] = 1
    return WindowInput(
        ids=ids, global_slots=tuple(draw(st.sets(st.integers(0, length - 1), max_size=3))), rows=rows, segments=segments
    )


def encoder_that_says_its_input(batch: PackedBatch) -> EngineOutput:
    """The hidden state of a token is (its id, its place in the pack): what comes back shows where it came from."""
    slots = np.arange(batch.input_ids.size).reshape(batch.input_ids.shape)
    hidden = np.stack([batch.input_ids, slots], axis=-1)[batch.query_blocks].astype(np.float32)  # [M, B, 2]
    member = batch.segment_of_slot[:, None, :] == batch.segment_index[None, :, None]  # [M, K, B]
    rows = {head: hidden.reshape(-1, 2)[at] for head, at in batch.rows.items()}
    return EngineOutput(rows=rows, segment_sums=(member @ hidden).astype(np.float32))


def naive_sums(window: WindowInput, segments: IntArray) -> list[float]:
    return [float(window.ids[segments == segment].sum()) for segment in range(segments.max() + 1)]


@given(st.lists(window(), min_size=1, max_size=6))
def test_every_window_gets_back_what_it_asked_about_and_nothing_else(windows: list[WindowInput]) -> None:
    batch = pack(windows, block=BLOCK, heads=HEADS)
    answers = unpack(batch, encoder_that_says_its_input(batch))
    assert len(answers) == len(windows)
    for asked, answer in zip(windows, answers, strict=True):
        assert answer.rows.keys() == asked.rows.keys()
        for head, slots in asked.rows.items():
            np.testing.assert_array_equal(answer.rows[head][:, 0], asked.ids[slots])
        if asked.segments is None:
            assert answer.segments is None
        else:
            assert answer.segments is not None
            np.testing.assert_array_equal(answer.segments[:, 0], naive_sums(asked, asked.segments))


@given(st.lists(window(), min_size=1, max_size=6))
def test_a_pack_holds_each_token_once_and_pads_less_than_a_block_per_window(windows: list[WindowInput]) -> None:
    batch = pack(windows, block=BLOCK, heads=HEADS)
    assert batch.tokens == sum(map(len, windows))
    assert batch.slots - batch.tokens < BLOCK * len(windows)
    flat = batch.input_ids.reshape(-1)
    for asked, first in zip(windows, batch.first_block, strict=True):
        np.testing.assert_array_equal(flat[first * BLOCK : first * BLOCK + len(asked)], asked.ids)
    assert list(batch.document_of_block) == [
        document for document, asked in enumerate(windows) for _ in range(blocks_of(len(asked), BLOCK))
    ]


@given(st.lists(window(), min_size=1, max_size=6))
def test_only_blocks_that_are_read_are_queried(windows: list[WindowInput]) -> None:
    batch = pack(windows, block=BLOCK, heads=HEADS)
    read = set()
    for asked, first in zip(windows, batch.first_block, strict=True):
        slots = [slot for at in asked.rows.values() for slot in at]
        slots += [] if asked.segments is None else list(np.flatnonzero(asked.segments >= 0))
        read |= {int(first) + int(slot) // BLOCK for slot in slots}
    assert batch.query_blocks.tolist() == sorted(read)


@given(st.lists(window(), min_size=1, max_size=6))
def test_absent_global_tokens_stand_at_the_end_of_their_row(windows: list[WindowInput]) -> None:
    slots = pack(windows, block=BLOCK, heads=HEADS).global_slot
    for asked, row in zip(windows, slots, strict=True):
        assert tuple(row[: len(asked.global_slots)]) == asked.global_slots
        assert (row[len(asked.global_slots) :] == -1).all()


def ask_first(lengths: Sequence[int]) -> list[WindowInput]:
    return [WindowInput(ids=np.arange(1, length + 1), rows={HIDDEN: np.array([0])}) for length in lengths]


def test_the_drawing_of_the_module_docstring() -> None:
    batch = pack(ask_first([5, 3, 9]), block=4, heads=[HIDDEN])
    assert batch.document_of_block.tolist() == [0, 0, 1, 2, 2, 2]
    assert batch.first_block.tolist() == [0, 2, 3]
    assert batch.document_length.tolist() == [5, 3, 9]
    assert batch.slots == 24
    assert batch.query_blocks.tolist() == [0, 2, 3]


def test_a_window_that_asks_for_nothing_is_refused() -> None:
    idle = WindowInput(ids=np.arange(3), rows={HIDDEN: np.empty(0, dtype=np.int64)})
    with pytest.raises(ValueError, match="asks for nothing"):
        pack([idle], block=4, heads=[HIDDEN])


def test_an_unknown_head_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no head 'other'"):
        pack([WindowInput(ids=np.arange(3), rows={"other": np.array([0])})], block=4, heads=[HIDDEN])


def test_rows_outside_a_window_are_refused_with_the_figures() -> None:
    with pytest.raises(ValueError, match=r"0\.\.3 lie outside a window of 3 tokens"):
        WindowInput(ids=np.arange(3), rows={HIDDEN: np.array([0, 3])})
