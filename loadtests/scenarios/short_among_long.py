"""Notes of 200 tokens among documents of 4096 at 80 % load: their p99 against the same notes alone, plus one batch.

Both runs send the same notes at the same planned moments; only the long documents are added. One batch is what a note that
comes just after a long document was taken must wait for, whatever the order of the queue.
"""

from __future__ import annotations

import math

from loadtests.bench import Bench, Bodies, alone, peak, sender
from loadtests.exposition import Page, adds_up
from loadtests.openloop import Outcome, drive, lateness, merged, percentile, poisson, statuses
from loadtests.report import Report, Target
from loadtests.server import serving

NOTE_TOKENS, LONG_TOKENS = 200, 3900
NOTES_SHARE = 0.1
"""Of the engine's time; the long documents take the rest of the 80 %."""
LOAD = 0.8


async def run(bench: Bench) -> Report:
    """Alone, then among."""
    report = Report(scenario="short_among_long")
    async with serving(store=bench.store) as server:
        client = server.client()
        bodies, send = await Bodies.measured(client, bench.seed), sender(client)
        note = await alone(send, bodies.same(NOTE_TOKENS, bench.many(30, 5)))
        long = await alone(send, bodies.same(LONG_TOKENS, bench.many(15, 2)))
        await peak(send, bodies.same(LONG_TOKENS, bench.many(40, 3)), callers=6)
        seconds = bench.long(120, 5)
        notes = poisson(NOTES_SHARE / note, bodies.same(NOTE_TOKENS, math.ceil(NOTES_SHARE / note * seconds)), bench.random)
        rate = (LOAD - NOTES_SHARE) / long
        documents = poisson(rate, bodies.same(LONG_TOKENS, math.ceil(rate * seconds)), bench.random, group="long")
        by_themselves = await drive(notes, send)
        before = Page(await client.page())
        among = await drive(merged(notes, documents), send)
        page = Page(await client.page())
        report.laws += adds_up(page, client.tally)
        await client.close()
    shorts = [outcome for outcome in among if outcome.group != "long"]
    longs = [outcome for outcome in among if outcome.group == "long"]
    report.rows = [_row("notes alone", by_themselves), _row("notes among long", shorts), _row("long documents", longs)]
    report.hold("all answered", set(statuses([*by_themselves, *among])) == {"200"}, str(statuses([*by_themselves, *among])))
    report.hold("notes overtake: their median is below that of the long", percentile(shorts, 50) < percentile(longs, 50))
    longest = max(edge for edge, batches in _batches(before, page).items() if batches)
    report.figures = {
        "alone_ms": {"note": 1000 * note, "long": 1000 * long},
        "driver_late_p99_ms": 1000 * lateness(among),
        "tokens_of_longest_batch_at_most": longest,
    }
    bound = 1000 * (2 * percentile(by_themselves, 99) + long)
    report.targets.append(
        Target(what="p99 of notes among long, ms", value=1000 * percentile(shorts, 99), bound=round(bound, 1))
    )
    return report


def _batches(before: Page, after: Page) -> dict[float, float]:
    """How many batches had at most so many tokens, and more than the edge below."""
    name = "batch_tokens_bucket"
    counts = {float(edge): count for edge, count in after.by(name, "le").items()}
    counts = {edge: count - before.by(name, "le").get(_edge(edge), 0.0) for edge, count in sorted(counts.items())}
    edges = list(counts)
    return {edge: counts[edge] - (counts[edges[place - 1]] if place else 0.0) for place, edge in enumerate(edges)}


def _edge(edge: float) -> str:
    return "+Inf" if edge == float("inf") else str(edge)


def _row(name: str, outcomes: list[Outcome]) -> dict[str, object]:
    return {
        "requests": name,
        "count": len(outcomes),
        **{f"p{share} ms": 1000 * percentile(outcomes, share) for share in (50, 90, 99, 100)},
    }
