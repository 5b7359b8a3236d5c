"""A graph before and after a change: bundles of one model in turns, with denormals as they are and as zeros; time and memory.

    python loadtests/graph_turns.py --bundle STORE/NAME/1 --bundle STORE/NAME/2 [--precision int8] [--tokens 4096] [--threads 2]
        [--rounds 3]

One document of random ids. Processor time and elapsed time of each turn after the first; other work on the machine changes the
former little. Memory is the highest resident size above what was resident before a run, in MiB. Ratios are to the first
contender, answers are compared with its answers bit by bit. A table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from drlongformer.bundle import load
from drlongformer.packing import SEGMENT_SUMS, PackedBatch, pack
from drlongformer.serving.denormals import SESSION_ENTRY, as_zeros
from drlongformer.types import FloatArray, WindowInput
from loadtests.peers.protocol import forget_peak, own_memory


@dataclass(slots=True, kw_only=True)
class Contender:
    """A graph with or without denormals, and what its turns took: processor seconds, seconds, bytes."""

    name: str
    session: Any
    zeros: bool
    batch: PackedBatch
    answer: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    processor: list[float] = field(default_factory=list)
    elapsed: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def turn(self, *, counts: bool) -> None:
        """Embed the document once, giving back what the arena grew by, as the service does."""
        import onnxruntime as ort  # noqa: PLC0415 - after drlongformer, which keeps it from reporting to its makers

        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        forget_peak()
        before = own_memory().resident
        began, computed = time.perf_counter(), time.process_time()
        with _denormals(zeros=self.zeros):
            (self.answer,) = self.session.run([SEGMENT_SUMS], self.batch.feeds(), options)
        if counts:
            self.processor.append(time.process_time() - computed)
            self.elapsed.append(time.perf_counter() - began)
            self.memory.append(own_memory().peak - before)


def _denormals(*, zeros: bool) -> AbstractContextManager[None]:
    return as_zeros() if zeros else nullcontext()


def contender(folder: Path, options: argparse.Namespace, *, zeros: bool) -> Contender:
    """A bundle's graph, opened as the engine opens it, and its document."""
    import onnxruntime as ort  # noqa: PLC0415

    bundle = load(folder)
    asked = ort.SessionOptions()
    asked.intra_op_num_threads = options.threads
    asked.enable_mem_pattern = False
    asked.log_severity_level = 3
    asked.add_session_config_entry(SESSION_ENTRY, str(int(zeros)))
    graph = bundle.folder / bundle.graph("cpu", options.precision).file
    with _denormals(zeros=zeros):
        session = ort.InferenceSession(graph, asked, providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(0).integers(5, bundle.manifest.vocab_size - 5, options.tokens)
    window = WindowInput(ids=ids, rows={}, segments=np.zeros(len(ids), dtype=np.int64))
    batch = pack([window], block=bundle.manifest.block, heads=bundle.manifest.outputs)
    name = f"{bundle.manifest.name}:{bundle.manifest.version}, denormals {'as zeros' if zeros else 'as they are'}"
    return Contender(name=name, session=session, zeros=zeros, batch=batch)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, action="append", required=True)
    parser.add_argument("--precision", choices=("fp32", "int8"), default="fp32")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    contenders = [contender(folder, options, zeros=zeros) for folder in options.bundle for zeros in (False, True)]
    for turn in range(options.rounds + 1):
        for one in contenders:
            one.turn(counts=turn > 0)
    told = {one.name: told_of(one, contenders[0]) for one in contenders}
    for name, found in told.items():
        bits = "same" if found["same_bits"] else "other"
        times = f"{found['processor_s']:>7.3f} s of processor {found['ratio']:>6.3f}x {found['elapsed_s']:>7.3f} s"
        print(f"{name:>46} {times} {found['elapsed_ratio']:>6.3f}x {found['memory_mib']:>6.0f} MiB, {bits} bits")
    print(json.dumps({"precision": options.precision, "tokens": options.tokens, "threads": options.threads, **told}))


def told_of(one: Contender, first: Contender) -> dict[str, Any]:
    """Medians, ratios turn by turn, and whether the answer is the first's."""
    pairs = {"ratio": (first.processor, one.processor), "elapsed_ratio": (first.elapsed, one.elapsed)}
    ratios = {name: statistics.median(a / b for a, b in zip(*both, strict=True)) for name, both in pairs.items()}
    medians = {"processor_s": statistics.median(one.processor), "elapsed_s": statistics.median(one.elapsed)}
    return {
        **medians,
        **ratios,
        "memory_mib": max(one.memory) / 2**20,
        "same_bits": bool(np.array_equal(one.answer, first.answer)),
    }


if __name__ == "__main__":
    main()
