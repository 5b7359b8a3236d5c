"""The proof of an int8 or fp16 graph: what it changes against the fp32 graph, and that neighbours change nothing.

Its own numbers are coarse, so the tolerance of parity is not for it; what counts is that embeddings point the same way, and
that a window's answer is the same alone and in any pack. Windows have the lengths of the parity proof and random ids: every
model can be asked them. Scores on annotations come on top, from whoever has any (`training/gate.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from drlongformer.bundle import Bundle, Compared, GraphSpec, Halving, Manifest, Rounding
from drlongformer.errors import ParityError
from drlongformer.model import quantize
from drlongformer.model.longformer import LongformerConfig
from drlongformer.model.parity import LONG, TOLERANCE, GraphSession, error_of, lengths_to_prove, windows_of
from drlongformer.packing import SEGMENT_SUMS, EngineOutput, pack, unpack
from drlongformer.types import FloatArray, WindowInput, WindowOutput

LEAST_COSINE = 0.995
MOST_POINTS = 0.5
LEAST_COSINE_HALVED = 0.9999
TOLERANCE_HALVED = 2e-2
"""Of answers in fp16, in units of the largest value: a step of fp16 is 1e-3 of a number, and the steps of all layers add up."""
Comparison = Callable[[Bundle, Mapping[str, Any]], Mapping[str, Compared]]
"""Scores a bundle's int8 graph as its check did the fp32 one; given the bundle and the check's scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8:
    """How good an int8 graph must be to be written; else nothing is.

    least_cosine: of embeddings with fp32's. comparison: run after a check. most_points: hundredths that a score may lose in it.
    """

    least_cosine: float = LEAST_COSINE
    comparison: Comparison | None = None
    most_points: float = MOST_POINTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What the windows of a proof must fit. has_global: whether any token ever is global. heads: of the graph, in order."""

    config: LongformerConfig
    heads: tuple[str, ...]
    has_global: bool


def export_int8(folder: Path, graph: GraphSpec, model: Model, *, least_cosine: float = LEAST_COSINE) -> GraphSpec:
    """Write the int8 form of the fp32 graph in `folder` beside it, and prove it; else ParityError with the figures."""
    layers = quantize.quantize(folder / graph.file, folder)
    return GraphSpec(
        file=quantize.GRAPH_FILE,
        weights=quantize.WEIGHTS_FILE,
        shared_weights=graph.weights,
        precision="int8",
        target="cpu",
        opset=graph.opset,
        rounding=prove(folder / quantize.GRAPH_FILE, folder / graph.file, model, layers=layers, least_cosine=least_cosine),
    )


def within_limits(manifest: Manifest, compared: Mapping[str, Compared], *, most_points: float) -> Manifest:
    """The manifest with the scores of its int8 graph; raises ParityError, with the figures, where one loses too much."""
    for key, one in compared.items():
        if not one.lost_points <= most_points:  # not a number is too much, too
            raise ParityError(
                f"int8 loses {one.lost_points:.2f} points of {one.name} on {key} ({one.documents} documents): "
                f"{one.fp32:.4f} in fp32, {one.int8:.4f} in int8; the most is {most_points}; nothing was written"
            )
    proofs = {"scores": dict(compared), "most_points": most_points}
    graphs = tuple(
        graph if graph.rounding is None else graph.model_copy(update={"rounding": graph.rounding.model_copy(update=proofs)})
        for graph in manifest.graphs
    )
    return manifest.model_copy(update={"graphs": graphs})


def prove(graph: Path, fp32: Path, model: Model, *, layers: quantize.Layers, least_cosine: float = LEAST_COSINE) -> Rounding:
    """Compare both graphs, and the int8 one with itself alone and in packs; raises ParityError out of the limits."""
    found = _compared(graph, fp32, model)
    _require(found, name="int8", least_cosine=least_cosine, tolerance=TOLERANCE)
    return Rounding(
        layers=layers.int8,
        linear_layers=layers.linear,
        windows=found.windows,
        cosine=found.cosine,
        least_cosine=least_cosine,
        neighbours_change=found.neighbours_change,
    )


def prove_halved(graph: Path, fp32: Path, model: Model, *, least_cosine: float = LEAST_COSINE_HALVED) -> Halving:
    """Compare an fp16 graph with the fp32 one, and with itself alone and in packs; raises ParityError out of the limits."""
    found = _compared(graph, fp32, model)
    _require(found, name="fp16", least_cosine=least_cosine, tolerance=TOLERANCE_HALVED)
    if not found.max_abs_error <= TOLERANCE_HALVED:
        raise ParityError(
            f"an answer in fp16 differs from fp32's by {found.max_abs_error:.1e}, the tolerance is {TOLERANCE_HALVED:.0e}"
        )
    return Halving(
        windows=found.windows,
        cosine=found.cosine,
        least_cosine=least_cosine,
        max_abs_error=found.max_abs_error,
        neighbours_change=found.neighbours_change,
        tolerance=TOLERANCE_HALVED,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The lowest cosine with fp32, the largest difference from it, and the largest that neighbours make."""

    windows: int
    cosine: float
    max_abs_error: float
    neighbours_change: float


