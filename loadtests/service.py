"""The load tests of the service, one scenario at a time: each starts its own service, prints a table, and one JSON line last.

    python -m loadtests.service SCENARIO [--short] [--count N] [--seconds S] [--store FOLDER] [--seed 0] [--append FILE]

Exit code 1 if a law is broken. A target that is missed is told, and is no failure: it is a figure of a quiet machine.
Everything stays on loopback. `--short` is what the tests run; a full run of one scenario takes a minute to half an hour.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import uvloop

from loadtests.bench import CLASSES, Bench

SCENARIOS: Final[Mapping[str, str]] = {
    "start": "start to ready, and memory",
    "overhead": "what a request costs beyond tokenizing and computing",
    "throughput": "tokens per second through HTTP against the bare engine",
    "capacity": "Poisson arrivals at p99 <= 2x a single document, per length class (--peer: beside a naive service)",
    "overload": "ten times the capacity: goodput, refusals, a true Retry-After",
    "short_among_long": "notes of 200 tokens among documents of 4096 at 80 % load",
    "greedy": "one greedy key among many",
    "disconnects": "callers who leave: gauges back to 0",
    "slow_peers": "connections that drip heads or bodies",
    "headers": "100 MB of headers",
    "sigterm": "SIGTERM with requests in flight and half-open peers",
    "swaps": "versions swapped under load",
    "rolling": "rolling restart behind nginx",
    "golden": "the same answer alone and in any pack",
    "bitflips": "bits flipped in a bundle's files",
    "soak": "memory slope, with a positive control that leaks",
}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    told = "\n".join(f"  {name:18}{what}" for name, what in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.service",
        description=f"{__doc__}\n{told}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", choices=SCENARIOS, metavar="SCENARIO")
    parser.add_argument("--short", action="store_true", help="small counts: the laws, not the figures")
    parser.add_argument("--count", type=int, help="how many of what the scenario counts")
    parser.add_argument("--seconds", type=float, help="how long what the scenario times")
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="folder with the bundle, the embedded one's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", action="store_true", help="capacity: a naive service beside ours (needs the extra train)")
    parser.add_argument("--length", type=int, action="append", help="capacity: tokens of a class; may be repeated")
    parser.add_argument("--append", type=Path, help="file that the JSON line is added to; loadtests/plots.py reads it")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one scenario."""
    options = parse(argv)
    bench = Bench(
        store=options.store,
        count=options.count,
        seconds=options.seconds,
        seed=options.seed,
        short=options.short,
        peer=options.peer,
        lengths=tuple(options.length or CLASSES),
    )
    scenario = importlib.import_module(f"loadtests.scenarios.{options.scenario}")
    report = uvloop.run(scenario.run(bench))
    report.print()
    if options.append is not None:
        with options.append.open("a", encoding="utf-8") as results:
            results.write(json.dumps(report.summary, ensure_ascii=False) + "\n")
    return 0 if report.lawful else 1


if __name__ == "__main__":
    sys.exit(main())
