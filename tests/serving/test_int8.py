"""Serving in int8: the bundle's own graph where it is asked for, and a clear refusal where it cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from drlongformer import bundle
from drlongformer.bundle import Bundle, GraphSpec
from drlongformer.errors import BundleError, DeviceUnavailable
from drlongformer.serving.engines import Compute, open_engine
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import load
from drlongformer.serving.processor import require_exact_int8
from drlongformer.settings import load as settings
from tests.serving import bundles

INT8 = Compute(precision="int8", threads=1)
ABLE = "processor : 0\nflags : fpu sse2 avx2 avx_vnni\n"
UNABLE = "processor : 0\nflags : fpu sse2 avx2 fma\nprocessor : 1\nflags : fpu\n"


@pytest.fixture
def _able() -> None:
    """What opens an int8 graph needs a processor that can compute it."""
    try:
        require_exact_int8()
    except DeviceUnavailable as told:
        pytest.skip(str(told))


def with_int8(store: Path) -> Bundle:
    """A second version that has the same graph once more, said to be int8."""
    first = bundles.write(store)
    graphs = (*first.manifest.graphs, GraphSpec(file="model.int8.onnx", weights=None, precision="int8", target="cpu", opset=20))
    sources: dict[str, Path | bytes] = {name: first.folder / name for name in first.manifest.files}
    sources["model.int8.onnx"] = first.folder / "model.onnx"
    manifest = first.manifest.model_copy(update={"version": 2, "graphs": graphs, "files": {}})
    return bundle.load(bundle.write(store, manifest, sources))


@pytest.mark.usefixtures("_able")
def test_the_int8_graph_is_served_where_it_is_asked_for_and_only_there(tmp_path: Path) -> None:
    both = with_int8(tmp_path)
    assert open_engine(both, INT8).precision == "int8"
    assert open_engine(both, Compute(threads=1)).precision == "fp32"


@pytest.mark.usefixtures("_able")
def test_answers_say_that_they_are_int8(tmp_path: Path) -> None:
    served = load(with_int8(tmp_path).folder, metrics=Metrics.create(), compute=INT8)
    assert served.identity.precision == "int8"


@pytest.mark.usefixtures("_able")
def test_a_bundle_without_an_int8_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"has no int8 graph for cpu; it has cpu fp32; `import --precision fp32,int8` makes"):
        open_engine(bundles.write(tmp_path), INT8)


@pytest.mark.usefixtures("_able")
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Compute(precision="int8", engine="openvino"), "int8 graphs are for the engine onnxruntime"),
        (Compute(precision="int8", device="cuda"), "has no int8 graph for cuda; it has cpu fp32, cpu int8"),
    ],
)
def test_what_cannot_compute_in_int8_is_refused(tmp_path: Path, asked: Compute, told: str) -> None:
    with pytest.raises((BundleError, DeviceUnavailable), match=told):
        open_engine(with_int8(tmp_path), asked)


def test_the_settings_can_ask_for_int8() -> None:
    assert Compute.of(settings({"models": {"precision": "int8"}}).models).precision == "int8"


def test_a_processor_whose_products_saturate_is_refused() -> None:
    with pytest.raises(DeviceUnavailable, match="none of amx_int8, avx512_vnni, avx_vnni; serve in fp32"):
        require_exact_int8("x86_64", UNABLE)


@pytest.mark.parametrize(("machine", "told"), [("x86_64", ABLE), ("AMD64", ""), ("aarch64", UNABLE)])
def test_other_processors_are_not(machine: str, told: str) -> None:
    require_exact_int8(machine, told)
