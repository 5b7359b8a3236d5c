"""A graph's linear layers in int8, each row with a scale of its own, so that no neighbour can change an answer.

    x [R, K] fp32 -> s = max |x| / 127 of each row -> q = round(x / s) + 128, uint8
    y = (q - 128) W8 * s * t + b                      W8 int8, t = max |W| / 127 of each column

What GELU gives is never below -0.17, so it has 223 steps above zero. A matrix in which single numbers stand out stays fp32.

Products add up in integers, exactly, in any order; all else is done row by row. Attention, norms, embeddings, global
projections and heads stay fp32: they are small, or the answer hangs on them. No calibration, so no texts are needed. Weights
that stay are read from the fp32 graph's own file. The operator that takes uint8 by int8 is ONNX Runtime's own (CPU only).
Sources: per-token scales, Yao et al. 2022, ZeroQuant (arXiv 2206.01861), section 4; their exactness here is our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from drlongformer.errors import ParityError
from drlongformer.packing import SEGMENT_SUMS
from drlongformer.types import FloatArray

GRAPH_FILE = "model.int8.onnx"
WEIGHTS_FILE = "model.int8.weights"
CONTRIB = "com.microsoft"
LEVELS = 127  # either side of zero; -128 is left out, so that both sides are alike
MOST_ROUNDED = 0.015
"""A layer whose matrix loses a larger share stays fp32: one number that stands out in a column coarsens all the others."""
TINIEST = 1e-12  # scale of a row of zeros
QUERY_BLOCKS = "query_blocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A product with a constant matrix, and the matrix `[K, N]`."""

    product: ir.Node
    matrix: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """How many linear layers of every token there are, and how many of them became int8."""

    linear: int
    int8: int


def quantize(graph: Path, folder: Path) -> Layers:
    """Write the int8 form of an fp32 graph into `folder`, which must hold its weights too.

    Raises ParityError for a graph without any layer that keeps its numbers.
    """
    model = ir.load(graph)
    linear = list(_linear_layers(model.graph))
    layers = [layer for layer in linear if rounding_error(layer.matrix) <= MOST_ROUNDED]
    if not layers:
        raise ParityError(f"{graph.name} has no linear layer of an encoder whose matrix keeps its numbers in int8")
    model.opset_imports[CONTRIB] = 1
    rows, block = _Rows(model.graph), _block(model.graph)
    for layer in layers:
        _replace(model.graph, layer, rows, block)
    _drop_unused(model.graph)
    _save(model, folder)
    return Layers(linear=len(linear), int8=len(layers))


