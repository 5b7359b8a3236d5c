"""Padding to buckets: shapes follow from the blocks, every dimension fits, and padding asks and answers nothing."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drlongformer.packing import PackedBatch, blocks_of, pack
from drlongformer.serving.buckets import FEW, Shape, cut, empty, fill, ladder, plain_shapes, shape_of
from drlongformer.serving.engine import FakeEngine
from drlongformer.types import HIDDEN, IntArray, WindowInput

BLOCK = 4
HEADS = (HIDDEN, "tags")
LONGEST = 5


@st.composite
def windows(draw: st.DrawFn) -> list[WindowInput]:
    """Windows that ask for rows, for sums, or for both, with any number of global tokens."""
    made = []
    for length in draw(st.lists(st.integers(1, LONGEST * BLOCK), min_size=1, max_size=8)):
        slots = st.integers(0, length - 1)
        rows = {head: np.array(draw(st.lists(slots, max_size=4)), dtype=np.int64) for head in HEADS}
        sums = draw(st.booleans()) or not any(map(len, rows.values()))
        segments = draw(st.lists(st.integers(0, 2), min_size=length, max_size=length)) if sums else None
        made.append(
            WindowInput(
                ids=np.array(draw(st.lists(st.integers(0, 50), min_size=length, max_size=length))),
                global_slots=tuple(draw(st.lists(slots, unique=True, max_size=4))),
                rows=rows,
                segments=None if segments is None else np.array(segments),
            )
        )
    return made


def padded(batch: PackedBatch, shape: Shape, *, used: bool) -> dict[str, IntArray]:
    """The arrays of a padded batch; used: an earlier batch has left its numbers in them."""
    arrays = {name: np.full(size, 7 * used, dtype=np.int64) for name, size in shape.inputs(BLOCK).items()}
    fill(arrays, batch)
    return arrays


def test_the_ladder_goes_up_by_a_quarter_at_most_and_ends_where_it_is_told() -> None:
    assert ladder(64) == (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
    assert ladder(1) == (1,)
    assert ladder(9) == (1, 2, 3, 4, 5, 6, 7, 8, 9)
    for blocks, above in zip(ladder(2000)[4:], ladder(2000)[5:], strict=False):
        assert blocks < above <= 1.25 * blocks


@settings(max_examples=60)
@given(asked=windows(), used=st.booleans())
def test_a_padded_batch_holds_the_batch_and_nothing_besides(asked: list[WindowInput], used: bool) -> None:
    batch = pack(asked, block=BLOCK, heads=HEADS)
    shape = shape_of(batch, ladder(64))
    arrays = padded(batch, shape, used=used)
    for name, array in batch.feeds().items():
        part = arrays[name][tuple(slice(size) for size in array.shape)]
        np.testing.assert_array_equal(part, array, err_msg=name)
    documents, blocks = len(batch.first_block), len(batch.document_of_block)
    assert (arrays["document_length"][documents:] == 0).all()
    assert (arrays["global_slot"][documents:] == -1).all()
    assert (arrays["segment_of_slot"][len(batch.query_blocks) :] == -1).all()
    if blocks < shape.blocks:
        assert set(arrays["document_of_block"][blocks:]) == {documents}
        assert arrays["first_block"][documents] == blocks


@settings(max_examples=60)
@given(asked=windows())
def test_every_index_of_a_padded_batch_points_inside(asked: list[WindowInput]) -> None:
    batch = pack(asked, block=BLOCK, heads=HEADS)
    shape = shape_of(batch, ladder(64))
    arrays = padded(batch, shape, used=True)
    for name in ("document_of_block", "first_block", "query_blocks"):
        assert 0 <= arrays[name].min() <= arrays[name].max() < shape.blocks, name
    for head in HEADS:
        assert arrays[f"rows.{head}"].max(initial=0) < shape.query_blocks * BLOCK
    assert len(set(arrays["query_blocks"])) == shape.query_blocks, "a block twice would be answered in the wrong place"


@settings(max_examples=60)
@given(asked=windows())
def test_the_shape_follows_from_the_blocks(asked: list[WindowInput]) -> None:
    batch = pack(asked, block=BLOCK, heads=HEADS)
    shape = shape_of(batch, ladder(64))
    assert shape.blocks in ladder(64)
    assert shape.query_blocks in (shape.blocks, max(1, shape.blocks // FEW))
    assert shape.global_slots % 8 == 1
    if batch.global_slot.shape[1] == 1:
        plain = {each.encoder for each in plain_shapes(ladder(64), HEADS, longest=LONGEST)}
        assert shape.encoder in plain, "a shape that warming up has not met"


def test_batches_of_every_length_meet_few_shapes() -> None:
    met = Counter[tuple[int, int, int]]()
    for length in range(1, LONGEST * BLOCK + 1):
        for count in (1, 2, 3, 7, 12):
            window = WindowInput(ids=np.zeros(length, dtype=np.int64), global_slots=(0,), rows={HIDDEN: np.array([0])})
            batch = pack([window] * count, block=BLOCK, heads=HEADS)
            met[shape_of(batch, ladder(64)).encoder] += 1
    assert met.keys() <= {each.encoder for each in plain_shapes(ladder(64), HEADS, longest=LONGEST)}
    assert any(query_blocks < blocks for blocks, query_blocks, _ in met)
    assert len(met) < met.total() / 3


@settings(max_examples=40)
@given(asked=windows())
def test_cutting_gives_back_the_batchs_own_part(asked: list[WindowInput]) -> None:
    engine = FakeEngine({"tags": 3}, block=BLOCK)
    batch = pack(asked, block=BLOCK, heads=HEADS)
    wanted = engine.run(batch)
    shape = shape_of(batch, ladder(64))
    outputs = {name: np.full(size, 9.0, np.float32) for name, size in shape.outputs(engine.widths, 8).items()}
    for head, rows in wanted.rows.items():
        outputs[head][: len(rows)] = rows
    sums = outputs.pop("segment_sums")
    sums[: wanted.segment_sums.shape[0], : wanted.segment_sums.shape[1]] = wanted.segment_sums
    got = cut(batch, outputs, sums)
    for head, rows in wanted.rows.items():
        np.testing.assert_array_equal(got.rows[head], rows)
        assert not np.shares_memory(got.rows[head], outputs[head])
    np.testing.assert_array_equal(got.segment_sums, wanted.segment_sums)


def test_an_empty_batch_has_no_document_and_no_block_twice() -> None:
    for shape in plain_shapes(ladder(12), HEADS, longest=LONGEST):
        arrays = {name: np.full(size, 5, dtype=np.int64) for name, size in shape.inputs(BLOCK).items()}
        empty(arrays)
        assert arrays["document_length"].sum() == 0
        assert (arrays["global_slot"] == -1).all()
        assert arrays["query_blocks"].tolist() == list(range(shape.query_blocks))


def test_more_blocks_than_the_largest_bucket_are_refused() -> None:
    window = WindowInput(ids=np.zeros(3 * BLOCK, dtype=np.int64), rows={HIDDEN: np.array([0])})
    assert blocks_of(len(window), BLOCK) == 3
    with pytest.raises(ValueError, match="a batch of 3 blocks, the largest bucket has 2"):
        shape_of(pack([window], block=BLOCK, heads=HEADS), ladder(2))
