"""Late chunking against the plainest form of it: every chunk's vector is the mean of the states of its kept tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drlongformer.tasks import chunks, embed
from drlongformer.text.windows import LEADING, SPECIALS, plan, truncate
from drlongformer.types import FloatArray, IntArray, Window, WindowOutput

SIZE = 4


def states_of(window: Window) -> FloatArray:
    """Hidden states of a window's tokens, special ones included."""
    return np.random.default_rng(window.start).normal(size=(len(window) + SPECIALS, SIZE)).astype(np.float32)


def outputs_of(windows: tuple[Window, ...], cuts: IntArray) -> list[WindowOutput]:
    """What the encoder would answer, in its plainest form."""
    answered = []
    for window in windows:
        segments = chunks.ask(window, cuts, only=len(windows) == 1).segments
        assert segments is not None
        sums = [states_of(window)[segments == number].sum(axis=0) for number in range(segments.max() + 1)]
        answered.append(WindowOutput(rows={}, segments=np.stack(sums)))
    return answered


def kept_states(windows: tuple[Window, ...]) -> FloatArray:
    """The state of each kept token, `[T, C]`."""
    return np.concatenate(
        [states_of(each)[each.keep_start - each.start + LEADING : each.keep_stop - each.start + LEADING] for each in windows]
    )


@given(tokens=st.integers(1, 60), draw=st.data())
def test_a_chunk_is_the_mean_of_its_tokens_however_chunks_and_windows_overlap(tokens: int, draw: st.DataObject) -> None:
    capacity = draw.draw(st.sampled_from([10, 60]))
    windows = plan(tokens, capacity=capacity, overlap=4)
    begins = st.integers(0, tokens - 1)
    pairs = st.lists(begins.flatmap(lambda begin: st.tuples(st.just(begin), st.integers(begin + 1, tokens))), max_size=8)
    ranges = np.array(draw.draw(pairs), dtype=np.int64).reshape(-1, 2)
    cuts = chunks.cuts_of(ranges, windows)
    parts = chunks.sums(outputs_of(windows, cuts), windows, cuts)
    found = chunks.chunk_vectors(parts, cuts, ranges)
    states = kept_states(windows)
    wanted = [states[begin:end].mean(axis=0) for begin, end in ranges.tolist()]
    assert found.shape == (len(ranges), SIZE)
    assert np.allclose(found, np.array(wanted).reshape(-1, SIZE), atol=1e-6)


@given(tokens=st.integers(1, 60), capacity=st.sampled_from([10, 60]))
def test_the_documents_vector_is_the_same_with_and_without_chunks(tokens: int, capacity: int) -> None:
    windows = plan(tokens, capacity=capacity, overlap=4)
    only = len(windows) == 1
    cuts = chunks.cuts_of(np.array([[0, (tokens + 1) // 2]]), windows)
    with_chunks = chunks.document_vector(chunks.sums(outputs_of(windows, cuts), windows, cuts), cuts, only=only)
    whole = chunks.cuts_of(chunks.NO_SPANS, windows)
    without = embed.merge(outputs_of(windows, whole), windows, pooling="mean")
    assert np.allclose(with_chunks, without, atol=1e-6)


def test_the_example_of_the_module() -> None:
    windows = plan(6, capacity=10, overlap=4)
    ranges = np.array([[0, 3], [3, 6], [2, 4]])
    cuts = chunks.cuts_of(ranges, windows)
    segments = chunks.ask(windows[0], cuts, only=True).segments
    assert cuts.tolist() == [0, 2, 3, 4, 6]
    assert segments is not None
    assert segments.tolist() == [4, 0, 0, 1, 2, 3, 3, 4]


def test_a_token_belongs_to_every_chunk_that_shares_a_character_with_it() -> None:
    offsets = np.array([[0, 2], [3, 7], [7, 7], [8, 12]])
    spans = np.array([[0, 2], [2, 3], [1, 4], [5, 9], [0, 12], [12, 20]])
    assert chunks.locate(spans, offsets).tolist() == [[0, 1], [1, 1], [0, 2], [1, 4], [0, 4], [4, 4]]


def test_tokens_of_one_character_stay_together() -> None:
    offsets = np.array([[0, 1], [1, 2], [1, 2], [1, 2], [2, 3]])
    assert chunks.locate(np.array([[1, 2]]), offsets).tolist() == [[1, 4]]


def test_nothing_is_located_in_a_document_without_tokens() -> None:
    assert chunks.locate(np.array([[0, 4]]), np.empty((0, 2), dtype=np.int64)).tolist() == [[0, 0]]


def test_a_chunk_without_a_kept_token_is_no_chunk() -> None:
    windows = (truncate(20, capacity=10, side="head"),)
    ranges = np.array([[4, 8], [12, 14]])
    cuts = chunks.cuts_of(ranges, windows)
    parts = chunks.sums(outputs_of(windows, cuts), windows, cuts)
    with pytest.raises(ValueError, match="chunk 1 has no token"):
        chunks.chunk_vectors(parts, cuts, ranges)
