"""A bounded load on a running service: French documents of mixed lengths, a fixed number of requests, a fixed concurrency.

Lengths are log-normal (mu 6.3, sigma 1.0, in tokens, clipped to 20..4096), one document a request, the same for one seed.
`/tokenize` says how many tokens a word of the text costs; latencies are then grouped by the tokens that each answer reports.
A closed loop: each of the clients sends its next document when the last is answered. Prints a table, and one JSON line last.

    python -m loadtests.http_load --task embed --requests 200 --concurrency 8
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np

from loadtests.documents import documents, lengths, ring, with_masks

CLASSES = (("le512", 512), ("le1024", 1024), ("le2048", 2048), ("le4096", 4096), ("gt4096", math.inf))
PERCENTILES = (50, 90, 95, 99, 100)
TASKS = ("embed", "ner", "classify", "fill-mask", "tokenize")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One request: `status` is its HTTP status or the name of the transport error, `tokens` what the answer reports."""

    status: str
    seconds: float
    tokens: int

    @property
    def answered(self) -> bool:
        """Whether the service gave an answer."""
        return self.status == "200"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Latencies of one length class, in milliseconds."""

    length: str
    answers: int
    tokens: int
    milliseconds: dict[str, float]


async def tokens_per_word(client: httpx.AsyncClient, words: Sequence[str]) -> float:
    """What a word of the text costs, measured by the service's own tokenizer on the first thousand words."""
    sample = list(words[:1000])
    response = await client.post("/tokenize", json={"inputs": " ".join(sample)})
    response.raise_for_status()
    return float(response.json()["results"][0]["count"]) / len(sample)


async def send(client: httpx.AsyncClient, task: str, text: str) -> Outcome:
    """Post one document and time its answer."""
    start = time.perf_counter()
    try:
        response = await client.post(f"/{task}", json={"inputs": text})
    except httpx.HTTPError as error:
        return Outcome(status=type(error).__name__, seconds=time.perf_counter() - start, tokens=0)
    seconds = time.perf_counter() - start
    tokens = int(response.json()["usage"]["tokens"]) if response.status_code == httpx.codes.OK else 0
    return Outcome(status=str(response.status_code), seconds=seconds, tokens=tokens)


async def load(client: httpx.AsyncClient, task: str, texts: Sequence[str], concurrency: int) -> list[Outcome]:
    """Send every text once, `concurrency` at a time."""
    waiting = iter(texts)
    outcomes: list[Outcome] = []

    async def one_client() -> None:
        for text in waiting:
            outcomes.append(await send(client, task, text))  # noqa: PERF401 - each answer is kept as it comes

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(one_client())
    return outcomes


def rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """One row a length class that has answers, and one for all."""
    answered = [outcome for outcome in outcomes if outcome.answered]
    table = []
    floor = 0.0
    for name, ceiling in (*CLASSES, ("all", math.inf)):
        low = 0.0 if name == "all" else floor
        chosen = [outcome for outcome in answered if low < outcome.tokens <= ceiling]
        floor = ceiling
        if chosen:
            times = 1000 * np.percentile([outcome.seconds for outcome in chosen], PERCENTILES)
            table.append(
                Row(
                    length=name,
                    answers=len(chosen),
                    tokens=sum(outcome.tokens for outcome in chosen),
                    milliseconds={f"p{p}": round(float(t), 1) for p, t in zip(PERCENTILES, times, strict=True)},
                )
            )
    return table


def report(outcomes: Sequence[Outcome], *, wall_seconds: float, settings: dict[str, object]) -> str:
    """The table for people, and one JSON line last."""
    table = rows(outcomes)
    tokens = sum(outcome.tokens for outcome in outcomes)
    errors = Counter(outcome.status for outcome in outcomes if not outcome.answered)
    heads = [f"{'length':8}{'answers':>9}{'tokens':>10}" + "".join(f"{f'p{p} ms':>11}" for p in PERCENTILES)]
    lines = [
        f"{row.length:8}{row.answers:>9}{row.tokens:>10}" + "".join(f"{ms:>11.1f}" for ms in row.milliseconds.values())
        for row in table
    ]
    speed = f"{len(outcomes)} requests in {wall_seconds:.1f} s, {tokens / wall_seconds:.0f} tokens/s"
    summary = {
        **settings,
        "wall_seconds": round(wall_seconds, 3),
        "tokens_per_second": round(tokens / wall_seconds, 1),
        "requests_per_second": round(len(outcomes) / wall_seconds, 2),
        "errors": dict(errors),
        "latency": [asdict(row) for row in table],
    }
    return "\n".join([*heads, *lines, f"{speed}, errors: {dict(errors) or 'none'}", json.dumps(summary)])


async def run(arguments: argparse.Namespace, transport: httpx.AsyncBaseTransport | None = None) -> str:
    """Make the documents, send them and report; `transport` stands in for the network in tests."""
    random = np.random.default_rng(arguments.seed)
    words = ring(random) if arguments.text_file is None else arguments.text_file.read_text(encoding="utf-8").split()
    limits = httpx.Limits(max_connections=arguments.concurrency)
    async with httpx.AsyncClient(
        base_url=arguments.url, timeout=arguments.timeout_seconds, limits=limits, transport=transport
    ) as client:
        cost = await tokens_per_word(client, words)
        counts = [max(1, round(length / cost)) for length in lengths(arguments.requests, random)]
        texts = list(documents(words, counts, random))
        if arguments.task == "fill-mask":
            texts = [with_masks(text, arguments.mask) for text in texts]
        await send(client, arguments.task, texts[0])  # a warm-up, not counted
        start = time.perf_counter()
        outcomes = await load(client, arguments.task, texts, arguments.concurrency)
        wall_seconds = time.perf_counter() - start
    settings = {name: getattr(arguments, name) for name in ("task", "requests", "concurrency", "seed")}
    return report(outcomes, wall_seconds=wall_seconds, settings=settings | {"tokens_per_word": round(cost, 3)})


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="A bounded load of French documents of mixed lengths.")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--task", choices=TASKS, default="embed")
    parser.add_argument("--requests", type=int, default=100, help="how many documents in all")
    parser.add_argument("--concurrency", type=int, default=8, help="how many clients at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--text-file", type=Path, help="cut the documents from this UTF-8 text instead of invented sentences")
    parser.add_argument("--mask", default="<mask>", help="the model's mask, for fill-mask")
    parser.add_argument("--timeout-seconds", type=float, default=300.0)
    return parser.parse_args(argv)


if __name__ == "__main__":
    print(asyncio.run(run(parse())))
