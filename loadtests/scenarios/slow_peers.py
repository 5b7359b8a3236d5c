"""Connections that drip heads or bodies beside good callers: all are closed in time, and the good ones hardly notice.

The service gives a head 10 seconds and a body 10; whoever opened a connection and drips is therefore out within 15. The good
callers ask at a third of the capacity, at the same planned moments with the slow peers and without.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys

from loadtests.bench import Bench, Bodies, alone, sender
from loadtests.exposition import Page, adds_up
from loadtests.openloop import Outcome, drive, lateness, percentile, poisson, statuses
from loadtests.report import Report, Target
from loadtests.server import serving

TOKENS = 200
LOAD = 0.33
LONGEST_SECONDS = 15.0


async def run(bench: Bench) -> Report:
    """Good callers alone, then beside slow peers."""
    report = Report(scenario="slow_peers")
    peers, seconds = bench.many(2000, 40), bench.long(30, 13)
    limits = {} if not bench.short else {"LIMITS__HEADER_SECONDS": "3", "LIMITS__BODY_SECONDS": "3"}
    async with serving(store=bench.store, settings=limits) as server:
        client = server.client()
        bodies, send = await Bodies.measured(client, bench.seed), sender(client)
        rate = LOAD / await alone(send, bodies.same(TOKENS, 20))
        seconds = min(seconds, 5) if bench.short else seconds
        plan = poisson(rate, bodies.same(TOKENS, math.ceil(rate * seconds)), bench.random)
        by_themselves = await drive(plan, send)
        dripping = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "loadtests.drip", str(server.port), str(peers), "40", stdout=asyncio.subprocess.PIPE
        )
        beside = await drive(plan, send)
        printed, _ = await dripping.communicate()
        after = server.sockets
        page = Page(await client.page())
        await client.close()
    closed = [each for each in json.loads(printed) if each is not None]
    told = page.by("http_requests_total", "status", status="408")
    report.laws += adds_up(page, {**client.tally, ("/embed", "408"): peers // 2})
    report.rows = [_row("good callers alone", by_themselves), _row(f"beside {peers} slow peers", beside)]
    report.hold("every slow peer was closed", len(closed) == peers, f"{len(closed)} of {peers}")
    report.hold(f"within {LONGEST_SECONDS:g} s", max(closed) <= LONGEST_SECONDS, f"the last after {max(closed):.1f} s")
    report.hold("no connection stays", after < 20, f"{after} sockets")
    report.hold("good callers are all answered", set(statuses(beside)) == {"200"}, str(statuses(beside)))
    report.hold("each was told 408", told.get("408", 0) == peers, str(told))
    report.figures = {"peers": peers, "closed_s": [min(closed), max(closed)], "driver_late_p99_ms": 1000 * lateness(beside)}
    ratio = percentile(beside, 99) / percentile(by_themselves, 99)
    report.targets.append(Target(what="p99 beside slow peers over p99 alone", value=ratio, bound=1.2))
    return report


def _row(name: str, outcomes: list[Outcome]) -> dict[str, object]:
    return {
        "load": name,
        "requests": len(outcomes),
        **{f"p{share} ms": 1000 * percentile(outcomes, share) for share in (50, 90, 99)},
    }
