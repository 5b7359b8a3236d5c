"""What SmoothQuant would give an int8 graph: scales known beforehand, beside the shipped form with a scale for each row.

    python loadtests/int8_smoothed.py --bundle model_store/NAME/VERSION [--texts TEXTS.jsonl] [--documents 24] [--tokens 1024]
        [--alpha 0.5] [--rounds 3]

The first half of the documents calibrates: the largest number of each input channel of each linear layer. A factor
max|x|^a / max|W|^(1 - a) of each channel is taken out of the input and put into the matrix; then one scale is enough for the
whole input (Xiao et al. 2023, SmoothQuant, arXiv 2211.10438, section 4). Here residuals read the norms' outputs too, so the
factors cannot go into the norms, and are a product of their own. The second half is embedded by all graphs.

Documents are the `text`s of a file of JSON lines, or random ids. Time is the processor's on one thread, with denormals as
zeros, which other work on the machine changes little; graphs take turns. A table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from drlongformer.bundle import Bundle, load
from drlongformer.model import quantize
from drlongformer.model.quantize import CONTRIB, LEVELS, MOST_ROUNDED, Layers, Linear, columns, rounding_error
from drlongformer.packing import SEGMENT_SUMS, PackedBatch, pack
from drlongformer.serving.denormals import as_zeros
from drlongformer.text.tokenizer import Tokenizer
from drlongformer.types import FloatArray, WindowInput

LEAST = 1e-5
"""A channel whose largest number is smaller counts as this."""
ZERO = 128
PROBE = ".largest"


def asked(bundle: Bundle, options: argparse.Namespace) -> list[PackedBatch]:
    """The documents, each alone, with special tokens."""
    manifest, count, length = bundle.manifest, options.documents, options.tokens - 2
    if options.texts is None:
        draw = np.random.default_rng(0)
        contents = [draw.integers(5, manifest.vocab_size - 5, length) for _ in range(count)]
        framed = [np.concatenate([[0], ids, [2]]) for ids in contents]
    else:
        tokenizer = Tokenizer.from_file(bundle.folder / "tokenizer.json", spec=manifest.tokenizer)
        lines = options.texts.read_text(encoding="utf-8").splitlines()[:count]
        encoded = tokenizer.encode_batch([json.loads(line)["text"] for line in lines])
        framed = [tokenizer.with_specials(one.ids[:length]) for one in encoded]
    windows = [WindowInput(ids=ids, rows={}, segments=np.zeros(len(ids), dtype=np.int64)) for ids in framed]
    return [pack([window], block=manifest.block, heads=manifest.outputs) for window in windows]


def by_input(model: ir.Model) -> list[tuple[ir.Value, list[Linear]]]:
    """The linear layers of every token, by what they read."""
    layers = [(layer.product.inputs[0], layer) for layer in quantize._linear_layers(model.graph)]
    places = {id(x): place for place, (x, _) in reversed(list(enumerate(layers)))}
    layers.sort(key=lambda one: places[id(one[0])])
    groups = [list(group) for _, group in groupby(layers, key=lambda one: id(one[0]))]
    return [(x, [layer for _, layer in group]) for group in groups if (x := group[0][0]) is not None]


def largest(graph: Path, batches: Sequence[PackedBatch]) -> dict[str, FloatArray]:
    """Of each layer's input, the largest absolute number of each channel, over all documents."""
    model = ir.load(graph)
    rows, names = quantize._Rows(model.graph), {}
    for x, layers in by_input(model):
        width = layers[0].matrix.shape[0]
        append = quantize._Before(model.graph, layers[0].product, f"{x.name}{PROBE}")
        flat = append("Reshape", "rows", x, rows.constant(f"rows.{width}", np.array([-1, width], np.int64)))
        top = append(
            "ReduceMax", "top", append("Abs", "size", flat), rows.constant("first", np.array([0], np.int64)), keepdims=0
        )
        top.type, top.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([width])
        model.graph.outputs.append(top)
        names[str(x.name)] = str(top.name)
    ir.save(model, graph.with_name("probed.onnx"))
    session = opened(graph.with_name("probed.onnx"))
    found = [session.run(list(names.values()), batch.feeds()) for batch in batches]
    return {name: np.maximum.reduce([one[place] for one in found]) for place, name in enumerate(names)}


