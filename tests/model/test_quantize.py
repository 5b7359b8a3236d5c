"""The int8 graph: close to fp32, the same to the last bit whoever is beside; what would lose too much stays fp32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from drlongformer.bundle import Compared, GraphSpec, Manifest, Rounding
from drlongformer.errors import ParityError
from drlongformer.model import quantize
from drlongformer.model.export import GRAPH_FILE, WEIGHTS_FILE, heads_of, rounded, to_ir, write
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.quantize import AFTER_GELU, Layers, columns, rounding_error
from drlongformer.model.rounding import Model, export_int8, prove, within_limits
from drlongformer.packing import SEGMENT_SUMS, EngineOutput, pack, unpack
from drlongformer.types import WindowInput, WindowOutput
from tests.model.test_export import ALL, BLOCK, CONFIG, PACKS, model_with_heads


def peaked(outputs: int, inputs: int) -> torch.Tensor:
    """One large number for each output; all the others are half a step of it."""
    return torch.eye(outputs, inputs).clamp(min=0.499 / 127)


ASKED = Model(config=CONFIG, heads=("hidden", "fill-mask", "atc", "ner"), has_global=True)
FP32 = GraphSpec(file=GRAPH_FILE, weights=WEIGHTS_FILE, precision="fp32", target="cpu", opset=23)
WINDOWS = [*PACKS["ragged"], *PACKS["the longest"], *PACKS["many global tokens"], *PACKS["sums alone"]]


@pytest.fixture(scope="module")
def model() -> LongformerWithHeads:
    """One whose last layer has a matrix with single large numbers, as trained models may."""
    model = model_with_heads()
    with torch.no_grad():
        matrix = model.get_parameter("longformer.encoder.layer.1.output.dense.weight")  # [32, 48]
        matrix.copy_(peaked(*matrix.shape))
    return rounded(model)


@pytest.fixture(scope="module", params=[False, True], ids=["fp32", "fp16"])
def folder(request: pytest.FixtureRequest, traced: ir.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both graphs, the matrices of the fp32 one stored as they are or as fp16."""
    folder = tmp_path_factory.mktemp("graphs")
    write(traced, folder, store_fp16=request.param)
    quantize.quantize(folder / GRAPH_FILE, folder)
    return folder


@pytest.fixture(scope="module")
def traced(model: LongformerWithHeads) -> ir.Model:
    return to_ir(model)


def opened(path: Path, threads: int = 1) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def answers(session: ort.InferenceSession, windows: Sequence[WindowInput]) -> list[WindowOutput]:
    batch = pack(windows, block=BLOCK, heads=ASKED.heads)
    names = [*ASKED.heads, SEGMENT_SUMS]
    got = dict(zip(names, session.run(names, batch.feeds()), strict=True))
    return unpack(batch, EngineOutput(rows=got, segment_sums=got.pop(SEGMENT_SUMS)))


def same(one: WindowOutput, other: WindowOutput) -> bool:
    rows = all(np.array_equal(one.rows[head], other.rows[head]) for head in one.rows)
    return rows and (one.segments is None or (other.segments is not None and np.array_equal(one.segments, other.segments)))


def test_the_heads_are_those_of_the_model(model: LongformerWithHeads) -> None:
    assert heads_of(model) == ASKED.heads


def test_answers_are_close_to_fp32(folder: Path) -> None:
    exact, coarse = opened(folder / GRAPH_FILE), opened(folder / quantize.GRAPH_FILE)
    seen = set()
    for one in WINDOWS:
        wanted, got = answers(exact, [one])[0], answers(coarse, [one])[0]
        for head, rows in wanted.rows.items():
            if rows.size:
                seen.add(head)
                apart = np.linalg.norm(got.rows[head] - rows) / np.linalg.norm(rows)
                assert 0 < apart < 0.05, (head, apart)
    assert seen == set(ALL)


@pytest.fixture(scope="module")
def sessions(folder: Path) -> dict[int, ort.InferenceSession]:
    """The int8 graph by the number of threads."""
    return {threads: opened(folder / quantize.GRAPH_FILE, threads) for threads in (1, 2)}


