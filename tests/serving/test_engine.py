from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drlongformer import bundle
from drlongformer.bundle import HeadSpec
from drlongformer.errors import BundleError, Cancelled, DeviceUnavailable, EngineFailed
from drlongformer.packing import PackedBatch, pack, unpack
from drlongformer.serving.engine import Engine, FakeEngine, OnnxEngine, Stop, available_cpus, compute, parse_device
from drlongformer.types import HIDDEN, WindowInput, WindowOutput
from tests.serving import bundles
from tests.serving.bundles import BLOCK, HEADS, VOCAB_SIZE, WIDTHS


@pytest.fixture(scope="module")
def onnx_engine(tmp_path_factory: pytest.TempPathFactory) -> OnnxEngine:
    return OnnxEngine(bundles.write(tmp_path_factory.mktemp("store")), "cpu", 1)


def question(length: int, *, seed: int = 0) -> WindowInput:
    """Random ids, of which every head reads some and the sums of two segments are wanted."""
    random = np.random.default_rng([seed, length])
    return WindowInput(
        ids=random.integers(0, VOCAB_SIZE, length),
        global_slots=(0,),
        rows={head: random.integers(0, length, 2) for head in WIDTHS},
        segments=np.arange(length) % 2,
    )


def packed(*windows: WindowInput) -> PackedBatch:
    return pack(windows, block=BLOCK, heads=tuple(WIDTHS))


def answers(engine: Engine, *windows: WindowInput) -> list[WindowOutput]:
    batch = pack(windows, block=engine.block, heads=engine.heads)
    return unpack(batch, engine.run(batch))


def assert_same(one: WindowOutput, other: WindowOutput) -> None:
    for head in one.rows:
        np.testing.assert_array_equal(one.rows[head], other.rows[head])
    assert one.segments is not None
    assert other.segments is not None
    np.testing.assert_array_equal(one.segments, other.segments)


# OnnxEngine


def test_the_graph_tells_the_heads_and_their_widths(onnx_engine: OnnxEngine) -> None:
    assert dict(onnx_engine.widths) == WIDTHS
    assert (onnx_engine.heads, onnx_engine.block) == (tuple(WIDTHS), BLOCK)
    assert (onnx_engine.device, onnx_engine.provider, onnx_engine.precision) == ("cpu", "CPUExecutionProvider", "fp32")


def test_heads_and_segment_sums_come_back_to_their_windows(onnx_engine: OnnxEngine) -> None:
    window = question(40)
    hidden = replace(window, rows={HIDDEN: np.arange(40)}, segments=None)
    first, second = answers(onnx_engine, window, hidden)
    states = second.rows[HIDDEN]
    np.testing.assert_array_equal(first.rows[HIDDEN], states[window.rows[HIDDEN]])
    assert first.segments is not None
    np.testing.assert_allclose(first.segments, [states[::2].sum(0), states[1::2].sum(0)], rtol=1e-5, atol=1e-5)


def test_an_id_outside_the_vocabulary_is_refused_before_the_device(onnx_engine: OnnxEngine) -> None:
    window = WindowInput(ids=np.array([1, VOCAB_SIZE]), rows={HIDDEN: np.array([0])})
    with pytest.raises(EngineFailed, match=f"token ids 0..{VOCAB_SIZE}, the vocabulary has {VOCAB_SIZE}"):
        onnx_engine.run(packed(window))


def test_what_breaks_in_the_graph_is_an_engine_failure(onnx_engine: OnnxEngine) -> None:
    batch = packed(question(5))
    broken = replace(batch, rows=dict(batch.rows) | {HIDDEN: np.array([10_000])})
    with pytest.raises(EngineFailed, match="a batch of 1 windows, 16 slots"):
        onnx_engine.run(broken)


