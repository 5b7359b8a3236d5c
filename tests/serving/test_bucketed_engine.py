"""The engine of buckets on the CPU provider: the answers of the plain engine, and no shape that warming up has not met."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drlongformer.errors import Cancelled, DeviceUnavailable, EngineFailed
from drlongformer.packing import pack, unpack
from drlongformer.serving.bucketed_engine import BucketedEngine, CudaOptions
from drlongformer.serving.engine import Engine, OnnxEngine, Stop, compute
from drlongformer.serving.staging import Staged
from drlongformer.types import WindowInput, WindowOutput
from tests.serving import bundles
from tests.serving.bundles import BLOCK, MAX_TOKENS, VOCAB_SIZE, WIDTHS


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[BucketedEngine, OnnxEngine]:
    bundle = bundles.write(tmp_path_factory.mktemp("store"))
    return BucketedEngine(bundle, "cpu", part_blocks=12), OnnxEngine(bundle, "cpu", 1)


def question(length: int, *, seed: int = 0, rows: int = 2, global_slots: int = 1) -> WindowInput:
    random = np.random.default_rng([seed, length])
    return WindowInput(
        ids=random.integers(0, VOCAB_SIZE, length),
        global_slots=tuple(range(min(global_slots, length))),
        rows={head: random.integers(0, length, rows) for head in WIDTHS},
        segments=np.arange(length) % 3 if seed % 2 else None,
    )


def answers(engine: Engine, windows: list[WindowInput]) -> list[WindowOutput]:
    batch = pack(windows, block=engine.block, heads=engine.heads)
    return unpack(batch, engine.run(batch))


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, MAX_TOKENS), min_size=1, max_size=3),
    seed=st.integers(0, 99),
    rows=st.integers(1, 40),
    global_slots=st.integers(0, 12),
)
def test_padding_to_a_bucket_changes_no_answer(
    both: tuple[BucketedEngine, OnnxEngine], lengths: list[int], seed: int, rows: int, global_slots: int
) -> None:
    bucketed, plain = both
    windows = [
        question(length, seed=seed + place, rows=rows, global_slots=global_slots) for place, length in enumerate(lengths)
    ]
    for got, wanted in zip(answers(bucketed, windows), answers(plain, windows), strict=True):
        for head, numbers in wanted.rows.items():
            np.testing.assert_allclose(got.rows[head], numbers, atol=1e-5)
        if wanted.segments is not None:
            assert got.segments is not None
            np.testing.assert_allclose(got.segments, wanted.segments, atol=1e-4)


def test_after_warming_up_no_shape_of_the_encoder_is_new(tmp_path: Path) -> None:
    engine = BucketedEngine(bundles.write(tmp_path), "cpu", part_blocks=12)
    assert 0 < engine.warm_up() < 1
    warm, buffers = set(engine.encoder_shapes), len(engine._pool)
    assert {blocks for blocks, _, _ in warm} == set(engine.buckets)
    for count in range(1, 9):
        windows = [question(1 + 7 * place, seed=count + place) for place in range(count)]
        compute(engine, windows, [None] * count)
    assert set(engine.encoder_shapes) == warm
    before = len(engine._pool)
    for count in range(1, 9):
        windows = [question(1 + 7 * place, seed=count + place) for place in range(count)]
        compute(engine, windows, [None] * count)
    assert buffers < before == len(engine._pool), "the same batches again need no new buffers"


def test_a_large_batch_is_computed_in_parts_with_the_answers_of_one(both: tuple[BucketedEngine, OnnxEngine]) -> None:
    bucketed, plain = both
    assert isinstance(bucketed, Staged)
    windows = [question(1 + 5 * (place % 12), seed=2 * place + 1) for place in range(40)]
    got, wanted = (compute(engine, windows, [None] * 40) for engine in both)
    assert max(blocks for blocks, _, _ in bucketed.encoder_shapes) <= 12
    for one, other in zip(got, wanted, strict=True):
        assert isinstance(one, WindowOutput)
        assert isinstance(other, WindowOutput)
        for head, numbers in other.rows.items():
            np.testing.assert_allclose(one.rows[head], numbers, atol=1e-5)


def test_answers_stay_when_the_buffers_are_written_over(both: tuple[BucketedEngine, OnnxEngine]) -> None:
    bucketed, _ = both
    first, *_ = answers(bucketed, [question(40, seed=1)])
    kept = first.rows["hidden"].copy()
    for seed in range(2, 6):
        answers(bucketed, [question(40, seed=seed)])
    np.testing.assert_array_equal(first.rows["hidden"], kept)


def test_an_id_outside_the_vocabulary_and_a_batch_beyond_the_buckets_are_refused(
    both: tuple[BucketedEngine, OnnxEngine],
) -> None:
    bucketed, _ = both
    strange = WindowInput(ids=np.array([VOCAB_SIZE]), rows={"hidden": np.array([0])})
    with pytest.raises(EngineFailed, match="the vocabulary has"):
        answers(bucketed, [strange])
    with pytest.raises(EngineFailed, match="the largest bucket has 12"):
        answers(bucketed, [question(MAX_TOKENS)] * (12 * BLOCK // MAX_TOKENS + 1))


def test_a_stopped_batch_does_not_run(both: tuple[BucketedEngine, OnnxEngine]) -> None:
    bucketed, _ = both
    stop = Stop()
    stop.set()
    with pytest.raises(Cancelled):
        bucketed.run(pack([question(5)], block=BLOCK, heads=bucketed.heads), stop)


def test_a_card_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceUnavailable, match="no CUDA"):
        BucketedEngine(bundles.write(tmp_path), "cuda:0")


def test_options_are_those_of_the_provider() -> None:
    plain = dict(CudaOptions().provider)
    assert plain == {
        "use_tf32": "0",
        "enable_skip_layer_norm_strict_mode": "1",
        "arena_extend_strategy": "kSameAsRequested",
        "enable_cuda_graph": "0",
    }
    limited = CudaOptions(memory_bytes=2**30, capture=True, sdpa_kernel=8).provider
    assert dict(limited) == plain | {"gpu_mem_limit": "1073741824", "enable_cuda_graph": "1", "sdpa_kernel": "8"}