@pytest.fixture(scope="module")
def alone(sessions: dict[int, ort.InferenceSession]) -> list[WindowOutput]:
    """Every window's answer when it is alone."""
    return [answers(sessions[1], [one])[0] for one in WINDOWS]


@settings(max_examples=25, deadline=None)
@given(places=st.lists(st.integers(0, len(WINDOWS) - 1), min_size=2, max_size=8), threads=st.sampled_from([1, 2]))
def test_neighbours_order_and_threads_do_not_change_a_bit(
    sessions: dict[int, ort.InferenceSession], alone: list[WindowOutput], places: list[int], threads: int
) -> None:
    for place, got in zip(places, answers(sessions[threads], [WINDOWS[place] for place in places]), strict=True):
        assert same(alone[place], got)


def test_every_linear_layer_of_the_encoder_but_the_coarse_one_is_int8(folder: Path) -> None:
    graph = onnx.load(folder / quantize.GRAPH_FILE, load_external_data=False).graph
    products = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert len(products) == 2 * 6 - 1
    # Queries, keys and values of a layer read one input, which is quantised once; the last layer's queries are picked out.
    assert len([node for node in graph.node if node.op_type == "QuantizeLinear"]) == 4 + 4
    kept = [node for node in graph.node if node.op_type == "MatMul"]
    assert len(kept) >= 1 + len(ASKED.heads)


def test_what_stays_is_read_from_the_fp32_graphs_file(folder: Path) -> None:
    graph = onnx.load(folder / quantize.GRAPH_FILE, load_external_data=False).graph
    places = {entry.value for tensor in graph.initializer for entry in tensor.external_data if entry.key == "location"}
    assert places == {WEIGHTS_FILE, quantize.WEIGHTS_FILE}
    size, hidden, wide = CONFIG.num_hidden_layers, CONFIG.hidden_size, CONFIG.intermediate_size
    whole = size * (4 * hidden**2 + 2 * hidden * wide) - hidden * wide
    assert whole <= (folder / quantize.WEIGHTS_FILE).stat().st_size < 1.2 * whole + 4 * 12 * wide


def test_a_graph_without_an_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    model = onnx.load(folder / GRAPH_FILE)
    sums = next(output for output in model.graph.output if output.name == SEGMENT_SUMS)
    table = helper.make_tensor("table", onnx.TensorProto.FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["table"], [SEGMENT_SUMS])], "none", [*model.graph.input], [sums], [table]
    )
    onnx.save(helper.make_model(graph, opset_imports=model.opset_import, ir_version=10), tmp_path / "none.onnx")
    with pytest.raises(ParityError, match="no linear layer of an encoder whose matrix keeps its numbers"):
        quantize.quantize(tmp_path / "none.onnx", tmp_path)


def test_a_column_has_a_scale_of_its_own_and_zeros_stay_zeros() -> None:
    matrix = np.array([[127.0, 0.0, -0.5], [-63.4, 0.0, 1.0]], dtype=np.float32)
    whole, scale = columns(matrix)
    assert whole.tolist() == [[127, 0, -64], [-63, 0, 127]]
    np.testing.assert_allclose(scale, [1.0, 1.0, 1 / 127])


def test_a_number_that_stands_out_costs_the_others_their_digits() -> None:
    matrix = np.random.default_rng(0).standard_normal((256, 64)).astype(np.float32)
    assert 0.004 < rounding_error(matrix) < 0.01 < quantize.MOST_ROUNDED
    assert rounding_error(peaked(64, 256).numpy().T) > 2 * quantize.MOST_ROUNDED
    assert rounding_error(np.zeros((4, 4), dtype=np.float32)) == 0


def test_gelu_is_never_below_what_its_range_says() -> None:
    values = torch.nn.functional.gelu(torch.linspace(-20, 20, 400_001, dtype=torch.float64))
    assert AFTER_GELU.lowest is not None
    assert AFTER_GELU.lowest < float(values.min()) < 0.99 * AFTER_GELU.lowest