def _compared(graph: Path, fp32: Path, model: Model) -> _Found:
    windows = _asked(model)
    session = GraphSession(graph)
    alone = _one_by_one(session, model, windows)
    wanted = _one_by_one(GraphSession(fp32), model, windows)
    short = [place for place, window in enumerate(windows) if len(window) <= LONG]
    packed = [
        (alone[place], answer)
        for order in (short, short[::-1])
        for place, answer in zip(order, _together(session, model, [windows[place] for place in order]), strict=True)
    ]
    return _Found(
        windows=len(windows),
        cosine=min(map(_cosine, alone, wanted)),
        max_abs_error=max(map(_difference, alone, wanted)),
        neighbours_change=max(_difference(one, beside) for one, beside in packed),
    )


def _require(found: _Found, *, name: str, least_cosine: float, tolerance: float) -> None:
    if not found.cosine >= least_cosine:  # not a number is out of the limit, too
        raise ParityError(
            f"an embedding in {name} has a cosine of {found.cosine:.6f} with fp32's, the least is {least_cosine}; "
            "nothing was written"
        )
    if not found.neighbours_change <= tolerance:
        raise ParityError(
            f"neighbours change an answer of the {name} graph by {found.neighbours_change:.1e}, "
            f"the tolerance is {tolerance:.0e}"
        )


def _asked(model: Model) -> list[WindowInput]:
    """Windows of every length, of one segment each; where there are global tokens, they have none, the first or several."""
    draw = np.random.default_rng(0)
    lengths = lengths_to_prove(model.config)
    asked = windows_of(model.config, lengths, model.heads, draw, first_mode=0 if model.has_global else -1)
    return [
        WindowInput(ids=one.ids, global_slots=one.global_slots, rows=one.rows, segments=np.zeros(len(one), dtype=np.int64))
        for one in asked
    ]


def _one_by_one(session: GraphSession, model: Model, windows: Sequence[WindowInput]) -> list[WindowOutput]:
    return [_together(session, model, [window])[0] for window in windows]


def _together(session: GraphSession, model: Model, windows: Sequence[WindowInput]) -> list[WindowOutput]:
    batch = pack(windows, block=model.config.block, heads=model.heads)
    got = session(batch)
    rows = {head: got[head] for head in model.heads}
    return unpack(batch, EngineOutput(rows=rows, segment_sums=got[SEGMENT_SUMS]))


def _embedding(answer: WindowOutput) -> FloatArray:
    assert answer.segments is not None
    sums: FloatArray = answer.segments[0].astype(np.float64)
    return sums


def _cosine(left: WindowOutput, right: WindowOutput) -> float:
    one, other = _embedding(left), _embedding(right)
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def _difference(left: WindowOutput, right: WindowOutput) -> float:
    return max(error_of(left.rows[head], rows) for head, rows in right.rows.items())
