"""The golden law on the served graph: a document's answer is the same alone and in any pack, to the last bit, on a CPU.

Windows of many lengths, each answered alone first, are drawn into random packs in random order. The embedding's sums and a
row of every head are compared bit by bit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import numpy as np

from drlongformer import bundle
from drlongformer.serving.engine import GraphEngine, compute
from drlongformer.serving.engines import Compute, open_engine
from drlongformer.types import WindowInput, WindowOutput
from loadtests.bench import Bench
from loadtests.report import Report

POOL, LONGEST, MOST = 200, 260, 5
"""Windows that are drawn from, their largest length in tokens, and how many make a pack at most."""


async def run(bench: Bench) -> Report:
    """Alone, then in packs; nothing is served, so that no other work is in between."""
    return await asyncio.to_thread(_run, bench)


def _run(bench: Bench) -> Report:
    report, random, packs = Report(scenario="golden"), bench.random, bench.many(10_000, 15)
    [name] = bundle.names(bench.store)
    engine = open_engine(bundle.load(bundle.find(bench.store, name)), Compute())
    windows = [_window(random, engine) for _ in range(POOL if not bench.short else 12)]
    alone = [answers(engine, [window])[0] for window in windows]
    different = documents = 0
    for _ in range(packs):
        chosen = random.integers(len(windows), size=int(random.integers(2, MOST + 1)))
        together = answers(engine, [windows[place] for place in chosen])
        documents += len(chosen)
        different += sum(not same(alone[place], answer) for place, answer in zip(chosen, together, strict=True))
    report.rows.append(
        {"packs": packs, "documents in them": documents, "different answers": different, "heads": len(engine.heads)}
    )
    report.hold(
        "every answer in a pack is that of the document alone, to the last bit", different == 0, f"{different} of {documents}"
    )
    report.hold("the comparison can fail: other documents answer differently", not same(alone[0], alone[1]))
    return report


def _window(random: np.random.Generator, engine: GraphEngine) -> WindowInput:
    length = int(random.integers(3, LONGEST))
    ids = random.integers(5, 1000, length)
    rows = {head: np.array([int(random.integers(length))]) for head in engine.heads}
    return WindowInput(ids=ids, global_slots=(0,), rows=rows, segments=np.zeros(length, dtype=np.int64))


def answers(engine: GraphEngine, windows: Sequence[WindowInput]) -> list[WindowOutput]:
    """What the service's engine says of these windows, packed together. Raises what `compute` gives in an answer's place."""
    found = compute(engine, windows, [None] * len(windows))
    assert all(isinstance(each, WindowOutput) for each in found), found
    return cast("list[WindowOutput]", found)


def same(left: WindowOutput, right: WindowOutput) -> bool:
    """Whether two answers are equal bit by bit."""
    assert left.segments is not None
    assert right.segments is not None
    rows = all(left.rows[head].tobytes() == right.rows[head].tobytes() for head in left.rows)
    return rows and left.segments.tobytes() == right.segments.tobytes()
