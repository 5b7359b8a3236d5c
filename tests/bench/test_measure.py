"""What bench measures keeps its time, leaves out what cannot be, and says so; speeds are made up by a clock, never asserted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from drlongformer import bundle
from drlongformer.bench import measure, told
from drlongformer.bench.ceiling import matrix_peak, operations
from drlongformer.bench.measure import Batch, Length, Measured
from drlongformer.bundle import Bundle
from drlongformer.serving.engines import Compute

SMALL = {"hidden_size": 4, "intermediate_size": 8, "attention_window": [4], "num_hidden_layers": 1}


@pytest.fixture(scope="module")
def mini() -> Bundle:
    store = Path(__file__).parents[2] / "model_store"
    return bundle.load(bundle.find(store, bundle.names(store)[0]))


def run(mini: Bundle, asked: Sequence[Compute], *, seconds: float, lengths: Sequence[int] = (20, 200)) -> list[Measured]:
    return list(measure.measure(mini, asked, lengths=lengths, seconds=seconds, report=lambda _: None))


def test_an_engine_is_measured_at_every_length_there_is_time_for(mini: Bundle) -> None:
    steps: list[str] = []
    [found] = measure.measure(mini, [Compute(threads=1)], lengths=(20, 200, 300), seconds=0.0, report=steps.append)
    assert [one.tokens for one in found.lengths] == [20]  # the first one always
    assert found.batches == ()
    assert found.refused is None
    assert "loading" in steps[0]
    remarks = list(told.remarks((20, 200, 300), found))
    assert any("no time was left to try batches" in line for line in remarks)
    assert any("no time was left for 200, 300 tokens" in line for line in remarks)


def test_what_cannot_be_had_is_refused_with_its_reason(mini: Bundle) -> None:
    [found] = run(mini, [Compute(precision="bf16")], seconds=1)
    assert found.refused is not None
    assert "openvino" in found.refused
    assert list(told.remarks((20,), found)) == [f"onnxruntime bf16 was not measured: {found.refused}"]


def test_on_a_cpu_every_engine_is_asked_and_int8_where_the_bundle_has_it(mini: Bundle) -> None:
    names = [(one.engine, one.precision) for one in measure.engines_of(mini, device="cpu", threads=1)]
    assert ("onnxruntime", "int8") not in names
    assert names == [("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")]
    [cuda] = measure.engines_of(mini, device="cuda:0", threads=0)
    assert cuda.device == "cuda:0"


def test_the_batch_that_pays_is_the_smallest_within_five_per_cent_of_the_best() -> None:
    batches = (Batch(slots=4096, seconds=1.0), Batch(slots=8192, seconds=1.94), Batch(slots=16384, seconds=3.85))
    found = Measured(compute=Compute(), batches=batches)
    assert found.best_batch == batches[1 - 1]
    slower = (Batch(slots=4096, seconds=2.0), *batches[1:])
    assert Measured(compute=Compute(), batches=slower).best_batch == batches[1]


def test_operations_grow_with_blocks_not_with_tokens() -> None:
    one, both = operations(SMALL, block=4, tokens=1), operations(SMALL, block=4, tokens=5)
    assert both == 2 * one
    # 4 slots, each 2 * (4 * 16 + 2 * 32) in linear layers and 4 * 13 keys * 4 columns in attention
    assert one == 4 * (2 * (4 * 16 + 2 * 32) + 4 * 13 * 4)
    assert matrix_peak(0.0) > 0


def test_the_share_of_the_ceiling_is_what_the_least_time_is_of_the_time_taken(mini: Bundle) -> None:
    needs = operations(mini.manifest.architecture, block=mini.manifest.block, tokens=128)
    now = told.Circumstances(bundle=mini, device="cpu", peak=needs, busy=0.9, load_average=7.0)
    found = Measured(compute=Compute(), lengths=(Length(tokens=128, turns=3, seconds=2.0),))
    assert [row[4] for row in told.rows(now, found)] == ["50%"]
    assert any("this machine is busy" in line for line in told.heading(now))
    one = told.as_json(now, [found])["engines"][0]
    assert one["lengths"][0]["share_of_ceiling"] == 0.5
    on_card = told.Circumstances(bundle=mini, device="cuda", peak=needs, busy=0.0, load_average=0.0)
    assert [row[4] for row in told.rows(on_card, found)] == ["–"]
    assert not any("busy:" in line for line in told.heading(on_card))
