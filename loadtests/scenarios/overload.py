"""Ten times the capacity, in open loop: goodput against the peak, how fast refusals come, and whether `Retry-After` is true.

What `Retry-After` promises is a place if nobody else comes meanwhile. So, several times over, a burst fills the queue, and
who was refused last asks again when it was told to, alone: it must be admitted. Goodput and peak are tokens answered per
second while the queue is full, so that neither filling nor emptying it counts.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence

import numpy as np

from loadtests.bench import Bench, Bodies, Speed, sender, speed_between
from loadtests.exposition import Page, adds_up
from loadtests.openloop import Asked, Outcome, Send, closed_loop, drive, lateness, poisson, statuses
from loadtests.report import Report, Target
from loadtests.server import serving

QUEUE_TOKENS = 60_000
"""A few seconds of work: the default of 1,000,000 is filled only after minutes, and what waits must be computed in the end."""

SETTINGS = {"BATCHING__MAX_QUEUE_TOKENS": str(QUEUE_TOKENS), "BATCHING__MAX_BATCH_TOKENS": "4096"}

TIMES = 10
FILLING = 120
"""At least so many requests of mixed lengths: half as many again as the queue holds."""
BURST, BURST_TOKENS, REFUSED_FIRST = 24, 3500, 3
"""A burst that overfills the queue; so many of it are refused before the caller comes whose return is watched."""


async def run(bench: Bench) -> Report:
    """Peak, overload, returns."""
    report = Report(scenario="overload")
    async with serving(store=bench.store, settings=SETTINGS) as server:
        client = server.client()
        bodies, send = await Bodies.measured(client, bench.seed), sender(client)
        seconds = bench.long(30, 3)
        best = speed_between(
            await closed_loop(itertools.cycle(bodies.mixed(200)), send, callers=32, seconds=seconds), 0.2 * seconds, seconds
        )
        rate = max(TIMES * best.requests, FILLING / seconds)
        plan = poisson(rate, bodies.mixed(math.ceil(rate * seconds)), bench.random)
        outcomes = await drive(plan, send)
        full = next((outcome.ended for outcome in outcomes if outcome.status == "429"), 0.0)
        report.rows += _rows(best, outcomes, full=full, until=plan[-1].at)
        returned = [await _return(send, bodies.same(BURST_TOKENS, BURST)) for _ in range(bench.many(10, 1))]
        report.laws += adds_up(Page(await client.page()), client.tally)
        await client.close()
    _judge(report, outcomes, returned)
    report.figures |= {"times": TIMES, "queue_tokens": QUEUE_TOKENS, "driver_late_p99_ms": round(1000 * lateness(outcomes), 1)}
    return report


def _rows(best: Speed, outcomes: Sequence[Outcome], *, full: float, until: float) -> list[dict[str, object]]:
    good = speed_between(outcomes, full, until)
    late = [1000 * outcome.seconds for outcome in outcomes if outcome.status == "429"]
    p50, p95, p99 = np.percentile(late, (50, 95, 99)) if late else (math.nan,) * 3
    told = {"asked": "", "refused": "", "refusal p50 ms": "", "p95 ms": "", "p99 ms": ""}
    return [
        {"load": "peak, 32 callers", "tokens/s": best.tokens, "answers/s": best.requests, **told},
        {
            "load": f"{TIMES} x, open loop",
            "tokens/s": good.tokens,
            "answers/s": good.requests,
            "asked": len(outcomes),
            "refused": len(late),
            "refusal p50 ms": float(p50),
            "p95 ms": float(p95),
            "p99 ms": float(p99),
        },
    ]


def _judge(report: Report, outcomes: Sequence[Outcome], returned: Sequence[str]) -> None:
    peak, good = report.rows
    refused = [outcome.reply for outcome in outcomes if outcome.status == "429" and outcome.reply is not None]
    report.hold(
        "every request is answered or refused with 429", {"200", "429"} >= set(statuses(outcomes)), str(statuses(outcomes))
    )
    report.hold("something was refused", bool(refused), f"{len(refused)}")
    report.hold("every refusal says when to come back", all((each.retry_after_seconds or 0) >= 1 for each in refused))
    report.hold("refused, and admitted when it comes back", all(_true(each) for each in returned), "; ".join(returned))
    share = float(str(good["tokens/s"])) / float(str(peak["tokens/s"]))
    report.targets += [
        Target(what="goodput over peak", value=share, bound=0.95, at_most=False),
        Target(what="ms until a refusal, median", value=float(str(good["refusal p50 ms"])), bound=50.0),
        Target(what="ms until a refusal, p99", value=float(str(good["p99 ms"])), bound=50.0),
    ]


def _true(told: str) -> bool:
    return told.startswith("429") and told.endswith("200")


async def _return(send: Send, bodies: Sequence[bytes]) -> str:
    """Fill the queue, be refused, come back when told to; the status then. All bodies are of one length, the last is ours."""
    loop = asyncio.get_running_loop()
    others = [loop.create_task(send(Asked(at=0.0, body=body))) for body in bodies[:-1]]
    while sum(task.done() and task.result().status == 429 for task in others) < REFUSED_FIRST:
        await asyncio.wait(others, timeout=0.05)
    first = await send(Asked(at=0.0, body=bodies[-1]))
    await asyncio.sleep(first.retry_after_seconds or 0.0)
    second = await send(Asked(at=0.0, body=bodies[-1]))
    await asyncio.gather(*others)
    return f"{first.status}, {first.retry_after_seconds:g} s, {second.status}"
