"""The graph for CUDA: fused attention, fp16 with islands of fp32, every operator one that CUDA has a kernel for; and its proof.

    model -> fused, fp32 -> proved equal to the model and to Hugging Face's on the CPU (1e-4), then thrown away
          -> fused, fp16 -> the same nodes but for casts -> compared with the fp32 graph on the CPU -> model.cuda.fp16.onnx

A CPU computes the fp16 file too: ONNX Runtime widens what the CPU has no fp16 kernel for. So what is proved without a card is
the graph and its rounded numbers; what a card adds, the order and rounding inside its kernels, is measured by `loadtests/gpu`.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir

from drlongformer.bundle import GraphSpec
from drlongformer.errors import ParityError
from drlongformer.model import rounding
from drlongformer.model.export import GRAPH_FILE as FP32_GRAPH_FILE
from drlongformer.model.export import OPSET, heads_of, to_ir
from drlongformer.model.fused import OPERATOR, fused_neighbourhood, halved, with_attention
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.parity import prove
from drlongformer.model.reference import Reference, twin_of

logger = logging.getLogger(__name__)

GRAPH_FILE = "model.cuda.fp16.onnx"
WEIGHTS_FILE = "model.cuda.fp16.weights"
CONTRIB, FUSED = OPERATOR.split("::")


def export_cuda(
    model: LongformerWithHeads,
    folder: Path,
    *,
    reference: Reference | None = None,
    report: Callable[[str], None] = logger.info,
) -> GraphSpec:
    """Write the CUDA graph beside the fp32 graph in `folder`, proved; else ParityError.

    reference: Hugging Face's side, by default built from the model's weights.
    """
    reference = reference or twin_of(model)
    report("exporting the fused graph in fp32 and proving it")
    whole = fused_graph(model)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".proof-") as scratch:
        save(whole, Path(scratch))
        parity = prove(Path(scratch) / GRAPH_FILE, model, reference)
    report("exporting the CUDA graph in fp16 and comparing it")
    half = fused_graph(halved(model))
    require_same_nodes(whole, half)
    save(half, folder)
    asked = rounding.Model(config=model.longformer.config, heads=heads_of(model), has_global=reference.has_global)
    halving = rounding.prove_halved(folder / GRAPH_FILE, folder / FP32_GRAPH_FILE, asked)
    return GraphSpec(
        file=GRAPH_FILE, weights=WEIGHTS_FILE, precision="fp16", target="cuda", opset=OPSET, parity=parity, halving=halving
    )


def fused_graph(model: LongformerWithHeads) -> ir.Model:
    """The model's graph with fused attention, every node one that CUDA computes; raises ParityError where fusion was lost."""
    traced = to_ir(with_attention(model, fused_neighbourhood))
    found = sum(node.op_type == FUSED and node.domain == CONTRIB for node in traced.graph)
    if found != len(model.longformer.encoder.layer):
        raise ParityError(f"{found} nodes of {FUSED} in a graph of {len(model.longformer.encoder.layer)} layers")
    _argmax_of_floats(traced.graph)
    return traced


def save(program: ir.Model, folder: Path) -> None:
    """Write the graph, and its weights in their own file."""
    ir.save(program, folder / GRAPH_FILE, external_data=WEIGHTS_FILE)


def require_same_nodes(one: ir.Model, other: ir.Model) -> None:
    """Raise ParityError where two graphs have other operators than each other, casts aside."""
    left, right = (Counter(node.op_type for node in program.graph if node.op_type != "Cast") for program in (one, other))
    if left != right:
        raise ParityError(f"the graph in fp16 is not the one that was proved in fp32: {dict((left - right) + (right - left))}")


def _argmax_of_floats(graph: ir.Graph) -> None:
    """Let `ArgMax` read floats: CUDA has no kernel for integers, and a node on the CPU makes the card wait in every layer."""
    for node in list(graph):
        if node.op_type == "ArgMax":
            cast = ir.node("Cast", [node.inputs[0]], {"to": ir.DataType.FLOAT}, name=f"{node.name}.floats")
            graph.insert_before(node, cast)
            node.replace_input_with(0, cast.outputs[0])
