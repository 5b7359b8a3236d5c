from __future__ import annotations

from pathlib import Path

import pytest

from drlongformer.errors import BundleError, DeviceUnavailable
from drlongformer.serving.engine import OnnxEngine
from drlongformer.serving.engines import Compute, open_engine
from drlongformer.settings import load
from tests.serving import bundles


def test_by_default_onnxruntime_computes_in_fp32(tmp_path: Path) -> None:
    engine = open_engine(bundles.write(tmp_path), Compute(threads=1))
    assert isinstance(engine, OnnxEngine)
    assert (engine.device, engine.precision) == ("cpu", "fp32")


def test_openvino_computes_where_it_is_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    engine = open_engine(bundles.write(tmp_path), Compute(engine="openvino", threads=1))
    assert (engine.provider, engine.precision) == ("OpenVINO-f32", "fp32")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Compute(precision="bf16"), "bf16 needs the engine openvino"),
        (Compute(engine="openvino", device="cuda"), "OpenVINO serves the CPU, not cuda"),
        (Compute(engine="openvino", device="tpu"), "'tpu' is no device"),
        (Compute(engine="openvino", precision="fp16"), "fp16 graphs are for the engine onnxruntime"),
        (Compute(precision="fp16"), "fp16 graphs are for cards"),
        (Compute(device="cuda"), "this onnxruntime has no CUDA"),
    ],
)
def test_what_cannot_be_had_is_refused_and_never_replaced(tmp_path: Path, asked: Compute, told: str) -> None:
    with pytest.raises(DeviceUnavailable, match=told):
        open_engine(bundles.write(tmp_path), asked)


def test_a_card_in_fp16_needs_a_graph_made_for_it(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no fp16 graph for cuda; it has cpu fp32; `import --target cpu,cuda` makes one"):
        open_engine(bundles.write(tmp_path), Compute(device="cuda", precision="fp16"))


def test_the_settings_ask_by_their_names() -> None:
    chosen = load({"models": {"engine": "openvino", "precision": "bf16", "threads": 3}}).models
    assert Compute.of(chosen) == Compute(engine="openvino", device="cpu", threads=3, precision="bf16")
    chosen = load({"models": {"device": "cuda:1", "precision": "fp16", "gpu_memory_gib": 20.0}}).models
    assert Compute.of(chosen) == Compute(device="cuda:1", precision="fp16", gpu_memory_gib=20.0)
