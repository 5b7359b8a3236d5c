"""Turns in a bounded pool of threads: long jobs go step by step, so that a short one never waits for a long one to end.

A job is a generator; what it does up to a `yield` is one step, of milliseconds. In one turn a job's steps run for at most
`TURN_SECONDS`, then it queues again, behind jobs that came up to twice its thread time so far after it: a short request
overtakes long ones, but each of them only for a bounded time, so none starves. Turns are given out by the event loop; a caller
who leaves or whose deadline passes stops asking for more, and its job ends with the turn it is in.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

TURN_SECONDS: Final = 0.02
"""How long a job may keep its thread while others wait; steps that have begun are finished."""
OVERTAKING: Final = 2.0
"""Seconds by which each second of thread time sets a job back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended(Generic[T]):
    """What a job returned, as an object: a StopIteration cannot pass through a future."""

    value: T


class Turns:
    """The threads, and who goes next."""

    def __init__(self, threads: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="reader")
        self._free = threads
        self._clock = clock
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    async def run(self, job: Generator[Any, None, T], *, since: float | None = None) -> T:
        """What a job returns or raises; cancelling the caller ends it after the turn it is in.

        since: when its request came, on the clock, if that was before now; who came first goes first.
        """
        arrival, used = self._clock() if since is None else since, 0.0
        while True:
            await self._turn(arrival + OVERTAKING * used)
            started = self._clock()
            ended = await self._step(job)
            if ended is not None:
                return ended.value
            used += self._clock() - started

    def close(self) -> None:
        """Begin no step any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, key: float) -> None:
        """Wait until a thread is free and nobody with a smaller key waits."""
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (key, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()  # it was given, and is not wanted any more
            raise

    async def _step(self, job: Generator[Any, None, T]) -> _Ended[T] | None:
        loop = asyncio.get_running_loop()

        def over(_: Future[_Ended[T] | None]) -> None:
            with suppress(RuntimeError):  # the loop is closed, and nobody waits for a turn
                loop.call_soon_threadsafe(self._release)

        try:
            turn = self._pool.submit(_run, job, self._clock)
        except RuntimeError:  # the pool is closed
            self._release()
            raise asyncio.CancelledError("the service is shutting down") from None
        turn.add_done_callback(over)
        return await asyncio.wrap_future(turn)

    def _release(self) -> None:
        """Hand a thread to who waits with the smallest key."""
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def _run(job: Generator[Any, None, T], clock: Callable[[], float]) -> _Ended[T] | None:
    """Steps of a job until its turn is over; None if there are more."""
    until = clock() + TURN_SECONDS
    while True:
        try:
            next(job)
        except StopIteration as end:
            return _Ended(value=end.value)
        if clock() >= until:
            return None