def columns(matrix: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
    """A matrix `[K, N]` as int8, and the scale of each column `[N]`; a column of zeros has scale 1."""
    top = np.abs(matrix).max(axis=0)
    scale = np.where(top > 0, top / LEVELS, 1.0).astype(np.float32)
    return np.rint(matrix / scale).astype(np.int8), scale


def rounding_error(matrix: FloatArray) -> float:
    """How far the int8 form of a matrix is from it, as a share of its norm; about 0.007 where no number stands out."""
    whole, scale = columns(matrix)
    norm = float(np.linalg.norm(matrix))
    return float(np.linalg.norm(matrix - whole * scale)) / norm if norm else 0.0


def _linear_layers(graph: ir.Graph) -> Iterator[Linear]:
    """Constant products of every token: before the sums of the hidden states, so no head's, and not of global tokens alone."""
    encoder = _before(next(value for value in graph.outputs if value.name == SEGMENT_SUMS))
    for node in graph:
        if node.op_type == "MatMul" and node in encoder and _reads_every_token(node):
            matrix = _constant(node.inputs[1])
            if matrix is not None and matrix.ndim == 2:
                yield Linear(product=node, matrix=matrix)


def _before(output: ir.Value) -> set[ir.Node]:
    """Every node that an output depends on."""
    found: set[ir.Node] = set()
    waiting = [output]
    while waiting:
        node = waiting.pop().producer()
        if node is not None and node not in found:
            found.add(node)
            waiting += [value for value in node.inputs if value is not None]
    return found


def _reads_every_token(product: ir.Node) -> bool:
    """Whether what is multiplied was not picked out; the last layer's query blocks are whole blocks, and count."""
    picking = _behind_shapes(product.inputs[0])
    if picking is None or picking.op_type not in ("Gather", "GatherND"):
        return True
    index = picking.inputs[1]
    node = _behind_shapes(index)
    read = index if node is None else node.inputs[0]
    return picking.op_type == "Gather" and read is not None and read.name == QUERY_BLOCKS


def _behind_shapes(value: ir.Value | None) -> ir.Node | None:
    """The node that computed a value, changes of its shape alone left aside; None for an input of the graph."""
    node = None if value is None else value.producer()
    while node is not None and node.op_type == "Reshape" and (before := node.inputs[0]) is not None and before.producer():
        node = before.producer()
    return node


def _block(graph: ir.Graph) -> int:
    """Slots of a block, from the shape of the first input, `[N, B]`."""
    shape = graph.inputs[0].shape
    assert shape is not None
    block = shape[1]
    assert isinstance(block, int)
    return block


def _constant(value: ir.Value | None) -> FloatArray | None:
    """The matrix that a value always is, widened where it is stored as fp16."""
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Cast":
        value = node.inputs[0]
    if value is None or value.const_value is None or not value.is_initializer():
        return None
    return value.const_value.numpy().astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """How a row's numbers are laid onto 0..255: `zero` stands for 0.0; no number is below `lowest`, None where any may be."""

    zero: int
    lowest: float | None

    @property
    def above(self) -> int:
        """Steps from zero to the largest number."""
        return 255 - self.zero


ANY = Range(zero=128, lowest=None)
AFTER_GELU = Range(zero=32, lowest=-0.17)  # the function's minimum is -0.16997: finer steps where its answers are


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """An input as uint8 `[NB, K]`, what stands for 0.0 in it, and the scales of its rows `[N, B, 1]`."""

    rows: ir.Value
    zero: ir.Value
    scale: ir.Value


class _Rows:
    """Quantised inputs, each made once however many layers read it."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.made: dict[ir.Value, Quantized] = {}
        self.one = self.constant("int8.one", np.array(1, np.float32))

    def constant(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        """An initialiser of the graph, made once for each name."""
        if name in self.graph.initializers:
            return self.graph.initializers[name]
        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def of(self, x: ir.Value, reader: ir.Node, width: int) -> Quantized:
        """x `[N, B, K]`, its scales and its uint8 form, computed right before `reader`."""
        if x in self.made:
            return self.made[x]
        producer = x.producer()
        layout = AFTER_GELU if producer is not None and producer.op_type == "Gelu" else ANY
        append = _Before(self.graph, reader, f"{x.name}.int8")
        scale = self._scale(x, layout, append)
        scales = append("Reshape", "scales", scale, self.constant("int8.flat", np.array([-1], np.int64)))
        count = append("Shape", "count", scales)
        zeros = append("ConstantOfShape", "zeros", count, value=ir.tensor(np.array([layout.zero], np.uint8)))
        rows = append("Reshape", "rows", x, self.constant(f"int8.rows.{width}", np.array([-1, width], np.int64)))
        self.made[x] = Quantized(
            rows=append("QuantizeLinear", "quantized", rows, scales, zeros, axis=0),
            zero=self.constant(f"int8.zero.{layout.zero}", np.array(layout.zero, np.uint8)),
            scale=scale,
        )
        return self.made[x]

    def _scale(self, x: ir.Value, layout: Range, append: _Before) -> ir.Value:
        """What one step of each row stands for, `[N, B, 1]`."""
        last = self.constant("int8.last_axis", np.array([-1], np.int64))
        top = append("ReduceMax", "highest", x, last, keepdims=1)
        if layout.lowest is None:
            lowest = append("ReduceMin", "lowest", x, last, keepdims=1)
            top = append("Max", "top", top, append("Neg", "depth", lowest))
        step = self.constant(f"int8.step.{layout.above}", np.array(1 / layout.above, np.float32))
        least = TINIEST if layout.lowest is None else -layout.lowest / layout.zero
        least_step = self.constant(f"int8.least.{layout.zero}", np.array(least, np.float32))
        return append("Max", "scale", append("Mul", "step", top, step), least_step)


class _Before:
    """Adds nodes right before another one, named after what they compute."""

    def __init__(self, graph: ir.Graph, reader: ir.Node, prefix: str) -> None:
        self._graph, self._reader, self._prefix = graph, reader, prefix

    def __call__(self, operator: str, name: str, *inputs: ir.Value, domain: str = "", **attributes: Any) -> ir.Value:
        """Add a node and give its output."""
        node = ir.node(operator, inputs, attributes, domain=domain, name=f"{self._prefix}.{name}")
        node.outputs[0].name = node.name
        self._graph.insert_before(self._reader, node)
        return node.outputs[0]


def _replace(graph: ir.Graph, layer: Linear, rows: _Rows, block: int) -> None:
    """Put the int8 product in the place of a layer's fp32 product; its bias is added as before."""
    product, name = layer.product, layer.product.outputs[0].name
    x = product.inputs[0]
    assert x is not None
    inputs, outputs = layer.matrix.shape
    quantized = rows.of(x, product, inputs)
    whole, steps = columns(layer.matrix)
    append = _Before(graph, product, f"{name}.int8")
    matrix = rows.constant(f"{name}.int8.matrix", whole)
    scales = rows.constant(f"{name}.int8.steps", steps)
    exact = append("MatMulIntegerToFloat", "product", quantized.rows, matrix, rows.one, scales, quantized.zero, domain=CONTRIB)
    shape = rows.constant(f"int8.blocks.{outputs}", np.array([-1, block, outputs], np.int64))
    answer = append("Mul", "scaled", append("Reshape", "shaped", exact, shape), quantized.scale)
    product.outputs[0].replace_all_uses_with(answer)
    graph.remove(product, safe=True)


def _drop_unused(graph: ir.Graph) -> None:
    """Take out the fp32 matrices, and their casts, that nobody reads any more."""
    for node in reversed(list(graph)):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses():
            del graph.initializers[name]


def _save(model: ir.Model, folder: Path) -> None:
    """The graph, and its own matrices in their own file; what it shares keeps its place in the fp32 graph's."""
    own = [
        value
        for value in model.graph.initializers.values()
        if not isinstance(value.const_value, ir.ExternalTensor)
        and value.const_value is not None
        and value.const_value.nbytes > 256
    ]
    tensors = [value.const_value for value in own if value.const_value is not None]
    stored = ir.external_data.convert_tensors_to_external(tensors, folder, WEIGHTS_FILE)
    for value, tensor in zip(own, stored, strict=True):
        value.const_value = tensor
    ir.save(model, folder / GRAPH_FILE)
