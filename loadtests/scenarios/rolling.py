"""Rolling restart behind the shipped nginx: replicas are stopped and started one after the other, and no request is lost.

Callers speak TLS to nginx at 80 % of what one replica can do, in open loop (with one of two replicas down, the other has it
all); both replicas share this machine's cores. Each restart is SIGTERM, the drain, the end, a new process on the same port,
ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import tempfile
import time
from collections import Counter
from pathlib import Path

from loadtests.bench import Bench, Bodies, peak, sender
from loadtests.openloop import Outcome, drive, lateness, percentile, poisson, statuses
from loadtests.proxy import proxying
from loadtests.report import Report, Target
from loadtests.server import Server, free_port, start
from loadtests.wire import Client

TOKENS = 60
LOAD = 0.8
SETTINGS = {"SERVER__DRAIN_SECONDS": "2", "LOGS__LEVEL": "warning", "MODELS__THREADS": "1"}


class Replicas:
    """Services on fixed ports, restarted one by one; what each process counted before it ended is kept."""

    def __init__(self, folder: Path, store: Path, count: int) -> None:
        self._folder, self._store = folder, store
        self.ports = [free_port() for _ in range(count)]
        self._servers: dict[int, Server] = {}
        self.codes: Counter[int] = Counter()
        self.restart_seconds: list[float] = []

    async def start(self, port: int) -> None:
        """Start one and wait until it is ready."""
        self._servers[port] = await start(self._folder, store=self._store, port=port, settings=SETTINGS)

    async def stop(self, port: int) -> None:
        """SIGTERM, and wait for the end."""
        server = self._servers.pop(port)
        server.terminate()
        self.codes[await server.stopped()] += 1

    async def roll(self, until: asyncio.Task[list[Outcome]]) -> None:
        """Restart one after the other, again and again, until it is enough."""
        while not until.done():
            for port in self.ports:
                begin = time.monotonic()
                await self.stop(port)
                await self.start(port)
                self.restart_seconds.append(time.monotonic() - begin)

    async def close(self) -> None:
        """Stop all."""
        for port in list(self._servers):
            await self.stop(port)


async def run(bench: Bench) -> Report:
    """Load through nginx while the replicas behind it are restarted."""
    report = Report(scenario="rolling")
    async with contextlib.AsyncExitStack() as at_the_end:
        replicas = Replicas(Path(at_the_end.enter_context(tempfile.TemporaryDirectory())), bench.store, 2)
        at_the_end.push_async_callback(replicas.close)
        for port in replicas.ports:
            await replicas.start(port)
        direct = Client(host="127.0.0.1", port=replicas.ports[0])
        bodies = await Bodies.measured(direct, bench.seed)
        proxy = await at_the_end.enter_async_context(proxying(replicas.ports))
        client = proxy.client()
        await peak(sender(direct), bodies.same(TOKENS, 20), callers=8)
        best = (await peak(sender(direct), bodies.same(TOKENS, 300 if not bench.short else 40), callers=16)).speed.requests
        rate, count = LOAD * best, bench.many(20_000, 150)
        plan = poisson(rate, bodies.same(TOKENS, 500) * math.ceil(count / 500), bench.random)[:count]
        load = asyncio.create_task(drive(plan, sender(client)))
        await replicas.roll(load)
        outcomes = await load
        retried = proxy.log.count('"replica_status": "502, ') + proxy.log.count('"replica_status": "503, ')
        lines = proxy.log.count('"route": "/embed"')
        await client.close()
        await direct.close()
    lost = {status: number for status, number in statuses(outcomes).items() if status != "200"}
    report.hold("no request is lost", not lost, f"{len(outcomes)} sent, lost: {lost or 0}")
    report.hold("replicas were restarted under load", len(replicas.restart_seconds) >= 2, f"{len(replicas.restart_seconds)}")
    report.hold("each ended with exit code 0", set(replicas.codes) == {0}, str(dict(replicas.codes)))
    report.hold("nginx wrote one line a request", lines == len(outcomes), f"{lines}")
    report.rows.append(
        {
            "requests": len(outcomes),
            "lost": sum(lost.values()),
            "a second": rate,
            "restarts": len(replicas.restart_seconds),
            "s a restart": sum(replicas.restart_seconds) / len(replicas.restart_seconds),
            "went to the next replica": retried,
            "p50 ms": 1000 * percentile(outcomes, 50),
            "p99 ms": 1000 * percentile(outcomes, 99),
            "p100 ms": 1000 * percentile(outcomes, 100),
        }
    )
    report.figures["driver_late_p99_ms"] = 1000 * lateness(outcomes)
    report.targets.append(Target(what="requests lost", value=sum(lost.values()), bound=0))
    return report
