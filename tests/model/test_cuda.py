"""The graph for CUDA: proved on the CPU, the same in fp16 but for casts, and made of nothing that CUDA has no kernel for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper

from drlongformer.bundle import GraphSpec
from drlongformer.errors import ParityError
from drlongformer.model.cuda import require_same_nodes
from drlongformer.model.fused import halved
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.packing import pack, unpack
from drlongformer.serving.bucketed_engine import BucketedEngine
from drlongformer.serving.engine import Engine, OnnxEngine, compute
from drlongformer.types import WindowInput, WindowOutput

if TYPE_CHECKING:
    from loadtests.gpu.building import Built

FLOATS = frozenset({"FLOAT", "FLOAT16"})
INTEGERS = frozenset({"INT64"})
BOOLEANS = frozenset({"BOOL"})
COPIED = FLOATS | BOOLEANS | INTEGERS
KERNELS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(
        ("Add", "Sub", "Mul", "Div", "Less", "GreaterOrEqual", "Where", "ReduceSum", "ReduceMax"), FLOATS | INTEGERS
    ),
    **dict.fromkeys(("MatMul", "Gemm", "Einsum", "Exp", "Tanh", "Gelu", "LayerNormalization", "ArgMax"), FLOATS),
    **dict.fromkeys(("Gather", "GatherND", "ScatterElements", "ScatterND", "Concat", "Expand", "Equal", "Cast"), COPIED),
    **dict.fromkeys(("Reshape", "Slice", "Squeeze", "Unsqueeze", "Transpose", "Shape", "Identity"), COPIED),
    **dict.fromkeys(("Clip", "Mod", "Abs"), INTEGERS),
    **dict.fromkeys(("And", "Not"), BOOLEANS),
    "Pad": FLOATS | BOOLEANS,
    "Range": INTEGERS | {"FLOAT"},
    "MultiHeadAttention": FLOATS,
}
"""Types of inputs for which onnxruntime's docs/OperatorKernels.md lists a CUDA kernel; of the operators that are used here."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # three graphs are traced first, once for all


@pytest.fixture(scope="module")
def cuda_graph(cuda_built: Built) -> GraphSpec:
    return cuda_built.bundle.graph("cuda", "fp16")


def test_the_manifest_holds_the_proof_of_the_cuda_graph(cuda_graph: GraphSpec) -> None:
    assert (cuda_graph.target, cuda_graph.precision, cuda_graph.rounding) == ("cuda", "fp16", None)
    assert {each.against for each in cuda_graph.parity} == {"module", "transformers"}
    assert all(each.max_abs_error <= each.tolerance == 1e-4 for each in cuda_graph.parity)
    halving = cuda_graph.halving
    assert halving is not None
    assert 0.9999 <= halving.cosine <= 1.0 + 1e-9
    assert 0 < halving.max_abs_error <= halving.tolerance, "fp16 changes something, and not much"
    assert halving.neighbours_change <= halving.tolerance


def test_the_model_card_tells_what_was_proved_and_what_fp16_changes(cuda_built: Built, cuda_graph: GraphSpec) -> None:
    told = (cuda_built.bundle.folder / "README.md").read_text(encoding="utf-8")
    assert f"`{cuda_graph.file}`, the same nodes in fp32, run by ONNX Runtime on the CPU:" in told
    assert f"`{cuda_graph.file}` in fp16, against the fp32 graph" in told


def test_a_card_gets_the_graph_that_was_made_for_it_and_a_cpu_never_does(cuda_built: Built) -> None:
    bundle = cuda_built.bundle
    assert bundle.graph("cuda").target == "cuda"
    assert bundle.graph("cuda", "fp32").target == "cpu"
    assert bundle.graph("cpu").precision == "fp32"


def nodes(program: ir.Model) -> Iterator[tuple[str, str]]:
    """Every operator with the type of its first input, of `Where` that of what is chosen from."""
    for node in program.graph:
        read = node.inputs[node.op_type == "Where"]
        assert read is not None
        if read.dtype is not None:
            yield node.op_type, str(read.dtype)


def test_every_node_is_one_that_cuda_computes(cuda_built: Built, cuda_graph: GraphSpec) -> None:
    program = ir.load(cuda_built.bundle.folder / cuda_graph.file)
    found = set(nodes(program))
    assert len(found) > 40
    assert {(operator, kind) for operator, kind in found if kind not in KERNELS.get(operator, ())} == set()


def test_attention_is_fused_and_the_islands_are_fp32(cuda_built: Built, cuda_graph: GraphSpec) -> None:
    found = list(nodes(ir.load(cuda_built.bundle.folder / cuda_graph.file)))
    assert found.count(("MultiHeadAttention", "FLOAT16")) == cuda_built.size.layers
    assert {kind for operator, kind in found if operator in ("Exp", "ReduceMax", "ReduceSum", "Tanh")} <= {"FLOAT", "INT64"}
    assert {kind for operator, kind in found if operator in ("Softmax", "Attention")} == set()
    assert ("LayerNormalization", "FLOAT") in found, "the embeddings'"
    assert ("MatMul", "FLOAT16") in found


