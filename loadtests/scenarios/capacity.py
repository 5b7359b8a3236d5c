"""Poisson arrivals that a service takes at p99 <= 2 x a single document's latency, per length class; ours, and a naive peer.

The share of the engine's time that arrivals ask for is bisected; each trial sends a fixed number of documents of one
length. With so few requests the 99th percentile is nearly the worst one, so a figure is a floor rather than a mean.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from loadtests.bench import Bench, Bodies, alone, sender
from loadtests.exposition import Page, adds_up
from loadtests.openloop import Send, drive, percentile, poisson, statuses
from loadtests.report import Report
from loadtests.server import SERVE, serving

TIMES = 2.0
MOST, STEPS, FEWEST = 1.2, 4, 12
"""The share of a single document's speed from which the search begins, halvings, and documents of a trial at least."""
PEER = (sys.executable, "-m", "loadtests.peers.naive")


async def run(bench: Bench) -> Report:
    """Each length class, on our service, then on the peer."""
    report = Report(scenario="capacity")
    commands: dict[str, Sequence[str]] = {"ours": SERVE} | ({"FastAPI + HF eager": PEER} if bench.peer else {})
    tokens_per_word = 0.0
    for name, command in commands.items():
        async with serving(store=bench.store, command=command) as server:
            client = server.client()
            if name == "ours":
                tokens_per_word = (await Bodies.measured(client, bench.seed)).tokens_per_word
            bodies = Bodies(tokens_per_word, bench.seed)
            for length in bench.lengths:
                report.rows.append({"service": name, **await _class(bench, bodies, sender(client), length)})
            if name == "ours":
                report.laws += adds_up(Page(await client.page()), client.tally)
            failed = {status for path, status in client.tally if path == "/embed" and status != "200"}
            report.hold(f"{name}: every request is answered", not failed, str(sorted(failed)))
            await client.close()
    return report


async def _class(bench: Bench, bodies: Bodies, send: Send, length: int) -> dict[str, object]:
    """Bisect one length; the largest share that kept the bound."""
    await alone(send, bodies.same(length, 3))
    single = await alone(send, bodies.same(length, 10 if not bench.short else 4))
    good, bad, kept, tried = 0.0, MOST, math.nan, 0
    for _ in range(1 if bench.short else STEPS):
        share = (good + bad) / 2
        rate = share / single
        count = min(bench.many(100, 8), max(FEWEST, math.ceil(rate * bench.long(60, 2)))) if not bench.short else 8
        outcomes = await drive(poisson(rate, bodies.same(length, count), bench.random), send)
        tried += count
        p99 = percentile(outcomes, 99)
        if set(statuses(outcomes)) == {"200"} and p99 <= TIMES * single:
            good, kept = share, p99
        else:
            bad = share
    return {
        "tokens": length,
        "alone ms": 1000 * single,
        "capacity, documents/s": good / single,
        "tokens/s": good * length / single,
        "share of one after another": good,
        "p99 ms there": 1000 * kept,
        "requests tried": tried,
    }
