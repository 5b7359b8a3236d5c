"""Versions swapped under load: no request fails, and every answer is of one version, to the last bit.

Two versions of the model that differ in their weights are made active in turn, as fast as the service follows. A few
documents, one of them in two windows, are asked again and again; each embedding must be exactly that of the version which
the answer names.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from drlongformer import bundle
from loadtests.bench import Bench, Bodies, sender
from loadtests.exposition import Page, adds_up
from loadtests.openloop import Asked, Outcome, Send, closed_loop, percentile, statuses
from loadtests.report import Report
from loadtests.server import MIB, Server, serving
from loadtests.wire import Client

LENGTHS = (50, 200, 700, 5000)
VERSIONS = (1, 2)
CALLERS = 3
SWAP_SECONDS = 120.0

References = Mapping[tuple[int, bytes], str]


async def run(bench: Bench) -> Report:
    """Two versions, many swaps."""
    report = Report(scenario="swaps")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        name = two_versions(bench.store, store)
        bundle.activate(store, name, VERSIONS[0])
        async with serving(store=store) as server:
            client = server.client()
            bodies = (await Bodies.measured(client, bench.seed)).of(LENGTHS)
            await _measure(report, server, client, bodies, store=store, name=name, swaps=bench.many(1000, 4))
            await client.close()
    return report


def two_versions(source: Path, store: Path) -> str:
    """Write the served bundle of `source` as two versions whose first weights differ; its name."""
    [name] = bundle.names(source)
    loaded = bundle.load(bundle.find(source, name))
    files: dict[str, Path | bytes] = {file: loaded.folder / file for file in loaded.manifest.files}
    [weights] = [file for file in files if file.endswith(".weights")]
    changed = np.fromfile(loaded.folder / weights, dtype=np.float32)
    changed[:256] *= 1.05
    for version, own in ((1, loaded.folder / weights), (2, changed.tobytes())):
        bundle.write(store, loaded.manifest.model_copy(update={"version": version}), files | {weights: own})
    return name


async def _measure(
    report: Report, server: Server, client: Client, bodies: Sequence[bytes], *, store: Path, name: str, swaps: int
) -> None:
    send, before = sender(client), server.resident_bytes
    references = await _references(client, send, bodies, store=store, name=name)
    stop = asyncio.Event()

    async def unless_stopped() -> list[Outcome]:
        random, outcomes = np.random.default_rng(0), list[Outcome]()
        while not stop.is_set():
            body = bodies[int(random.integers(len(bodies)))]
            outcomes += [_small(each, body, references) for each in await closed_loop([body], send, callers=1)]
        return outcomes

    load = [asyncio.create_task(unless_stopped()) for _ in range(CALLERS)]
    took = [await _swap(client, store, name, VERSIONS[(number + 1) % 2]) for number in range(swaps)]
    stop.set()
    outcomes = [outcome for caller in load for outcome in await caller]
    page = Page(await client.page())
    report.laws += adds_up(page, client.tally)
    done = page.by("model_swaps_total", "outcome")
    groups = {group: sum(outcome.group == group for outcome in outcomes) for group in ("1", "2", "wrong")}
    report.hold("no request fails", set(statuses(outcomes)) == {"200"}, str(statuses(outcomes)))
    report.hold("every answer is that of the version it names, to the last bit", groups["wrong"] == 0, str(groups))
    report.hold("both versions answered", min(groups["1"], groups["2"]) > 0)
    report.hold("every swap was done", done == {"done": float(swaps + 2)}, str(done))
    report.rows.append(
        {
            "swaps": swaps,
            "requests": len(outcomes),
            "by version 1": groups["1"],
            "by version 2": groups["2"],
            "s a swap, median": float(np.median(took)),
            "p50 ms": 1000 * percentile(outcomes, 50),
            "p99 ms": 1000 * percentile(outcomes, 99),
            "MiB resident before": before / MIB,
            "after": server.resident_bytes / MIB,
        }
    )


async def _references(client: Client, send: Send, bodies: Sequence[bytes], *, store: Path, name: str) -> References:
    """What each version answers when nothing is swapped; version 1 is active before and after."""
    found: dict[tuple[int, bytes], str] = {}
    for version in (1, 2):
        if version != 1:
            await _swap(client, store, name, version)
        for body in bodies:
            answer = (await send(Asked(at=0.0, body=body))).json
            found[answer["model"]["version"], body] = answer["results"][0]["embedding"]
    await _swap(client, store, name, 1)
    return found


async def _swap(client: Client, store: Path, name: str, version: int) -> float:
    """Make a version active and wait until it answers; seconds. Raises TimeoutError."""
    begin = time.monotonic()
    if int(bundle.find(store, name).name) != version:
        await asyncio.to_thread(bundle.activate, store, name, version)
    async with asyncio.timeout(SWAP_SECONDS):
        while (await client.get(f"/models/{name}")).json["version"] != version:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    return time.monotonic() - begin


def _small(outcome: Outcome, body: bytes, references: References) -> Outcome:
    """The outcome with its version as group, `wrong` if it is not that version's answer; its reply is let go."""
    if not outcome.answered or outcome.reply is None:
        return outcome
    answer = outcome.reply.json
    version = answer["model"]["version"]
    right = answer["results"][0]["embedding"] == references[version, body]
    return replace(outcome, group=str(version) if right else "wrong", reply=None)
