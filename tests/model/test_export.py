"""Exported graphs: the contract of their inputs and outputs, equality with the model, order of sums, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from drlongformer.bundle import Parity
from drlongformer.errors import ParityError
from drlongformer.model.export import GRAPH_FILE, WEIGHTS_FILE, _refuse_racing_sums, export, heads_of, rounded, to_ir, write
from drlongformer.model.heads import ClassificationHead, LongformerWithHeads, MaskedLanguageHead, TokenHead
from drlongformer.model.longformer import HEADS_AT_ONCE, Longformer, LongformerConfig, Pack
from drlongformer.model.parity import TOLERANCE, lengths_to_prove, prove
from drlongformer.model.reference import twin_of
from drlongformer.packing import SEGMENT_SUMS, EngineOutput, PackedBatch, pack, unpack
from drlongformer.types import FloatArray, WindowInput, WindowOutput

BLOCK = 16
CONFIG = LongformerConfig(
    vocab_size=90,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=302,
    attention_window=(16, 40),
    block=BLOCK,
)


def model_with_heads() -> LongformerWithHeads:
    torch.manual_seed(3)
    encoder = Longformer(CONFIG)
    words = encoder.embeddings.word_embeddings
    heads = {"fill-mask": MaskedLanguageHead(CONFIG, words), "atc": ClassificationHead(CONFIG, 5), "ner": TokenHead(CONFIG, 7)}
    model = LongformerWithHeads(encoder, heads).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


class Exported:
    """A model, its graph's folder and a way to run it."""

    def __init__(self, folder: Path, model: LongformerWithHeads) -> None:
        self.folder = folder
        self.model = model
        self.session = self.open(threads=1)

    def open(self, *, threads: int, save_to: Path | None = None) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if save_to is not None:
            options.optimized_model_filepath = str(save_to)
        return ort.InferenceSession(self.folder / GRAPH_FILE, options, providers=["CPUExecutionProvider"])

    def run(self, batch: PackedBatch, session: ort.InferenceSession | None = None) -> dict[str, FloatArray]:
        names = [*heads_of(self.model), SEGMENT_SUMS]
        return dict(zip(names, (session or self.session).run(names, batch.feeds()), strict=True))

    def pack(self, windows: Sequence[WindowInput]) -> PackedBatch:
        return pack(windows, block=BLOCK, heads=heads_of(self.model))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exported, Exported]:
    """One model, traced once because that takes its time, written as fp32 and as fp16."""
    model = rounded(model_with_heads())
    program = to_ir(model)
    folders = tmp_path_factory.mktemp("fp32"), tmp_path_factory.mktemp("fp16")
    write(program, folders[0])
    write(program, folders[1], store_fp16=True)
    return Exported(folders[0], model), Exported(folders[1], model)


@pytest.fixture(scope="module")
def exported(both: tuple[Exported, Exported]) -> Exported:
    return both[0]


@pytest.fixture(scope="module")
def halved(both: tuple[Exported, Exported]) -> Exported:
    return both[1]


@pytest.fixture(scope="module")
def parity(exported: Exported) -> tuple[Parity, ...]:
    return prove(exported.folder / GRAPH_FILE, exported.model, twin_of(exported.model))


@torch.no_grad()
def by_module(model: LongformerWithHeads, batch: PackedBatch) -> dict[str, FloatArray]:
    rows = {head: torch.from_numpy(at) for head, at in batch.rows.items()}
    segments, ranks = torch.from_numpy(batch.segment_of_slot), torch.from_numpy(batch.segment_index)
    outputs, sums = model(Pack.of(batch), rows, segments, ranks)
    return {name: value.numpy() for name, value in {**outputs, SEGMENT_SUMS: sums}.items()}


def window(
    length: int, *, heads: Sequence[str] = ("hidden",), global_slots: tuple[int, ...] = (), sums: bool = False
) -> WindowInput:
    rng = np.random.default_rng(length)
    return WindowInput(
        ids=rng.integers(2, CONFIG.vocab_size, length),
        global_slots=global_slots,
        rows={head: np.unique(rng.integers(0, length, 3)) for head in heads},
        segments=np.arange(length) // 5 if sums else None,
    )


