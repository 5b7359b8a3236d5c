"""Throughput of two replicas on a Ray cluster of this machine, beside one process and beside two without Ray; in turns.

    python -m loadtests.ray_replicas [--store model_store] [--tokens 200] [--requests 200] [--callers 8] [--rounds 3]

All have the same two cores, so Ray itself can win nothing: beside two processes that are asked in turn, without any proxy, it
shows what its proxy and its hops cost. Prints a table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtests.bench import Bodies, peak, sender
from loadtests.openloop import Asked, Send
from loadtests.ray_cluster import cluster
from loadtests.server import serving
from loadtests.wire import Client, Reply


def spread(clients: Sequence[Client]) -> Send:
    """Asks one client after the other."""
    turns = itertools.cycle([sender(client) for client in clients])

    async def send(asked: Asked) -> Reply:
        return await next(turns)(asked)

    return send


async def measure(contenders: Mapping[str, Sequence[Client]], asked: argparse.Namespace) -> dict[str, list[float]]:
    """Requests answered a second by each, round by round, after one that is not counted."""
    [[first, *_], *_] = contenders.values()
    bodies = (await Bodies.measured(first, 0)).same(asked.tokens, asked.requests)
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(asked.rounds + 1):
        for name, clients in contenders.items():
            best = await peak(spread(clients), bodies, callers=asked.callers)
            assert all(outcome.answered for outcome in best.outcomes), name
            if number:
                found[name].append(best.speed.requests)
    return found


async def run(asked: argparse.Namespace) -> dict[str, list[float]]:
    """Start all, and measure in turns."""
    store = asked.store.resolve()
    async with contextlib.AsyncExitStack() as at_the_end:
        one, *two = [
            await at_the_end.enter_async_context(serving(store=store, settings={"MODELS__THREADS": threads}))
            for threads in ("2", "1", "1")
        ]
        ray = await at_the_end.enter_async_context(cluster(store))
        contenders = {
            "one process, 2 threads": [one.client()],
            "two processes of 1 thread": [each.client() for each in two],
            "Ray, two replicas of 1 thread": [ray.client()],
        }
        for client in itertools.chain(*contenders.values()):
            at_the_end.push_async_callback(client.close)
        return await measure(contenders, asked)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.ray_replicas", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--tokens", type=int, default=200, help="of each document")
    parser.add_argument("--requests", type=int, default=200, help="of each round")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args(argv)


def show(found: Mapping[str, Sequence[float]]) -> None:
    """A table, and a line of JSON."""
    for name, speeds in found.items():
        told = ", ".join(f"{speed:.1f}" for speed in speeds)
        print(f"{name:32} {statistics.median(speeds):8.1f} requests/s   ({told})")
    print(json.dumps({name: [round(speed, 2) for speed in speeds] for name, speeds in found.items()}))


if __name__ == "__main__":
    show(asyncio.run(run(parse())))
