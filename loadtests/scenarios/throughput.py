"""Tokens per second through HTTP at saturation against the bare engine, on the same documents, in turns.

The bare engine runs in this process on packs of the service's own budget, ids made before; the service tokenizes, batches,
answers, and shares the same cores with the client. The turns alternate, so that a drift of the machine hits both.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer

from drlongformer import bundle
from drlongformer.packing import pack, unpack
from drlongformer.serving.engine import GraphEngine
from drlongformer.serving.engines import Compute, open_engine
from drlongformer.types import IntArray, WindowInput
from loadtests.bench import Bench, Bodies, peak, sender
from loadtests.engine import packs
from loadtests.exposition import Page, adds_up
from loadtests.report import Report, Target
from loadtests.server import serving


async def run(bench: Bench) -> Report:
    """Rounds of the same documents, through HTTP and without."""
    report = Report(scenario="throughput")
    [name] = bundle.names(bench.store)
    loaded = bundle.load(bundle.find(bench.store, name))
    engine = open_engine(loaded, Compute())
    async with serving(store=bench.store) as server:
        client = server.client()
        bodies = (await Bodies.measured(client, bench.seed)).mixed(bench.many(200, 12))
        budget = loaded.manifest.max_tokens
        groups = packs(ids_of(bodies, loaded.folder / "tokenizer.json", budget), budget, engine.block)
        tokens = sum(len(ids) for group in groups for ids in group)
        compute(engine, groups[:4])
        await peak(sender(client), bodies[:8], callers=4)
        for _ in range(1 if bench.short else 5):
            bare = tokens / compute(engine, groups)
            through = await peak(sender(client), bodies, callers=16)
            report.rows.append(
                {
                    "bare tokens/s": bare,
                    "through HTTP tokens/s": through.speed.tokens,
                    "share": through.speed.tokens / bare,
                    "requests/s": through.speed.requests,
                }
            )
            report.hold("all answered", all(outcome.answered for outcome in through.outcomes))
        report.laws += adds_up(Page(await client.page()), client.tally)
        await client.close()
    share = statistics.median(float(str(row["share"])) for row in report.rows)
    report.figures = {"documents": len(bodies), "tokens": tokens, "batches_of_bare_engine": len(groups)}
    report.targets.append(Target(what="share of the bare engine's speed, median", value=share, bound=0.95, at_most=False))
    return report


def ids_of(bodies: Sequence[bytes], tokenizer: object, longest: int) -> list[IntArray]:
    """The documents' token ids, in one window each."""
    read = Tokenizer.from_file(str(tokenizer))
    encoded = read.encode_batch([json.loads(body)["inputs"] for body in bodies])
    return [np.array(each.ids[:longest], dtype=np.int64) for each in encoded]


def compute(engine: GraphEngine, groups: Sequence[Sequence[IntArray]]) -> float:
    """Seconds of these batches, one after the other, each packed and unpacked."""
    begin = time.perf_counter()
    for group in groups:
        windows = [
            WindowInput(ids=ids, global_slots=(0,), rows={}, segments=np.zeros(len(ids), dtype=np.int64)) for ids in group
        ]
        batch = pack(windows, block=engine.block, heads=engine.heads)
        unpack(batch, engine.run(batch))
    return time.perf_counter() - begin
