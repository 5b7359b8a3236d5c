"""Ways to an int8 product whose rows do not depend on their neighbours, by shape, against the fp32 product of the same run.

    python loadtests/int8_products.py [--rows 4096] [--threads 2] [--rounds 7]

Inputs are random normal numbers, without and with one channel 30 times as large as the others; the error is that of a whole
product, as a share of its norm. The ways, all in ONNX Runtime:

    row         a scale for each row, found at each run; uint8 by int8 (what `model/quantize.py` writes)
    row s8      the same with int8 by int8
    static      one scale known beforehand, here the best for the very input; uint8 by int8
    nbits       `MatMulNBits` with 8 bits, accuracy level 4, blocks of 128 weights

The contenders take turns; times are the least of all rounds. A table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from drlongformer.model.quantize import columns
from drlongformer.types import FloatArray

SHAPES = ((768, 768), (768, 3072), (3072, 768), (256, 256), (256, 1024), (1024, 256))
OUTLIER = 30
CONTRIB = "com.microsoft"
Way = Callable[[FloatArray], FloatArray]
Constants = dict[str, Any]


def session(nodes: list[onnx.NodeProto], constants: Constants, threads: int) -> Way:
    """A graph from `x` to `y`, ready to run."""
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["R", "K"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["R", "N"])
    graph = helper.make_graph(nodes, "product", [x], [y], tensors)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(CONTRIB, 1)]
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    content = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    made = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(rows: FloatArray) -> FloatArray:
        (answer,) = made.run(None, {"x": rows})
        return np.asarray(answer)

    return run


def by_row(matrix: FloatArray, threads: int, *, signed: bool) -> Way:
    """A scale for each row."""
    whole, steps = columns(matrix)
    kind = np.int8 if signed else np.uint8
    zero = np.array([0 if signed else 128], kind)
    nodes = [
        helper.make_node("ReduceMax", ["x", "last"], ["high"]),
        helper.make_node("ReduceMin", ["x", "last"], ["low"]),
        helper.make_node("Neg", ["low"], ["depth"]),
        helper.make_node("Max", ["high", "depth"], ["top"]),
        helper.make_node("Mul", ["top", "step"], ["scale"]),
        helper.make_node("Reshape", ["scale", "flat"], ["scales"]),
        helper.make_node("Shape", ["scales"], ["count"]),
        helper.make_node("ConstantOfShape", ["count"], ["zeros"], value=numpy_helper.from_array(zero)),
        helper.make_node("QuantizeLinear", ["x", "scales", "zeros"], ["q"], axis=0),
        helper.make_node("MatMulIntegerToFloat", ["q", "w", "one", "steps", "zero"], ["exact"], domain=CONTRIB),
        helper.make_node("Mul", ["exact", "scale"], ["y"]),
    ]
    known = {"last": [-1], "flat": [-1], "step": np.float32(1 / 127), "one": np.float32(1), "zero": zero[0]}
    return session(nodes, known | {"w": whole, "steps": steps}, threads)


def static(matrix: FloatArray, rows: FloatArray, threads: int) -> Way:
    """One scale, known beforehand."""
    whole, steps = columns(matrix)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("MatMulIntegerToFloat", ["q", "w", "scale", "steps", "zero"], ["y"], domain=CONTRIB),
    ]
    scale = np.float32(np.abs(rows).max() / 127)
    return session(nodes, {"scale": scale, "zero": np.uint8(128), "w": whole, "steps": steps}, threads)


def nbits(matrix: FloatArray, threads: int, block: int = 128) -> Way:
    """ONNX Runtime's operator for weights of few bits."""
    inputs, outputs = matrix.shape
    blocks = matrix.T.reshape(outputs, inputs // block, block)
    scale = (np.abs(blocks).max(-1) / 127).astype(np.float32)
    whole = (np.rint(blocks / scale[..., None]) + 128).astype(np.uint8)
    told = {"K": inputs, "N": outputs, "bits": 8, "block_size": block, "accuracy_level": 4}
    nodes = [helper.make_node("MatMulNBits", ["x", "w", "scale"], ["y"], domain=CONTRIB, **told)]
    return session(nodes, {"w": whole, "scale": scale}, threads)


def measured(ways: Mapping[str, Way], rows: FloatArray, rounds: int) -> dict[str, float]:
    """The least seconds of each way."""
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way(rows)
            least[name] = min(least[name], time.perf_counter() - start)
    return least


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    told: dict[str, Any] = {"rows": options.rows, "threads": options.threads}
    for inputs, outputs in SHAPES:
        matrix = (0.02 * draw.standard_normal((inputs, outputs))).astype(np.float32)
        plain = draw.standard_normal((options.rows, inputs)).astype(np.float32)
        wild = plain * np.where(np.arange(inputs) == 5, OUTLIER, 1).astype(np.float32)
        fp32 = session([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": matrix}, options.threads)
        ways: dict[str, Way] = {
            "fp32": fp32,
            "row": by_row(matrix, options.threads, signed=False),
            "row s8": by_row(matrix, options.threads, signed=True),
            "static": static(matrix, plain, options.threads),
            "nbits": nbits(matrix, options.threads),
        }
        seconds = measured(ways, plain, options.rounds)
        print(f"\n{inputs} x {outputs}, {options.rows} rows; error without and with a channel {OUTLIER} times as large")
        for name, way in ways.items():
            known = static(matrix, wild, options.threads) if name == "static" else way
            errors = [_error(one(rows), fp32(rows)) for one, rows in ((way, plain), (known, wild))]
            ratio = seconds["fp32"] / seconds[name]
            print(f"{name:>10} {1000 * seconds[name]:>8.1f} ms {ratio:>6.2f}x {errors[0]:>8.2%} {errors[1]:>8.2%}", flush=True)
            told[f"{inputs}x{outputs} {name}"] = {"seconds": seconds[name], "ratio": ratio, "errors": errors}
    print(json.dumps(told))


def _error(got: FloatArray, wanted: FloatArray) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


if __name__ == "__main__":
    main()