def test_the_graph_keeps_the_contract(exported: Exported) -> None:
    def shapes(values: Sequence[ort.NodeArg]) -> dict[str, tuple[str, list[int | str]]]:
        return {value.name: (value.type, value.shape) for value in values}

    integers = {
        "input_ids": ["N", BLOCK],
        "document_of_block": ["N"],
        "first_block": ["D"],
        "document_length": ["D"],
        "global_slot": ["D", "G"],
        "query_blocks": ["M"],
        "segment_of_slot": ["M", BLOCK],
        "segment_index": ["K"],
    } | {f"rows.{head}": [f"R.{head}"] for head in ("hidden", "fill-mask", "atc", "ner")}
    floats = {
        "hidden": ["R.hidden", 32],
        "fill-mask": ["R.fill-mask", 90],
        "atc": ["R.atc", 5],
        "ner": ["R.ner", 7],
        "segment_sums": ["M", "K", 32],
    }
    assert shapes(exported.session.get_inputs()) == {name: ("tensor(int64)", shape) for name, shape in integers.items()}
    assert shapes(exported.session.get_outputs()) == {name: ("tensor(float)", shape) for name, shape in floats.items()}
    assert list(exported.pack([window(3)]).feeds()) == list(integers)


ALL = ("hidden", "fill-mask", "atc", "ner")
PACKS: dict[str, list[WindowInput]] = {
    "one token": [window(1)],
    "one block of one document": [window(9, heads=ALL, global_slots=(0,))],
    "heads asked nothing": [window(50, heads=["ner"]), window(20, heads=["ner"])],
    "sums alone": [window(70, heads=[], sums=True)],
    "a block read of many": [window(300, heads=["atc"], global_slots=(0,))],
    "the longest": [window(300, heads=ALL, global_slots=(0, 150, 299), sums=True)],
    "ragged": [
        window(length, heads=ALL[: length % 5], global_slots=(0,) * (length % 2), sums=True)
        for length in (1, 15, 16, 17, 90, 33)
    ],
    "many global tokens": [window(60, heads=ALL, global_slots=tuple(range(0, 60, 2))), window(5)],
}


@pytest.mark.parametrize("case", PACKS)
def test_the_graph_equals_the_model(exported: Exported, case: str) -> None:
    batch = exported.pack(PACKS[case])
    got, wanted = exported.run(batch), by_module(exported.model, batch)
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value, atol=3e-5, rtol=0, err_msg=name)


def test_the_packs_reach_every_edge(exported: Exported) -> None:
    batches = [exported.pack(windows) for windows in PACKS.values()]
    assert any(len(batch.query_blocks) < len(batch.document_of_block) for batch in batches)
    assert any(len(batch.segment_index) == 0 for batch in batches)
    for axis in ("document_of_block", "first_block", "query_blocks"):
        assert {len(getattr(batch, axis)) == 1 for batch in batches} == {True, False}
    assert all(any(len(batch.rows[head]) == 0 for batch in batches) for head in ALL)


@pytest.mark.parametrize("threads", [1, 2])
def test_neighbours_do_not_change_a_bit(exported: Exported, threads: int) -> None:
    windows = PACKS["ragged"] + PACKS["the longest"] + PACKS["one block of one document"] + PACKS["sums alone"]
    session = exported.open(threads=threads)

    def answers(pack: Sequence[WindowInput]) -> list[WindowOutput]:
        batch = exported.pack(pack)
        output = exported.run(batch, session)
        return unpack(batch, EngineOutput(rows=output, segment_sums=output.pop(SEGMENT_SUMS)))

    alone = [answers([one])[0] for one in windows]
    for packed in (answers(windows), answers(windows[::-1])[::-1]):
        for one, beside in zip(alone, packed, strict=True):
            assert all(np.array_equal(beside.rows[head], rows) for head, rows in one.rows.items())
            if one.segments is None or beside.segments is None:
                assert one.segments is beside.segments
            else:
                assert np.array_equal(beside.segments, one.segments)


def test_threads_do_not_change_a_bit(exported: Exported) -> None:
    batch = exported.pack(PACKS["ragged"] + PACKS["the longest"] * 3)
    once = exported.run(batch)
    threaded = exported.open(threads=4)
    for _ in range(5):
        again = exported.run(batch, threaded)
        assert all(np.array_equal(again[name], value) for name, value in once.items())