def smooth(graph: Path, out: str, tops: dict[str, FloatArray], alpha: float) -> Layers:
    """Write the graph with known scales beside it; a matrix that loses too much stays fp32, as in the shipped form."""
    model = ir.load(graph)
    model.opset_imports[CONTRIB] = 1
    rows, linear, int8 = quantize._Rows(model.graph), 0, 0
    for x, layers in by_input(model):
        widest = np.abs(np.concatenate([layer.matrix for layer in layers], axis=1)).max(axis=1)
        top = np.maximum(tops[str(x.name)], LEAST)
        factor = (top**alpha / np.maximum(widest, LEAST) ** (1 - alpha)).astype(np.float32)
        moved = [Linear(product=layer.product, matrix=layer.matrix * factor[:, None]) for layer in layers]
        kept = [layer for layer in moved if rounding_error(layer.matrix) <= MOST_ROUNDED]
        linear, int8 = linear + len(layers), int8 + len(kept)
        if kept:
            _replace(model.graph, x, kept, factor, float((top / factor).max() / LEVELS), rows)
    quantize._drop_unused(model.graph)
    ir.save(model, graph.with_name(out), external_data=f"{out}.weights")
    return Layers(linear=linear, int8=int8)


def _replace(graph: ir.Graph, x: ir.Value, layers: list[Linear], factor: FloatArray, step: float, rows: quantize._Rows) -> None:
    block, width = quantize._block(graph), len(factor)
    append = quantize._Before(graph, layers[0].product, f"{x.name}.known")
    even = append("Mul", "even", x, rows.constant(f"{x.name}.factor", 1 / factor))
    flat = append("Reshape", "rows", even, rows.constant(f"rows.{width}", np.array([-1, width], np.int64)))
    steps = rows.constant(f"{x.name}.step", np.array(step, np.float32))
    zero = rows.constant("zero", np.array(ZERO, np.uint8))
    whole = append("QuantizeLinear", "whole", flat, steps, zero)
    for layer in layers:
        product, outputs = layer.product, layer.matrix.shape[1]
        name = product.outputs[0].name
        whole_matrix, scales_of_columns = columns(layer.matrix)
        matrix = rows.constant(f"{name}.matrix", whole_matrix)
        scales = rows.constant(f"{name}.scales", scales_of_columns)
        append = quantize._Before(graph, product, f"{name}.known")
        answer = append("MatMulIntegerToFloat", "product", whole, matrix, steps, scales, zero, domain=CONTRIB)
        shape = rows.constant(f"blocks.{outputs}", np.array([-1, block, outputs], np.int64))
        product.outputs[0].replace_all_uses_with(append("Reshape", "shaped", answer, shape))
        graph.remove(product, safe=True)


def opened(graph: Path) -> Any:
    """A session on one thread, the caller's."""
    import onnxruntime as ort  # noqa: PLC0415 - after drlongformer, which keeps it from reporting to its makers

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def cosine(one: FloatArray, other: FloatArray) -> float:
    """Of two sums of hidden states."""
    return float(np.vdot(one, other) / np.linalg.norm(one) / np.linalg.norm(other))


def main() -> None:
    """Calibrate, write, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--alpha", type=float, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    bundle = load(options.bundle)
    batches = asked(bundle, options)
    calibrating, told = batches[: len(batches) // 2], batches[len(batches) // 2 :]
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / bundle.graph("cpu", "fp32").file
        for name in bundle.graph("cpu", "fp32").files:
            shutil.copy(bundle.folder / name, folder)
        layers = {"a scale for each row": quantize.quantize(graph, Path(folder))}
        graphs = {"fp32": graph, "a scale for each row": Path(folder) / quantize.GRAPH_FILE}
        tops = largest(graph, calibrating)
        for alpha in options.alpha or [0.5]:
            layers[f"smoothed, {alpha}"] = smooth(graph, f"{alpha}.onnx", tops, alpha)
            graphs[f"smoothed, {alpha}"] = Path(folder) / f"{alpha}.onnx"
        sessions = {name: opened(path) for name, path in graphs.items()}
        print(json.dumps(compared(sessions, layers, told, options.rounds)))


def compared(
    sessions: dict[str, Any], layers: dict[str, Layers], batches: Sequence[PackedBatch], rounds: int
) -> dict[str, dict[str, float]]:
    """Embed every document with every graph, in turns, and print; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    answers: dict[str, list[FloatArray]] = {}
    for turn in range(rounds + 1):
        for name, session in sessions.items():
            began = time.process_time()
            with as_zeros():
                answers[name] = [session.run([SEGMENT_SUMS], batch.feeds())[0].sum(axis=(0, 1)) for batch in batches]
            if turn:
                seconds[name].append(time.process_time() - began)
    found = {}
    for name in sessions:
        ratio = statistics.median(fp32 / own for fp32, own in zip(seconds["fp32"], seconds[name], strict=True))
        cosines = [cosine(one, fp32) for one, fp32 in zip(answers[name], answers["fp32"], strict=True)]
        found[name] = {"ratio": ratio, "least_cosine": min(cosines), "mean_turn": float(1 - np.mean(cosines))}
        done = f"{layers[name].int8} of {layers[name].linear} layers" if name in layers else ""
        print(f"{name:>22} {ratio:>6.2f}x  cosine {min(cosines):.6f}, 1 - mean {found[name]['mean_turn']:.1e}  {done}")
    return found


if __name__ == "__main__":
    main()