def test_the_proof_holds_what_was_found(folder: Path) -> None:
    spec = export_int8(folder, FP32, ASKED)
    assert spec.files == (quantize.GRAPH_FILE, quantize.WEIGHTS_FILE, WEIGHTS_FILE)
    assert spec.rounding is not None
    assert (spec.rounding.layers, spec.rounding.linear_layers) == (11, 12)
    assert 0.995 < spec.rounding.cosine < 1
    assert spec.rounding.neighbours_change == 0
    assert spec.rounding.windows > 10


def test_embeddings_that_turn_too_far_are_refused_with_the_figures(folder: Path) -> None:
    with pytest.raises(ParityError, match=r"cosine of 0\.999\d+ with fp32's, the least is 0\.999999999"):
        export_int8(folder, FP32, ASKED, least_cosine=0.999999999)


def test_scales_that_neighbours_share_are_refused(folder: Path) -> None:
    model = onnx.load(folder / quantize.GRAPH_FILE, load_external_data=False)
    own = [node for node in model.graph.node if node.name.endswith(".int8.scale")]
    assert len(own) == 8
    for node in own:
        (name,) = node.output
        node.output[0] = f"{name}.own"
        shared = [  # one scale for the whole pack, as dynamic quantisation has it
            helper.make_node("ReduceMax", [f"{name}.own"], [f"{name}.top"]),
            helper.make_node("Sub", [f"{name}.own", f"{name}.own"], [f"{name}.none"]),
            helper.make_node("Add", [f"{name}.none", f"{name}.top"], [name]),
        ]
        place = list(model.graph.node).index(node) + 1
        for step in reversed(shared):
            model.graph.node.insert(place, step)
    onnx.save(model, folder / "shared.onnx")
    with pytest.raises(ParityError, match=r"neighbours change an answer of the int8 graph by \d"):
        prove(folder / "shared.onnx", folder / GRAPH_FILE, ASKED, layers=Layers(linear=12, int8=12), least_cosine=-1)


def manifest() -> Manifest:
    rounding = Rounding(layers=11, linear_layers=12, windows=3, cosine=0.999, least_cosine=0.995, neighbours_change=0.0)
    int8 = GraphSpec(
        file="b.onnx", weights=None, shared_weights=None, precision="int8", target="cpu", opset=23, rounding=rounding
    )
    known: dict[str, Any] = {"graphs": (FP32, int8)}
    return Manifest.model_construct(**known)


def compared(int8: float) -> dict[str, Compared]:
    return {"notes/ner": Compared(name="micro_f1", fp32=0.8, int8=int8, documents=40)}


@pytest.mark.parametrize("int8", [0.7949, 0.5])
def test_a_score_that_loses_too_much_refuses_the_graph_with_the_figures(int8: float) -> None:
    told = rf"points of micro_f1 on notes/ner \(40 documents\): 0\.8000 in fp32, {int8:.4f} in int8"
    with pytest.raises(ParityError, match=told):
        within_limits(manifest(), compared(int8), most_points=0.5)


@pytest.mark.parametrize("int8", [0.7951, 0.8, 0.9])
def test_scores_within_the_limit_go_into_the_graph_they_are_of(int8: float) -> None:
    fp32_graph, int8_graph = within_limits(manifest(), compared(int8), most_points=0.5).graphs
    assert fp32_graph.rounding is None
    assert int8_graph.rounding is not None
    assert int8_graph.rounding.scores == compared(int8)
    assert int8_graph.rounding.most_points == 0.5
    assert int8_graph.rounding.scores["notes/ner"].lost_points == pytest.approx(100 * (0.8 - int8))


def test_a_score_that_is_no_number_refuses_the_graph() -> None:
    nothing = {"notes/near": Compared.model_construct(name="spearman", fp32=float("nan"), int8=0.5, documents=2)}
    with pytest.raises(ParityError, match="notes/near"):
        within_limits(manifest(), nothing, most_points=0.5)