def scatter_graph(operator: str, **attributes: Any) -> onnx.ModelProto:
    names = (("x", TensorProto.FLOAT), ("at", TensorProto.INT64), ("added", TensorProto.FLOAT))
    inputs = [helper.make_tensor_value_info(name, kind, [None, None]) for name, kind in names]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])
    node = helper.make_node(operator, ["x", "at", "added"], ["y"], name="scatter", **attributes)
    graph = helper.make_graph([node], "sum", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_onnxruntime_adds_scattered_elements_in_their_order() -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 4
    model = scatter_graph("ScatterElements", axis=0, reduction="add").SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    added = np.random.default_rng(0).standard_normal((2000, 768)).astype(np.float32)
    wanted = np.zeros((1, 768), dtype=np.float32)
    for row in added:
        wanted += row
    feeds = {"x": np.zeros_like(wanted), "at": np.zeros(added.shape, dtype=np.int64), "added": added}
    for _ in range(3):
        (got,) = session.run(None, feeds)
        assert np.array_equal(got, wanted)


def test_sums_that_could_race_are_refused() -> None:
    _refuse_racing_sums(ir.from_proto(scatter_graph("ScatterElements", axis=0, reduction="add")).graph)
    _refuse_racing_sums(ir.from_proto(scatter_graph("ScatterND")).graph)
    with pytest.raises(ParityError, match="ScatterND"):
        _refuse_racing_sums(ir.from_proto(scatter_graph("ScatterND", reduction="add")).graph)


def test_the_files_hold_the_weights_once_and_no_trace_of_the_machine(exported: Exported) -> None:
    parameters = sum(parameter.numel() * 4 for parameter in exported.model.parameters())
    assert (exported.folder / WEIGHTS_FILE).stat().st_size < 1.02 * parameters
    graph = (exported.folder / GRAPH_FILE).read_bytes()
    assert len(graph) < 100_000
    for trace in (b"/home", b"/tmp", b"site-packages", b".py", b"pkg.torch"):
        assert trace not in graph


def test_parity_is_proved_around_every_edge(parity: tuple[Parity, ...]) -> None:
    lengths = lengths_to_prove(CONFIG)
    assert {1, 2, 7, 8, 9, 15, 16, 17, 19, 20, 21, 255, 256, 257, 258, 300} == set(lengths)
    for against in ("module", "transformers"):
        proofs = [proof for proof in parity if proof.against == against]
        assert {length for proof in proofs for length in proof.lengths} >= set(lengths)
        assert all(0 < proof.max_abs_error <= proof.tolerance == TOLERANCE for proof in proofs)


def test_the_lengths_of_a_large_model_are_those_that_were_ever_wrong() -> None:
    large = LongformerConfig(
        vocab_size=9,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=4098,
        attention_window=(512,),
    )
    assert lengths_to_prove(large) == (1, 2, 127, 128, 129, 255, 256, 257, 258, 511, 512, 513, 4095, 4096)


@pytest.mark.parametrize("poison", [0.01, float("nan")])
def test_a_graph_that_differs_from_its_model_is_refused(exported: Exported, poison: float) -> None:
    other = rounded(model_with_heads())
    with torch.no_grad():
        other.get_parameter("longformer.encoder.layer.1.attention.self.value_global.weight")[0, 0] += poison
    with pytest.raises(ParityError, match=r"differs from module by .*tolerance is 1e-04"):
        prove(exported.folder / GRAPH_FILE, other, twin_of(other))
    with pytest.raises(ParityError, match="differs from transformers"):
        prove(exported.folder / GRAPH_FILE, exported.model, twin_of(other))


def test_fp16_storage_halves_the_file_and_changes_nothing(exported: Exported, halved: Exported) -> None:
    whole, half = ((each.folder / WEIGHTS_FILE).stat().st_size for each in (exported, halved))
    assert half < 0.6 * whole
    batch = halved.pack(PACKS["the longest"])
    got, wanted = halved.run(batch), exported.run(batch)
    assert all(np.array_equal(got[name], value) for name, value in wanted.items())


def test_stored_fp16_is_widened_when_loaded_and_not_at_each_run(halved: Exported, tmp_path: Path) -> None:
    halved.open(threads=1, save_to=tmp_path / "optimised.onnx")
    optimised = onnx.load(tmp_path / "optimised.onnx", load_external_data=False)
    kinds = {initializer.data_type for initializer in optimised.graph.initializer}
    assert TensorProto.FLOAT in kinds
    assert TensorProto.FLOAT16 not in kinds


def test_the_optimised_graph_has_the_fusions_it_is_quick_by(exported: Exported, tmp_path: Path) -> None:
    exported.open(threads=1, save_to=tmp_path / "optimised.onnx")
    nodes = onnx.load(tmp_path / "optimised.onnx", load_external_data=False).graph.node
    counts = Counter(node.op_type for node in nodes)
    layers = CONFIG.num_hidden_layers
    groups = -(-CONFIG.num_attention_heads // HEADS_AT_ONCE)
    assert counts["Attention"] == layers * groups  # scores, mask, softmax and mixing
    assert counts["BiasGelu"] == layers
    assert counts["Softmax"] == counts["Erf"] == 0
    weights = {name for node in nodes if node.op_type == "Transpose" for name in node.input if name.endswith(".weight")}
    assert not weights  # turned when the graph is loaded, not at each run


def test_weights_beyond_fp16_are_refused(tmp_path: Path) -> None:
    model = model_with_heads()
    with torch.no_grad():
        model.get_parameter("heads.ner.classifier.weight")[0, 0] = 1e5
    with pytest.raises(ParityError, match=r"heads\.ner\.classifier\.weight has weights beyond the range of fp16"):
        export(model, tmp_path, store_fp16=True)
    assert list(tmp_path.iterdir()) == []
