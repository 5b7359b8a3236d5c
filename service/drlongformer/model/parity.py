"""The proof that goes into a bundle: an exported graph against our torch module, and against Hugging Face's own classes.

Lengths sit around every edge there is (one token, the block, the window, powers of two, the longest), alone and in ragged
packs, with and without global tokens where the model has any, with heads that are asked nothing. The error of an output is its
largest absolute difference, in units of the largest value where that is above one (logits and sums may be large).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch

from drlongformer.bundle import Parity
from drlongformer.errors import ParityError
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.longformer import LongformerConfig, Pack
from drlongformer.model.reference import Reference
from drlongformer.packing import SEGMENT_SUMS, EngineOutput, PackedBatch, pack, unpack
from drlongformer.types import HIDDEN, FloatArray, IntArray, WindowInput

TOLERANCE = 1e-4
LONG = 1024  # tokens; windows up to this share ragged packs, longer ones are run alone
NO_GLOBAL = -1  # the mode of models in which no token ever is global
ROWS_OF_LOGITS = 5  # the vocabulary is large: fill-mask is compared at a few rows


def lengths_to_prove(config: LongformerConfig) -> tuple[int, ...]:
    """Around every edge, as far as the model reads."""
    edges = {config.block, *(window // 2 for window in config.attention_window)}
    lengths = {edge + step for edge in edges for step in (-1, 0, 1)}
    lengths |= {1, 2, *range(255, 259), *range(511, 514), 4095, 4096, config.max_tokens}
    return tuple(sorted(length for length in lengths if 0 < length <= config.max_tokens))


def prove(graph: Path, model: LongformerWithHeads, reference: Reference) -> tuple[Parity, ...]:
    """Run both sides on every case; raises ParityError at the first one out of tolerance."""
    config = model.longformer.config
    heads = (HIDDEN, *model.heads)
    lengths = lengths_to_prove(config)
    short = [length for length in lengths if length <= LONG]
    draw = np.random.default_rng(0)
    modes = (0, 1) if reference.has_global else (NO_GLOBAL,)
    ragged = [windows_of(config, short, heads, draw, first_mode=mode) for mode in modes]
    alone = [
        windows_of(config, [length], heads, draw, first_mode=mode)
        for length in (lengths[0], *(length for length in lengths[:-1] if length > LONG), lengths[-1])
        for mode in modes
    ]
    sparse = [_sparse_window(config, lengths[-1], head, draw, global_slots=(0,) * reference.has_global) for head in heads]
    session = GraphSession(graph)
    by_module = [_against_module(session, model, windows) for windows in (*ragged, *alone, sparse)]
    longest = alone[-len(modes) :]
    by_reference = [_against_reference(session, model, windows, reference) for windows in (ragged[0], *longest)]
    return (*by_module, *by_reference)


class GraphSession:
    """ONNX Runtime on the CPU, with as many threads as torch was given."""

    def __init__(self, graph: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, batch: PackedBatch) -> dict[str, FloatArray]:
        return dict(zip(self._names, self._session.run(None, batch.feeds()), strict=True))


def windows_of(
    config: LongformerConfig, lengths: Sequence[int], heads: Sequence[str], draw: np.random.Generator, *, first_mode: int
) -> list[WindowInput]:
    """One window of each length, asked everything; neighbours differ in their global tokens: none, the first, or several."""
    windows = []
    modes = (NO_GLOBAL,) if first_mode == NO_GLOBAL else (first_mode, first_mode + 1, first_mode + 2)
    for mode, length in zip(cycle(modes), lengths):
        globals_of_mode = ((), (0,), tuple(sorted({0, length // 2, length - 1})))
        few = np.unique(np.linspace(0, length - 1, ROWS_OF_LOGITS).astype(np.int64))
        windows.append(
            WindowInput(
                ids=random_ids(config, length, draw),
                global_slots=() if mode == NO_GLOBAL else globals_of_mode[mode % 3],
                rows={head: np.arange(length) if head == HIDDEN else few for head in heads},
                segments=np.arange(length) % 3,
            )
        )
    return windows


def _sparse_window(
    config: LongformerConfig, longest: int, head: str, draw: np.random.Generator, *, global_slots: tuple[int, ...]
) -> WindowInput:
    """A window of which one head reads the last token, so that the last layer skips most blocks."""
    length = min(longest, 3 * config.block + 2)
    return WindowInput(ids=random_ids(config, length, draw), global_slots=global_slots, rows={head: np.array([length - 1])})


def random_ids(config: LongformerConfig, length: int, draw: np.random.Generator) -> IntArray:
    """Any ids but the pad, from which Hugging Face would count positions otherwise."""
    ids = draw.integers(0, config.vocab_size - 1, length)
    return ids + (ids >= config.pad_token_id)


def _pack(model: LongformerWithHeads, windows: Sequence[WindowInput]) -> PackedBatch:
    return pack(windows, block=model.longformer.config.block, heads=(HIDDEN, *model.heads))


@torch.no_grad()
def _against_module(session: GraphSession, model: LongformerWithHeads, windows: Sequence[WindowInput]) -> Parity:
    batch = _pack(model, windows)
    rows = {head: torch.from_numpy(rows) for head, rows in batch.rows.items()}
    wanted, sums = model(Pack.of(batch), rows, torch.from_numpy(batch.segment_of_slot), torch.from_numpy(batch.segment_index))
    got = session(batch)
    pairs = {name: (got[name], value.numpy()) for name, value in {**wanted, SEGMENT_SUMS: sums}.items()}
    return _parity(batch.document_length.tolist(), pairs, "module")


def _against_reference(
    session: GraphSession, model: LongformerWithHeads, windows: Sequence[WindowInput], reference: Reference
) -> Parity:
    """The graph on a pack, Hugging Face on each window alone."""
    batch = _pack(model, windows)
    got = session(batch)
    answers = unpack(batch, EngineOutput(rows={head: got[head] for head in batch.rows}, segment_sums=got[SEGMENT_SUMS]))
    pairs: dict[str, tuple[FloatArray, FloatArray]] = {}
    for number, (window, answer) in enumerate(zip(windows, answers, strict=True)):
        wanted = reference(window.ids, window.global_slots, window.rows)
        pairs |= {f"{name} of window {number}": (answer.rows[name], value) for name, value in wanted.items()}
    return _parity([len(window) for window in windows], pairs, "transformers")


def _parity(lengths: list[int], pairs: Mapping[str, tuple[FloatArray, FloatArray]], against: str) -> Parity:
    errors = {name: error_of(got, wanted) for name, (got, wanted) in pairs.items()}
    worst = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    if not errors[worst] <= TOLERANCE:  # not a number is out of tolerance, too
        raise ParityError(
            f"{worst} differs from {against} by {errors[worst]:.2e}, the tolerance is {TOLERANCE:.0e}; lengths {lengths}"
        )
    return Parity.model_validate(
        {"lengths": tuple(lengths), "max_abs_error": errors[worst], "tolerance": TOLERANCE, "against": against}
    )


def error_of(got: FloatArray, wanted: FloatArray) -> float:
    """The largest difference, in units of the largest value where that is above one."""
    if got.shape != wanted.shape:
        raise ParityError(f"an output has shape {got.shape} where {wanted.shape} is due")
    if not got.size:
        return 0.0
    return float(np.abs(got - wanted).max() / max(1.0, np.abs(wanted).max()))
