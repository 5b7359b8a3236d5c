"""Open-loop load: requests leave when a Poisson process says, whether or not earlier ones were answered.

A latency counts from the moment at which its request was *planned*, so neither a slow service nor a late driver hides
waiting time (no coordinated omission). How late the driver itself was is told beside it: a run whose driver was late says
little.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from loadtests.wire import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request to be sent `at` seconds after the start: a body, and to whom or what it belongs."""

    at: float
    body: bytes
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one request; all seconds count from the run's start. `status`: of HTTP, or the transport error's name."""

    planned: float
    sent: float
    ended: float
    group: str
    status: str
    reply: Reply | None

    @property
    def seconds(self) -> float:
        """Latency, from the planned moment."""
        return self.ended - self.planned

    @property
    def answered(self) -> bool:
        """Whether it was answered with 200."""
        return self.status == "200"

    @property
    def tokens(self) -> int:
        """What the answer reports."""
        return int(self.reply.json["usage"]["tokens"]) if self.answered and self.reply else 0


Send = Callable[[Asked], Coroutine[None, None, Reply]]


def poisson(rate: float, bodies: Sequence[bytes], random: np.random.Generator, *, group: str = "") -> list[Asked]:
    """All bodies, `rate` a second on average."""
    moments = np.cumsum(random.exponential(1 / rate, len(bodies)))
    return [Asked(at=float(at), body=body, group=group) for at, body in zip(moments, bodies, strict=True)]


def merged(*plans: Sequence[Asked]) -> list[Asked]:
    """Several plans at once, in order of time."""
    return sorted((asked for plan in plans for asked in plan), key=lambda asked: asked.at)


async def drive(plan: Sequence[Asked], send: Send, *, seconds: float | None = None) -> list[Outcome]:
    """Send the plan, or what of it comes within `seconds`, and wait for every answer."""
    outcomes: list[Outcome] = []
    start = time.perf_counter() + 0.05

    async def one(asked: Asked) -> None:
        outcomes.append(await _outcome(asked, send, start))

    async with asyncio.TaskGroup() as group:
        for asked in plan:
            if seconds is not None and asked.at > seconds:
                break
            if (ahead := start + asked.at - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            group.create_task(one(asked))
    return outcomes


async def closed_loop(bodies: Iterable[bytes], send: Send, *, callers: int, seconds: float | None = None) -> list[Outcome]:
    """So many callers, each sending its next body when the last is answered: what the service can do at most."""
    waiting = iter(bodies)
    outcomes: list[Outcome] = []
    start = time.perf_counter()

    async def caller() -> None:
        for body in waiting:
            now = time.perf_counter() - start
            if seconds is not None and now > seconds:
                return
            outcomes.append(await _outcome(Asked(at=now, body=body), send, start))

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return outcomes


async def _outcome(asked: Asked, send: Send, start: float) -> Outcome:
    sent, reply = time.perf_counter() - start, None
    try:
        reply = await send(asked)
        status = str(reply.status)
    except (OSError, EOFError, TimeoutError) as error:
        status = type(error).__name__
    ended = time.perf_counter() - start
    return Outcome(planned=asked.at, sent=sent, ended=ended, group=asked.group, status=status, reply=reply)


def percentile(outcomes: Sequence[Outcome], share: float) -> float:
    """Latency in seconds that this share (0..100) of the answered stay under; NaN where nothing was answered."""
    seconds = [outcome.seconds for outcome in outcomes if outcome.answered]
    return float(np.percentile(seconds, share)) if seconds else float("nan")


def statuses(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many of each status."""
    return dict(sorted(Counter(outcome.status for outcome in outcomes).items()))


def lateness(outcomes: Sequence[Outcome]) -> float:
    """How late in seconds the driver sent, at the 99th percentile."""
    return float(np.percentile([outcome.sent - outcome.planned for outcome in outcomes], 99)) if outcomes else 0.0