def question(cuda_built: Built, length: int, global_slots: tuple[int, ...] = (0,)) -> WindowInput:
    random = np.random.default_rng(length)
    return WindowInput(
        ids=random.integers(2, cuda_built.size.vocabulary, length),
        global_slots=global_slots,
        rows={"topic": np.array([0]), "tags": np.arange(length)},
        segments=np.zeros(length, dtype=np.int64),
    )


def answers(engine: Engine, windows: Sequence[WindowInput]) -> list[WindowOutput]:
    batch = pack(windows, block=engine.block, heads=engine.heads)
    return unpack(batch, engine.run(batch))


def assert_near(got: WindowOutput, wanted: WindowOutput, *, atol: float) -> None:
    for head, rows in wanted.rows.items():
        np.testing.assert_allclose(got.rows[head], rows, atol=atol)
    assert got.segments is not None
    assert wanted.segments is not None
    np.testing.assert_allclose(got.segments, wanted.segments, atol=atol * 20)


def test_buckets_change_no_answer_of_a_longformer_whatever_is_global(cuda_built: Built) -> None:
    plain = OnnxEngine(cuda_built.bundle, "cpu", 1)
    portable = cuda_built.bundle.graph("cpu")
    bucketed = BucketedEngine(cuda_built.bundle, "cpu", graph=portable, part_blocks=32)
    cases = [(1, ()), (16, (0,)), (17, (0, 16)), (100, (0,)), (33, tuple(range(11))), (128, (5,)), (40, ())]
    windows = [question(cuda_built, length, slots) for length, slots in cases]
    for some in (windows, windows[:1], windows[3:4], windows[::-1], windows[:5]):
        for got, wanted in zip(answers(bucketed, some), answers(plain, some), strict=True):
            assert_near(got, wanted, atol=1e-5)
    assert {global_slots for _, _, global_slots in bucketed.encoder_shapes} == {1, 17}


def test_few_query_blocks_are_answered_in_their_places(cuda_built: Built) -> None:
    portable = cuda_built.bundle.graph("cpu")
    bucketed = BucketedEngine(cuda_built.bundle, "cpu", graph=portable, part_blocks=32)
    last = WindowInput(ids=question(cuda_built, 128).ids, global_slots=(0, 127), rows={"tags": np.array([127, 120])})
    [wanted] = answers(OnnxEngine(cuda_built.bundle, "cpu", 1), [last])
    [got] = answers(bucketed, [last])
    np.testing.assert_allclose(got.rows["tags"], wanted.rows["tags"], atol=1e-5)
    assert set(bucketed.encoder_shapes) == {(8, 1, 9)}


def test_the_cuda_graph_served_in_buckets_answers_as_fp32_within_the_tolerance(
    cuda_built: Built, cuda_graph: GraphSpec
) -> None:
    assert cuda_graph.halving is not None
    engine = BucketedEngine(cuda_built.bundle, "cpu", graph=cuda_graph, part_blocks=16)
    assert engine.precision == "fp16"
    engine.warm_up()
    warm = set(engine.encoder_shapes)
    windows = [question(cuda_built, length) for length in (1, 15, 16, 17, 90, 128, 128, 5)]
    together = compute(engine, windows, [None] * len(windows))
    for got, wanted in zip(together, answers(OnnxEngine(cuda_built.bundle, "cpu", 1), windows), strict=True):
        assert isinstance(got, WindowOutput)
        assert_near(got, wanted, atol=cuda_graph.halving.tolerance)
    for got, window in zip(together, windows, strict=True):
        [alone] = compute(engine, [window], [None])
        assert isinstance(alone, WindowOutput)
        assert isinstance(got, WindowOutput)
        assert_near(got, alone, atol=cuda_graph.halving.tolerance)
    assert set(engine.encoder_shapes) == warm


def of_nodes(*operators: str) -> ir.Model:
    values = [f"x{place}" for place in range(len(operators) + 1)]
    made = [helper.make_node(name, [values[place]], [values[place + 1]]) for place, name in enumerate(operators)]
    shaped = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in (values[0], values[-1])]
    return ir.from_proto(helper.make_model(helper.make_graph(made, "chain", shaped[:1], shaped[1:])))


def test_a_graph_of_other_nodes_than_the_proved_one_is_refused() -> None:
    require_same_nodes(of_nodes("Exp", "Tanh"), of_nodes("Tanh", "Exp"))
    with pytest.raises(ParityError, match="'Erf': 1"):
        require_same_nodes(of_nodes("Exp"), of_nodes("Exp", "Erf"))


def test_weights_beyond_fp16_are_refused(cuda_built: Built) -> None:
    model: LongformerWithHeads = halved(cuda_built.model)
    kinds = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert kinds["longformer.embeddings.LayerNorm.weight"] == kinds["heads.tags.classifier.weight"] == torch.float32
    assert kinds["longformer.encoder.layer.0.attention.self.query.weight"] == torch.float16
    beyond = halved(cuda_built.model).float()
    with torch.no_grad():
        dict(beyond.named_parameters())["longformer.encoder.layer.1.output.dense.bias"][0] = 1e6
    with pytest.raises(ParityError, match="beyond the range of fp16"):
        halved(beyond)
