"""Our engines on a bundle, asked as the service asks them: packs of at most two full windows, in order of arrival."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from drlongformer import bundle
from drlongformer.packing import blocks_of
from drlongformer.serving.engine import compute
from drlongformer.serving.engines import Compute, open_engine
from drlongformer.types import HIDDEN, WindowInput, WindowOutput
from loadtests.peers.protocol import Floats, Question

WINDOWS = 2


class Packed:
    """A bundle on one of our engines, `onnxruntime`, `onnxruntime:int8`, `openvino` or `openvino:bf16`."""

    def __init__(self, folder: Path, *, engine: str, threads: int) -> None:
        kind, _, precision = engine.partition(":")
        loaded = bundle.load(folder)
        self._engine = open_engine(loaded, Compute(engine=kind, precision=precision or "fp32", threads=threads))  # type: ignore[arg-type]
        heads = {head.task: head for head in loaded.manifest.heads}
        self._fill = heads.get("fill-mask")
        self._embed_global = (0,) if heads["embed"].global_attention == "first" else ()
        self._fill_global = (0,) if self._fill is not None and self._fill.global_attention == "first" else ()
        self._slots = WINDOWS * blocks_of(loaded.manifest.max_tokens, self._engine.block) * self._engine.block
        self.ways = (f"packs of {self._slots} slots",)
        self.tasks = ("embed", "classify") + (("fill-mask",) if self._fill else ())

    def run(self, task: str, way: str, questions: Sequence[Question]) -> list[Floats]:
        """One answer a document: a mean state, the state of `<s>`, or the logits of its masks."""
        assert way in self.ways
        answers: list[Floats] = []
        for pack in self._packs(questions):
            outputs = compute(self._engine, [self._window(task, one) for one in pack], [None] * len(pack))
            answers += [self._answer(task, one, output) for one, output in zip(pack, outputs, strict=True)]
        return answers

    def _window(self, task: str, one: Question) -> WindowInput:
        if task == "embed":
            segments = np.zeros(len(one.ids), dtype=np.int64)
            return WindowInput(ids=one.ids, global_slots=self._embed_global, rows={}, segments=segments)
        if task == "classify":
            return WindowInput(ids=one.ids, global_slots=(0,), rows={HIDDEN: np.zeros(1, dtype=np.int64)})
        assert self._fill is not None
        return WindowInput(ids=one.ids, global_slots=self._fill_global, rows={self._fill.output: one.masks})

    def _answer(self, task: str, one: Question, output: object) -> Floats:
        assert isinstance(output, WindowOutput), output
        if task == "embed":
            assert output.segments is not None
            mean: Floats = output.segments[0] / np.float32(len(one.ids))
            return mean
        if task == "classify":
            first: Floats = output.rows[HIDDEN][0]
            return first
        assert self._fill is not None
        return output.rows[self._fill.output]

    def _packs(self, questions: Sequence[Question]) -> Iterator[list[Question]]:
        """In order of arrival, as many as their blocks fit."""
        pack: list[Question] = []
        filled = 0
        for one in questions:
            slots = blocks_of(len(one.ids), self._engine.block) * self._engine.block
            if pack and filled + slots > self._slots:
                yield pack
                pack, filled = [], 0
            pack.append(one)
            filled += slots
        if pack:
            yield pack