def test_a_run_can_be_stopped_from_another_thread(tmp_path: Path) -> None:
    engine = OnnxEngine(bundles.write(tmp_path, model=bundles.graph(slow=True)), "cpu", 1)
    stop = Stop()
    timer = threading.Timer(0.05, stop.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        engine.run(packed(question(5)), stop)
    assert time.monotonic() - started < 30
    timer.join()


def test_a_run_that_was_stopped_before_it_began_does_not_begin(onnx_engine: OnnxEngine) -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(Cancelled):
        onnx_engine.run(packed(question(5)), stop)


def test_warming_up_tells_the_speed(onnx_engine: OnnxEngine) -> None:
    assert 0 < onnx_engine.warm_up() < 1


def test_cuda_without_cuda_is_refused_and_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(DeviceUnavailable, match="no CUDA"):
        OnnxEngine(bundles.write(tmp_path), "cuda")


def test_a_graph_without_a_head_of_the_manifest_is_refused(tmp_path: Path) -> None:
    other = HeadSpec(name="other", task="fill-mask", output="other", global_attention="first", trained=True)
    with pytest.raises(BundleError, match="the manifest names the heads"):
        OnnxEngine(bundles.write(tmp_path, heads=(*HEADS, other)), "cpu")


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    bundle = bundles.write(tmp_path)
    (bundle.folder / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match="does not load"):
        OnnxEngine(bundle, "cpu")


@pytest.mark.parametrize(("device", "parsed"), [("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)), ("cuda:3", ("cuda", 3))])
def test_devices_are_read(device: str, parsed: tuple[str, int]) -> None:
    assert parse_device(device) == parsed


@pytest.mark.parametrize("device", ["", "gpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1"])
def test_what_is_no_device_is_refused(device: str) -> None:
    with pytest.raises(DeviceUnavailable, match="is no device"):
        parse_device(device)


def test_there_is_at_least_one_cpu() -> None:
    assert available_cpus() >= 1


@pytest.mark.parametrize(("quota", "cpus"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None)])
def test_a_control_groups_time_counts_in_whole_cpus_and_never_in_less_than_one(
    tmp_path: Path, quota: str, cpus: int | None
) -> None:
    for name, text in (("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", f"{quota}\n")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert available_cpus(tmp_path) == (cpus or len(os.sched_getaffinity(0)))


# Both engines


@pytest.mark.parametrize("kind", ["onnx", "fake"])
def test_a_window_is_answered_the_same_alone_and_beside_others(kind: str, onnx_engine: OnnxEngine) -> None:
    engine: Engine = onnx_engine if kind == "onnx" else FakeEngine(WIDTHS, block=BLOCK)
    windows = [question(length) for length in (1, 15, 16, 17, 40)]
    for together, alone in zip(answers(engine, *windows), windows, strict=True):
        assert_same(together, answers(engine, alone)[0])


@pytest.mark.parametrize("threads", [1, 2, 8, 16])
def test_the_embedded_model_answers_a_short_note_the_same_alone_and_beside_others(threads: int) -> None:
    store = Path(__file__).parents[2] / "model_store"
    [name] = bundle.names(store)
    engine = OnnxEngine(bundle.load(bundle.find(store, name)), "cpu", threads)
    random = np.random.default_rng(0)
    notes = [
        WindowInput(ids=random.integers(5, 1000, length), global_slots=(0,), rows={}, segments=np.zeros(length, dtype=np.int64))
        for length in (44, 100, engine.block, engine.block + 1)
    ]
    together = compute(engine, notes, [None] * len(notes))
    for note, beside in zip(notes, together, strict=True):
        [alone] = compute(engine, [note], [None])
        assert isinstance(alone, WindowOutput)
        assert isinstance(beside, WindowOutput)
        assert_same(alone, beside)


@pytest.mark.slow
def test_an_exported_longformer_runs_as_it_is(tmp_path: Path) -> None:
    import onnx_ir as ir
    import torch

    from drlongformer.model.export import to_ir
    from drlongformer.model.heads import ChoiceHead, ClassificationHead, LongformerWithHeads, MaskedLanguageHead, TokenHead
    from drlongformer.model.longformer import Longformer, LongformerConfig, Pack

    config = LongformerConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=bundles.MAX_TOKENS + 2,
        attention_window=(16, 32),
        block=BLOCK,
    )
    torch.manual_seed(0)
    encoder = Longformer(config)
    words = MaskedLanguageHead(config, encoder.embeddings.word_embeddings)
    heads = {"entities": TokenHead(config, 3), "chapter": ClassificationHead(config, 3), "words": words}
    heads |= {"near": ClassificationHead(config, 1), "right": ChoiceHead(config), "letters": ClassificationHead(config, 4)}
    model = LongformerWithHeads(encoder, heads).eval()
    graph = ir.to_proto(to_ir(model)).SerializeToString()
    engine = OnnxEngine(bundles.write(tmp_path, model=graph), "cpu", 1)
    assert dict(engine.widths) == WIDTHS
    batch = packed(*(question(length) for length in (1, 15, 16, 17, 64)))
    output = engine.run(batch)
    with torch.no_grad():
        rows, sums = model(
            Pack.of(batch),
            {head: torch.from_numpy(at) for head, at in batch.rows.items()},
            torch.from_numpy(batch.segment_of_slot),
            torch.from_numpy(batch.segment_index),
        )
    for head in WIDTHS:
        np.testing.assert_allclose(output.rows[head], rows[head].numpy(), atol=1e-5)
    np.testing.assert_allclose(output.segment_sums, sums.numpy(), atol=1e-4)


# FakeEngine


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_the_fake_answers_from_a_windows_own_ids(lengths: list[int], seed: int) -> None:
    engine = FakeEngine(WIDTHS, block=BLOCK)
    windows = [question(length, seed=seed + place) for place, length in enumerate(lengths)]
    for window, together in zip(windows, answers(engine, *windows), strict=True):
        assert_same(together, answers(engine, window)[0])
        assert {head: rows.shape for head, rows in together.rows.items()} == {head: (2, w) for head, w in WIDTHS.items()}


def test_the_fake_sums_its_own_hidden_states() -> None:
    engine = FakeEngine(WIDTHS, block=BLOCK)
    window = WindowInput(ids=np.arange(20), rows={HIDDEN: np.arange(20)}, segments=np.zeros(20, dtype=np.int64))
    [output] = answers(engine, window)
    assert output.segments is not None
    np.testing.assert_allclose(output.segments[0], output.rows[HIDDEN].sum(0), atol=1e-5)


def test_the_fake_answers_other_ids_differently() -> None:
    engine = FakeEngine(WIDTHS, block=BLOCK)
    one, other = answers(engine, question(20, seed=1), question(20, seed=2))
    assert not np.allclose(one.rows["entities"], other.rows["entities"])


# Stop


def test_a_stop_calls_back_once_whether_asked_before_or_after() -> None:
    called: list[str] = []
    stop = Stop()
    stop.then(lambda: called.append("before"))
    assert not called
    stop.set()
    stop.then(lambda: called.append("after"))
    assert called == ["before", "after"]
