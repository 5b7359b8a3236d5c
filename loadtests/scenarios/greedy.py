"""One greedy key among many: it asks at three times the capacity, the others now and then.

The others' latencies alone are measured first, at the same planned moments. The greedy key is made to wait, and refused
when the queue is full. The others are never refused, and wait for about one batch more: a caller who owes goes last.
"""

from __future__ import annotations

import math
import secrets
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from drlongformer.api import keys
from drlongformer.api.keys import Key, KeyFile, Scope
from loadtests.bench import ROUTE, Bench, Bodies, alone, sender
from loadtests.exposition import Page, adds_up
from loadtests.openloop import Asked, Outcome, drive, lateness, merged, percentile, poisson, statuses
from loadtests.report import Report, Target
from loadtests.server import serving
from loadtests.wire import Client, Reply

OTHERS = 9
TOKENS = 500
LOAD, GREED = 0.3, 3.0
"""What the others need of the engine together, and what the greedy one asks of it."""
GREEDY = "greedy"
QUEUE_FILLING = 80
"""At least so many requests of the greedy one, so that it does fill the queue."""
SETTINGS = {"BATCHING__MAX_QUEUE_TOKENS": "60000"}


async def run(bench: Bench) -> Report:
    """The others alone, then with the greedy one."""
    report = Report(scenario="greedy")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys.json"
        names = [GREEDY, *(f"other-{number}" for number in range(OTHERS))]
        bearers = made(file, names)
        [admin] = made(file, ["admin"], scopes=("infer", "metrics")).values()
        async with serving(store=bench.store, settings={**SETTINGS, "SERVER__KEYS": str(file)}) as server:
            tally: Counter[tuple[str, str]] = Counter()
            clients = {name: Client(host="127.0.0.1", port=server.port, key=key, tally=tally) for name, key in bearers.items()}
            await _measure(bench, report, clients, Client(host="127.0.0.1", port=server.port, key=admin, tally=tally))
    return report


def made(file: Path, names: Sequence[str], *, scopes: tuple[Scope, ...] = ("infer",)) -> dict[str, str]:
    """Add a key for each name to the file; what each sends as its bearer."""
    there, bearers = keys.read(file) if file.exists() else KeyFile(), {}
    for name in names:
        secret, id_ = keys.new_secret(), f"{secrets.token_hex(6)}"
        digest = keys.digest(secret.encode()).hex()
        there = there.with_key(Key(id=id_, name=name, sha256=digest, scopes=scopes, created=datetime.now(UTC)))
        bearers[name] = f"{id_}.{secret}"
    keys.write(file, there)
    return bearers


async def _measure(bench: Bench, report: Report, clients: dict[str, Client], admin: Client) -> None:
    async def send(asked: Asked) -> Reply:
        return await clients[asked.group].ask(ROUTE, asked.body)

    bodies, seconds = await Bodies.measured(admin, bench.seed), bench.long(60, 4)
    one = await alone(sender(admin), bodies.same(TOKENS, bench.many(30, 5)))
    others = _others(bench, bodies, rate=LOAD / one, seconds=seconds)
    many = max(math.ceil(GREED / one * seconds), QUEUE_FILLING)
    greedy = poisson(many / seconds, bodies.same(2 * TOKENS, many), bench.random, group=GREEDY)
    by_themselves = await drive(others, send)
    together = await drive(merged(others, greedy), send)
    report.laws += adds_up(Page(await admin.page()), admin.tally)
    for client in (*clients.values(), admin):
        await client.close()
    _judge(report, by_themselves, together, one)


def _others(bench: Bench, bodies: Bodies, *, rate: float, seconds: float) -> list[Asked]:
    plans = []
    for number in range(OTHERS):
        count = max(2, math.ceil(rate / OTHERS * seconds))
        plans.append(poisson(rate / OTHERS, bodies.same(TOKENS, count), bench.random_of(number), group=f"other-{number}"))
    return merged(*plans)


def _judge(report: Report, by_themselves: Sequence[Outcome], together: Sequence[Outcome], one: float) -> None:
    greedy = [outcome for outcome in together if outcome.group == GREEDY]
    others = [outcome for outcome in together if outcome.group != GREEDY]
    report.rows = [
        _row("the others alone", by_themselves),
        _row("the others beside it", others),
        _row("the greedy one", greedy),
    ]
    report.hold("the others are all answered", set(statuses([*by_themselves, *others])) == {"200"}, str(statuses(others)))
    report.hold("the greedy one is refused at times", "429" in statuses(greedy), str(statuses(greedy)))
    report.hold("and answered at times: none is shut out", "200" in statuses(greedy))
    report.hold("the others wait less than it", percentile(others, 50) < percentile(greedy, 50))
    report.figures = {"one_document_ms": 1000 * one, "driver_late_p99_ms": 1000 * lateness(together)}
    batch = one * 4096 / TOKENS
    bound = 1000 * (2 * percentile(by_themselves, 99) + batch)
    report.targets.append(Target(what="p99 of the others, ms", value=1000 * percentile(others, 99), bound=round(bound, 1)))


def _row(name: str, outcomes: Sequence[Outcome]) -> dict[str, object]:
    return {
        "requests": name,
        "count": len(outcomes),
        "answered": sum(outcome.answered for outcome in outcomes),
        **{f"p{share} ms": 1000 * percentile(outcomes, share) for share in (50, 90, 99, 100)},
    }
