from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drlongformer.errors import InvalidRequest
from drlongformer.tasks import embed
from drlongformer.text.windows import LEADING, SPECIALS, plan
from drlongformer.types import HIDDEN, FloatArray, Window, WindowInput, WindowOutput

SIZE = 4


def hidden(window: Window, seed: int) -> FloatArray:
    """Hidden states of a window's tokens, special ones included."""
    return np.random.default_rng((window.start, seed)).normal(size=(len(window) + SPECIALS, SIZE)).astype(np.float32)


def answer(asked: WindowInput, states: FloatArray) -> WindowOutput:
    """What the encoder would answer, in its plainest form."""
    rows = {name: states[at] for name, at in asked.rows.items()}
    if asked.segments is None:
        return WindowOutput(rows=rows)
    sums = [states[asked.segments == segment].sum(axis=0) for segment in range(asked.segments.max() + 1)]
    return WindowOutput(rows=rows, segments=np.stack(sums))


def embedding(windows: tuple[Window, ...], pooling: embed.Pooling) -> FloatArray:
    outputs = []
    for window in windows:
        asked = embed.ask(window, pooling=pooling, only=len(windows) == 1).about(
            np.zeros(len(window) + SPECIALS, dtype=np.int64)
        )
        outputs.append(answer(asked, hidden(window, 0)))
    return embed.merge(outputs, windows, pooling=pooling)


@given(tokens=st.integers(1, 60))
def test_the_mean_of_one_window_is_over_every_token_special_ones_included(tokens: int) -> None:
    windows = plan(tokens, capacity=60, overlap=4)
    assert np.allclose(embedding(windows, "mean"), hidden(windows[0], 0).mean(axis=0), atol=1e-6)


@given(tokens=st.integers(11, 60))
def test_the_mean_of_many_windows_is_over_each_content_token_once(tokens: int) -> None:
    windows = plan(tokens, capacity=10, overlap=4)
    kept = [hidden(w, 0)[w.keep_start - w.start + LEADING : w.keep_stop - w.start + LEADING] for w in windows]
    assert len(np.concatenate(kept)) == tokens
    assert np.allclose(embedding(windows, "mean"), np.concatenate(kept).mean(axis=0), atol=1e-6)


@given(tokens=st.integers(1, 60))
def test_cls_is_the_mean_of_the_windows_first_tokens_weighted_by_kept_tokens(tokens: int) -> None:
    windows = plan(tokens, capacity=10, overlap=4)
    expected = sum(hidden(w, 0)[0] * (w.keep_stop - w.keep_start) for w in windows) / tokens
    assert np.allclose(embedding(windows, "cls"), expected, atol=1e-6)


def test_one_windows_cls_is_its_first_token_to_the_bit() -> None:
    (window,) = plan(7, capacity=10, overlap=4)
    assert np.array_equal(embedding((window,), "cls"), hidden(window, 0)[0])


def test_cls_reads_the_hidden_head_and_mean_sums_content_and_special_tokens_apart() -> None:
    (window,) = plan(3, capacity=10, overlap=4)
    assert embed.ask(window, pooling="cls", only=True).rows[HIDDEN].tolist() == [0]
    mean = embed.ask(window, pooling="mean", only=True)
    assert (dict(mean.rows), mean.segments is not None and mean.segments.tolist()) == ({}, [1, 0, 0, 0, 1])


def test_dimensions_are_cut_before_normalising() -> None:
    vector = np.array([3.0, 4.0, 12.0], dtype=np.float32)
    assert embed.finish(vector, normalize=True, dimensions=2).tolist() == pytest.approx([0.6, 0.8])
    assert embed.finish(vector, normalize=False, dimensions=2).tolist() == [3.0, 4.0]
    assert np.linalg.norm(embed.finish(vector, normalize=True, dimensions=None)) == pytest.approx(1.0)
    assert embed.finish(vector, normalize=True, dimensions=None).dtype == np.float32


def test_a_zero_vector_stays_zero() -> None:
    assert embed.finish(np.zeros(3, dtype=np.float32), normalize=True, dimensions=None).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("dimensions", [0, -1, 4])
def test_dimensions_that_a_vector_does_not_have_are_refused(dimensions: int) -> None:
    with pytest.raises(InvalidRequest, match=f"{dimensions} dimensions were asked for, the vectors have 3"):
        embed.finish(np.zeros(3, dtype=np.float32), normalize=True, dimensions=dimensions)


def test_spaces_are_equal_only_for_equal_model_pooling_dimensions_and_norm() -> None:
    made = {
        embed.space(model, pooling=pooling, dimensions=dimensions, normalize=normalize)
        for model in ("a", "b")
        for pooling in ("cls", "mean")
        for dimensions in (128, 256)
        for normalize in (True, False)
    }
    assert len(made) == 16
    assert embed.space("a", pooling="cls", dimensions=128, normalize=True) in made


def test_a_mean_without_sums_is_refused() -> None:
    with pytest.raises(ValueError, match="without segment sums"):
        embed.merge([WindowOutput(rows={})], plan(3, capacity=10, overlap=4), pooling="mean")
