"""Start to ready, and memory: the process is started several times, on files that the system already holds in memory."""

from __future__ import annotations

import statistics

from loadtests.bench import Bench, Bodies, peak, sender
from loadtests.exposition import Page, adds_up
from loadtests.report import Report, Target
from loadtests.server import MIB, serving


async def run(bench: Bench) -> Report:
    """Start, ask, stop; `--count` times."""
    report = Report(scenario="start")
    for _ in range(bench.many(5, 1)):
        async with serving(store=bench.store) as server:
            client, at_ready = server.client(), server.resident_bytes
            bodies = await Bodies.measured(client, bench.seed)
            await peak(sender(client), bodies.mixed(30 if bench.short else 200), callers=8)
            report.laws += adds_up(Page(await client.page()), client.tally)
            report.rows.append(
                {
                    "ready s": server.ready_seconds,
                    "MiB at ready": at_ready / MIB,
                    "MiB at most, after mixed load": server.peak_bytes / MIB,
                }
            )
            await client.close()
            server.terminate()
            code = await server.stopped()
            report.hold("it ends with exit code 0", code == 0, str(code))
    ready = statistics.median(float(str(row["ready s"])) for row in report.rows)
    memory = max(float(str(row["MiB at most, after mixed load"])) for row in report.rows)
    report.targets = [
        Target(what="seconds to ready, median", value=ready, bound=3.0),
        Target(what="MiB at most", value=memory, bound=400.0),
    ]
    return report
