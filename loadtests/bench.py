"""What every scenario is handed: a store, a size, a seed, and the means to make bodies and find out the service's speed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtests.documents import documents, lengths, ring
from loadtests.openloop import Asked, Outcome, Send, closed_loop
from loadtests.wire import Client, Reply

ROUTE = "/embed"
CLASSES = (200, 500, 1000, 2000, 4000)
"""Tokens of the documents of one class: within what the model reads in one window, and typical of a class of the metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One run. count: how many of what the scenario counts; seconds: how long what it times; None for the scenario's own."""

    store: Path = Path("model_store")
    count: int | None = None
    seconds: float | None = None
    seed: int = 0
    short: bool = False
    peer: bool = False
    lengths: tuple[int, ...] = CLASSES

    @property
    def random(self) -> np.random.Generator:
        """Fresh, from the seed."""
        return np.random.default_rng(self.seed)

    def random_of(self, stream: int) -> np.random.Generator:
        """Fresh, one of several that are independent."""
        return np.random.default_rng([self.seed, stream])

    def many(self, full: int, short: int) -> int:
        """How many."""
        return self.count if self.count is not None else short if self.short else full

    def long(self, full: float, short: float) -> float:
        """How long, in seconds."""
        return self.seconds if self.seconds is not None else short if self.short else full


class Bodies:
    """Requests of one document each, cut to lengths in tokens by what a word costs with this tokenizer."""

    def __init__(self, tokens_per_word: float, seed: int) -> None:
        self.tokens_per_word = tokens_per_word
        self._random = np.random.default_rng(seed)
        self._words = ring(self._random)

    @classmethod
    async def measured(cls, client: Client, seed: int) -> Bodies:
        """By the service's own tokenizer, on the first thousand words."""
        words = ring(np.random.default_rng(seed))[:1000]
        reply = await client.ask("/tokenize", json.dumps({"inputs": " ".join(words)}).encode())
        return cls(float(reply.json["results"][0]["count"]) / len(words), seed)

    def of(self, tokens: Sequence[int]) -> list[bytes]:
        """One body for each length; a length comes out a few per cent off."""
        counts = [max(1, round(length / self.tokens_per_word)) for length in tokens]
        texts = documents(self._words, counts, self._random)
        return [json.dumps({"inputs": text, "encoding": "base64"}, ensure_ascii=False).encode() for text in texts]

    def same(self, tokens: int, count: int) -> list[bytes]:
        """Different documents of one length."""
        return self.of([tokens] * count)

    def mixed(self, count: int) -> list[bytes]:
        """Documents of the realistic mixture."""
        return self.of(lengths(count, self._random))


def sender(client: Client, *, headers: dict[str, str] | None = None) -> Send:
    """Posts to the route that all scenarios use."""

    async def send(asked: Asked) -> Reply:
        return await client.ask(ROUTE, asked.body, headers)

    return send


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What was answered per second."""

    requests: float
    tokens: float


def speed_between(outcomes: Sequence[Outcome], begin: float, end: float) -> Speed:
    """By the answers that came between two moments, in seconds from the run's start."""
    answered = [outcome for outcome in outcomes if outcome.answered and begin <= outcome.ended <= end]
    seconds = max(end - begin, 1e-9)
    return Speed(requests=len(answered) / seconds, tokens=sum(outcome.tokens for outcome in answered) / seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """What a service does when callers never let it rest."""

    speed: Speed
    outcomes: Sequence[Outcome]


async def peak(send: Send, bodies: Sequence[bytes], *, callers: int = 16) -> Peak:
    """All bodies, with so many callers; the wall time runs to the last answer."""
    outcomes = await closed_loop(bodies, send, callers=callers)
    return Peak(speed=speed_between(outcomes, 0.0, max(outcome.ended for outcome in outcomes)), outcomes=outcomes)


async def alone(send: Send, bodies: Sequence[bytes]) -> float:
    """Median seconds of one document when nobody else asks."""
    outcomes = await closed_loop(bodies, send, callers=1)
    return float(np.median([outcome.seconds for outcome in outcomes if outcome.answered]))
