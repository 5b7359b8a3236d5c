"""Connections that drip heads or bodies beside good callers: all are closed in time, and the good ones hardly notice.

The service gives a head 10 seconds and a body 10; whoever opened a connection and drips is therefore out within 15. The good
callers ask at a third of the capacity, at the same planned moments with the slow peers and without.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import Sequence

from loadtests.bench import Bench, Bodies, alone, sender
from loadtests.exposition import Page, adds_up
from loadtests.openloop import Asked, Outcome, Send, drive, percentile, poisson, statuses
from loadtests.report import Report, Target
from loadtests.server import Server, serving

TOKENS = 200
LOAD = 0.33
LONGEST_SECONDS = 15.0
SPREAD_SECONDS = 5.0


async def run(bench: Bench) -> Report:
    """Good callers alone, then beside slow peers that come all at once, then beside as many that come over some seconds."""
    report = Report(scenario="slow_peers")
    peers, seconds = bench.many(2000, 40), 5.0 if bench.short else bench.long(30, 5)
    limits = {"LIMITS__HEADER_SECONDS": "3", "LIMITS__BODY_SECONDS": "3"} if bench.short else {}
    spreads = (0.0,) if bench.short else (0.0, SPREAD_SECONDS)
    async with serving(store=bench.store, settings=limits) as server:
        client = server.client()
        bodies, send = await Bodies.measured(client, bench.seed), sender(client)
        rate = LOAD / await alone(send, bodies.same(TOKENS, 20))
        plan = poisson(rate, bodies.same(TOKENS, math.ceil(rate * seconds)), bench.random)
        runs = {"good callers alone": await drive(plan, send)}
        for spread in spreads:
            name = f"beside {peers} slow peers, {'at once' if not spread else f'over {spread:g} s'}"
            runs[name] = await _beside(report, server, plan, send, peers=peers, spread=spread)
        page = Page(await client.page())
        await client.close()
    in_all = peers * len(spreads)
    told = page.by("http_requests_total", "status", status="408")
    report.laws += adds_up(page, {**client.tally, ("/embed", "408"): in_all // 2})
    report.hold("each was told 408", told.get("408", 0) == in_all, str(told))
    report.rows = [_row(name, outcomes) for name, outcomes in runs.items()]
    own, *beside = runs.items()
    report.targets += [
        Target(what=f"p99 {name} over p99 alone", value=percentile(each, 99) / percentile(own[1], 99), bound=1.2)
        for name, each in beside
    ]
    return report


async def _beside(
    report: Report, server: Server, plan: Sequence[Asked], send: Send, *, peers: int, spread: float
) -> list[Outcome]:
    """The good callers' outcomes while slow peers drip."""
    numbers = (str(server.port), str(peers), "40", str(spread))
    dripping = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests.drip", *numbers, stdout=asyncio.subprocess.PIPE
    )
    outcomes = await drive(plan, send)
    printed, _ = await dripping.communicate()
    closed = [each for each in json.loads(printed) if each is not None]
    last = max(closed, default=math.inf)
    report.hold(f"every slow peer was closed, spread {spread:g} s", len(closed) == peers, f"{len(closed)} of {peers}")
    report.hold(f"within {LONGEST_SECONDS:g} s, spread {spread:g} s", last <= LONGEST_SECONDS, f"the last after {last:.1f} s")
    report.hold(f"no connection stays, spread {spread:g} s", server.sockets < 20, f"{server.sockets} sockets")
    report.hold(f"good callers are answered, spread {spread:g} s", set(statuses(outcomes)) == {"200"}, str(statuses(outcomes)))
    return outcomes


def _row(name: str, outcomes: list[Outcome]) -> dict[str, object]:
    return {
        "load": name,
        "requests": len(outcomes),
        **{f"p{share} ms": 1000 * percentile(outcomes, share) for share in (50, 90, 99)},
    }
