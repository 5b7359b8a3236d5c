"""Callers who leave: a storm of requests whose senders close the connection, at once or while theirs is computed.

One whose answer is sent before it is seen to leave counts as answered. Afterwards every gauge is back to 0, each of them
was counted once, as one who left, nearly all of their work was never computed, and who comes next is answered as before.
"""

from __future__ import annotations

import asyncio

from loadtests.bench import ROUTE, Bench, Bodies, sender
from loadtests.exposition import Page, adds_up
from loadtests.openloop import Outcome, closed_loop
from loadtests.report import Report, Target
from loadtests.server import serving
from loadtests.wire import Client

TOKENS = 1000
STAY_SECONDS = 1.0
"""Each stays for a random part of this."""
SETTLE_SECONDS = 20.0


async def run(bench: Bench) -> Report:
    """The storm, and the calm after it."""
    report = Report(scenario="disconnects")
    async with serving(store=bench.store, settings={"BATCHING__MAX_BATCH_TOKENS": "4096"}) as server:
        client = server.client()
        bodies = await Bodies.measured(client, bench.seed)
        before = await closed_loop(bodies.same(200, 20), sender(client), callers=1)
        computed, count = Page(await client.page()).total("token_slots_total"), bench.many(1000, 60)
        await _storm(client, bodies.same(TOKENS, count), bench)
        settled = await _settled(client)
        page = Page(await client.page())
        after = await closed_loop(bodies.same(200, 20), sender(client), callers=1)
        counted = Page(await client.page()).by("http_requests_total", "status", route=ROUTE)
        overtaken = count - round(counted.get("499", 0.0))
        client.tally[ROUTE, "499"] -= overtaken
        client.tally[ROUTE, "200"] += overtaken
        report.laws += adds_up(Page(await client.page()), client.tally)
        sockets = server.sockets
        await client.close()
    slots = page.total("token_slots_total") - computed
    report.hold("gauges were back to 0 in time", settled < SETTLE_SECONDS, f"after {settled:.2f} s")
    report.hold("callers before and after are answered", all(each.answered for each in (*before, *after)))
    report.hold("no connection stays", sockets < 20, f"{sockets} sockets")
    report.rows.append(
        {
            "left": count,
            "whose answer overtook them": overtaken,
            "s until gauges are 0": settled,
            "work that was sent, slots": count * TOKENS,
            "computed, slots": slots,
            "by stage": page.by("cancelled_total", "stage"),
            "ms before": _median(before),
            "ms after": _median(after),
        }
    )
    report.targets.append(
        Target(what="share of the work that was computed all the same", value=slots / (count * TOKENS), bound=0.2)
    )
    return report


async def _storm(client: Client, bodies: list[bytes], bench: Bench) -> None:
    async def caller(body: bytes, seconds: float) -> None:
        async with client.leaving(ROUTE, body):
            await asyncio.sleep(seconds)

    async with asyncio.TaskGroup() as group:
        for body, seconds in zip(bodies, bench.random.uniform(0, STAY_SECONDS, len(bodies)), strict=True):
            group.create_task(caller(body, float(seconds)))


async def _settled(client: Client) -> float:
    """Seconds until nothing is waited for, at most `SETTLE_SECONDS`."""
    begin = asyncio.get_running_loop().time()
    while (seconds := asyncio.get_running_loop().time() - begin) < SETTLE_SECONDS:
        page = Page(await client.page())
        counted = page.total("http_requests_total", route=ROUTE)
        if not any(page.gauges.values()) and counted == client.tally[ROUTE, "499"] + client.tally[ROUTE, "200"]:
            break
        await asyncio.sleep(0.02)
    return seconds


def _median(outcomes: list[Outcome]) -> float:
    return sorted(1000 * outcome.seconds for outcome in outcomes)[len(outcomes) // 2]
