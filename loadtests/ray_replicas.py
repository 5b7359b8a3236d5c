"""Throughput of two replicas on a Ray cluster of this machine beside one process, each with the machine's two cores; in turns.

    python -m loadtests.ray_replicas [--store model_store] [--tokens 200] [--requests 200] [--callers 8] [--rounds 3]

On one host Ray can win nothing: what is measured is what its proxy and its hops cost. Prints a table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtests.bench import Bodies, peak, sender
from loadtests.ray_cluster import cluster
from loadtests.server import serving
from loadtests.wire import Client


async def measure(clients: Mapping[str, Client], asked: argparse.Namespace) -> dict[str, list[float]]:
    """Requests answered a second by each, round by round, after one that is not counted."""
    bodies = (await Bodies.measured(next(iter(clients.values())), 0)).same(asked.tokens, asked.requests)
    found: dict[str, list[float]] = {name: [] for name in clients}
    for number in range(asked.rounds + 1):
        for name, client in clients.items():
            best = await peak(sender(client), bodies, callers=asked.callers)
            assert all(outcome.answered for outcome in best.outcomes), name
            if number:
                found[name].append(best.speed.requests)
    return found


async def run(asked: argparse.Namespace) -> dict[str, list[float]]:
    """Start both, and measure in turns."""
    store = asked.store.resolve()
    async with serving(store=store, settings={"MODELS__THREADS": "2"}) as server, cluster(store) as ray:
        clients = {"one process, 2 threads": server.client(), "Ray, 2 replicas of 1 thread": ray.client()}
        try:
            return await measure(clients, asked)
        finally:
            for client in clients.values():
                await client.close()


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
        print(f"{name:30} {statistics.median(speeds):8.1f} requests/s   ({told})")
    print(json.dumps({name: [round(speed, 2) for speed in speeds] for name, speeds in found.items()}))


if __name__ == "__main__":
    show(asyncio.run(run(parse())))
