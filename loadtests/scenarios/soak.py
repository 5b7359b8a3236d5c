"""Hours at 80 % load: the slope of memory's floor after the warm-up, and a positive control that must be flagged.

The control is the same service with 16 KiB kept of every request (`loadtests/leaking.py`), for a quarter of the time: a
soak that would not see it says nothing about the service. A short run is all warm-up, so it has a coarse limit, and a
control to match.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import sys
from collections.abc import Sequence

from loadtests.bench import Bench, Bodies, sender, speed_between
from loadtests.exposition import Page, adds_up
from loadtests.growth import BLOCKS, Growth, Sample, floors, growth
from loadtests.openloop import closed_loop, drive, percentile, poisson, statuses
from loadtests.report import Report, Target
from loadtests.server import MIB, SERVE, Server, serving

LEAKING = (sys.executable, "-m", "loadtests.leaking")
SHORT_LEAKING = (*LEAKING, "--leak-bytes", str(MIB))
LOAD = 0.8
SHORT_LIMIT, SHORT_RATE = 20_000.0, 10.0
"""Of a short run, MiB an hour and requests a second: at that rate the control leaks 36,000, in all some hundred MiB."""
LIMIT_MIB_PER_HOUR = 1.0
WARM_UP = 0.3
"""Part of the time that is not looked at: arenas, caches and the batch budget settle."""
SAMPLE_SECONDS = 0.1
FLOORS = 240
"""Points that are written down: the least of so many parts of a run."""


async def run(bench: Bench) -> Report:
    """The service, then the control."""
    report = Report(scenario="soak")
    seconds = bench.long(3600, 12)
    limit, leaking = (SHORT_LIMIT, SHORT_LEAKING) if bench.short else (LIMIT_MIB_PER_HOUR, LEAKING)
    own = await _soak(bench, report, "the service", SERVE, seconds)
    control = await _soak(bench, report, "control that leaks", leaking, seconds if bench.short else seconds / 4)
    report.hold(
        "the service is not flagged",
        not own.is_leak(limit),
        f"{own.mib_per_hour:.2f} MiB/h, rising {own.rising:.2f}",
    )
    report.hold(
        "the control is flagged",
        control.is_leak(limit),
        f"{control.mib_per_hour:.2f} MiB/h, rising {control.rising:.2f}",
    )
    report.targets.append(Target(what="MiB/h after warm-up", value=own.mib_per_hour, bound=LIMIT_MIB_PER_HOUR))
    return report


async def _soak(bench: Bench, report: Report, name: str, command: Sequence[str], seconds: float) -> Growth:
    async with serving(store=bench.store, command=command, settings={"LOGS__LEVEL": "warning"}) as server:
        client = server.client()
        bodies, send = await Bodies.measured(client, bench.seed), sender(client)
        mixed = bodies.of([60] * 200) if bench.short else bodies.mixed(1000)
        probe = min(30.0, seconds / 4)
        outcomes = await closed_loop(itertools.cycle(mixed), send, callers=8, seconds=probe)
        rate = LOAD * speed_between(outcomes, probe / 4, probe).requests
        rate = min(rate, SHORT_RATE) if bench.short else rate
        count = math.ceil(rate * seconds)
        plan = poisson(rate, list(itertools.islice(itertools.cycle(mixed), count)), bench.random)
        watching = asyncio.create_task(_watch(server))
        outcomes = await drive(plan, send)
        watching.cancel()
        samples = await watching
        report.laws += adds_up(Page(await client.page()), client.tally)
        await client.close()
    late = [sample for sample in samples if sample.seconds > WARM_UP * samples[-1].seconds]
    found, drawn = growth(late), floors(samples, FLOORS)
    report.figures[name] = {
        "seconds": [round(each.seconds) for each in drawn],
        "mib": [round(each.mib, 2) for each in drawn],
    }
    report.rows.append(
        {
            "run": name,
            "minutes": seconds / 60,
            "requests": len(outcomes),
            "not answered": len(outcomes) - statuses(outcomes).get("200", 0),
            "p50 ms": 1000 * percentile(outcomes, 50),
            "p99 ms": 1000 * percentile(outcomes, 99),
            "MiB after warm-up, least": floors(late, BLOCKS)[0].mib,
            "MiB at the end, least": floors(late, BLOCKS)[-1].mib,
            "MiB/h": found.mib_per_hour,
            "rising": found.rising,
        }
    )
    return found


async def _watch(server: Server) -> list[Sample]:
    """Memory, again and again, until cancelled."""
    begin, samples = asyncio.get_running_loop().time(), list[Sample]()
    try:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            seconds = asyncio.get_running_loop().time() - begin
            samples.append(Sample(seconds=seconds, mib=server.resident_bytes / MIB))
    except asyncio.CancelledError:
        return samples
