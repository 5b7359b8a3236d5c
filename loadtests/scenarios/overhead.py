"""What a request costs beyond tokenizing and computing, at an empty engine: the client's time against `Server-Timing`."""

from __future__ import annotations

import numpy as np

from loadtests.bench import Bench, Bodies, sender
from loadtests.exposition import Page, adds_up
from loadtests.openloop import Outcome, closed_loop
from loadtests.report import Report, Target
from loadtests.server import serving

SIZES_KB = (1, 5, 20)


async def run(bench: Bench) -> Report:
    """One caller, one document at a time, of several sizes."""
    report = Report(scenario="overhead")
    async with serving(store=bench.store) as server:
        client = server.client()
        bodies = await Bodies.measured(client, bench.seed)
        [probe] = bodies.same(2000, 1)
        for size in SIZES_KB:
            tokens = round(2000 * size * 1024 / len(probe))
            outcomes = await closed_loop(bodies.same(tokens, bench.many(200, 10)), sender(client), callers=1)
            report.rows.append(_row(size, outcomes))
            report.hold(f"{size} KB: all answered", all(outcome.answered for outcome in outcomes))
        report.laws += adds_up(Page(await client.page()), client.tally)
        await client.close()
    bound = Target(what="ms beyond tokenize and compute, 20 KB, median", value=float(str(report.rows[-1]["beyond"])), bound=3.0)
    report.targets.append(bound)
    return report


def _row(size: int, outcomes: list[Outcome]) -> dict[str, object]:
    answered = [(outcome, outcome.reply.timings) for outcome in outcomes if outcome.reply is not None]
    beyond = [1000 * outcome.seconds - timings["tokenize"] - timings["compute"] for outcome, timings in answered]
    inside = [timings["total"] - timings["tokenize"] - timings["compute"] for _, timings in answered]
    median = {
        name: float(np.median([timings[name] for _, timings in answered])) for name in ("tokenize", "queue", "compute", "total")
    }
    return {
        "KB": size,
        "requests": len(answered),
        "client ms": float(np.median([1000 * outcome.seconds for outcome, _ in answered])),
        **{f"{name} ms": value for name, value in median.items()},
        "beyond": float(np.median(beyond)),
        "beyond p99": float(np.percentile(beyond, 99)),
        "of it in the service": float(np.median(inside)),
    }
