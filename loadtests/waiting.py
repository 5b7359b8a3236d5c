"""How long notes wait among long documents, in the real batcher on a clock of its own: the same figures on any machine.

The engine is a formula (seconds a batch, seconds a slot, a gain for batches of more than one window), arrivals are Poisson, and
time jumps to whatever comes next. So this tells what the policy of the queue does, and nothing of a machine.

    python -m loadtests.waiting [--seconds 800] [--load 0.8] [--gain 0.06]

Prints a table and one JSON line last. The figures by default are about those of the embedded model on two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import selectors
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from drlongformer.packing import blocks_of
from drlongformer.serving.batcher import Batcher
from drlongformer.serving.budget import Budget
from drlongformer.serving.engine import FakeEngine
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.runner import Station
from drlongformer.types import HIDDEN, WindowInput

BLOCK, WINDOW = 128, 4096
NOTE_TOKENS, LONG_TOKENS = 200, 3900
NOTES_SHARE = 0.1
SHARES = (50, 90, 99, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Seconds that a batch takes; gain: the part that is saved by more than one full window."""

    batch_seconds: float = 0.008
    slot_seconds: float = 1 / 16_700
    gain: float = 0.06

    def __call__(self, slots: int) -> float:
        """Seconds of a batch of so many slots."""
        return (self.batch_seconds + slots * self.slot_seconds) * (1 - self.gain if slots > WINDOW else 1)


class _Instant(selectors.DefaultSelector):
    """Waits for nothing: time passes at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen")
        self.now += max(0.0, timeout)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next thing that is planned."""

    def __init__(self) -> None:
        self._instant = _Instant()
        super().__init__(self._instant)

    def time(self) -> float:
        """Seconds since the start."""
        return self._instant.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(Executor):
    """A thread in which every batch takes as long as it should, and answers nothing. batches: slots of each."""

    loop: asyncio.AbstractEventLoop
    speed: Speed
    batches: list[int] = field(default_factory=list)

    def submit(self, _compute: Callable[..., Any], /, *asked: Any, **_named: Any) -> Future[Any]:
        """Answer in time."""
        windows: Sequence[WindowInput] = asked[1]
        slots = sum(blocks_of(len(window), BLOCK) for window in windows) * BLOCK
        self.batches.append(slots)
        done: Future[Any] = Future()
        self.loop.call_later(self.speed(slots), done.set_result, [None] * len(windows))
        return done

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """There is no thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Seconds that each note and each long document took, and the slots of all batches."""

    notes: Sequence[float]
    longs: Sequence[float]
    batches: Sequence[int]


def simulate(*, seconds: float, load: float, speed: Speed, seed: int = 0) -> Waits:
    """Notes and long documents for so many seconds, after long ones by themselves from which the budget is learnt."""
    loop = Loop()
    try:
        return loop.run_until_complete(_simulate(loop, seconds=seconds, load=load, speed=speed, seed=seed))
    finally:
        loop.close()


async def _simulate(loop: Loop, *, seconds: float, load: float, speed: Speed, seed: int) -> Waits:
    device, random = Device(loop=loop, speed=speed), np.random.default_rng(seed)
    station = Station(
        engine=FakeEngine({}, block=BLOCK), budget=Budget.refined(window=WINDOW, windows=1, most_windows=2), thread=device
    )
    work = Batcher([station], metrics=Metrics.create(), max_queue_tokens=1 << 30, clock=loop.time)
    await work.start()
    await asyncio.gather(*(work.submit_all([[_window(LONG_TOKENS)]], priority="bulk") for _ in range(40)))
    learning = len(device.batches)
    shares = {NOTE_TOKENS: NOTES_SHARE, LONG_TOKENS: load - NOTES_SHARE}
    told: dict[int, list[float]] = {length: [] for length in shares}

    async def one(length: int, at: float) -> None:
        await asyncio.sleep(at)
        came = loop.time()
        await work.submit_all([[_window(length)]])
        told[length].append(loop.time() - came)

    async with asyncio.TaskGroup() as group:
        for length, share in shares.items():
            rate = share / speed(blocks_of(length, BLOCK) * BLOCK)
            for at in np.cumsum(random.exponential(1 / rate, int(rate * seconds))).tolist():
                group.create_task(one(length, at))
    await work.stop()
    return Waits(notes=told[NOTE_TOKENS], longs=told[LONG_TOKENS], batches=device.batches[learning:])


def _window(length: int) -> WindowInput:
    return WindowInput(ids=np.ones(length, dtype=np.int64), rows={HIDDEN: np.zeros(1, dtype=np.int64)})


def main() -> None:
    """Simulate, print."""
    parser = argparse.ArgumentParser(description="Notes among long documents, on a clock of its own.")
    parser.add_argument("--seconds", type=float, default=800.0, help="of the simulated clock")
    parser.add_argument("--load", type=float, default=0.8, help="of the engine's time, a tenth of it for notes")
    parser.add_argument("--gain", type=float, default=0.06, help="what batches of two windows save")
    options = parser.parse_args()
    speed = Speed(gain=options.gain)
    waits = simulate(seconds=options.seconds, load=options.load, speed=speed)
    summary: dict[str, object] = {"seconds": options.seconds, "load": options.load, "gain": options.gain}
    print(f"{'':16}{'count':>8}" + "".join(f"{f'p{share} ms':>10}" for share in SHARES))
    for name, found in (("notes", waits.notes), ("long documents", waits.longs)):
        figures = [round(1000 * float(np.percentile(found, share)), 1) for share in SHARES]
        print(f"{name:16}{len(found):>8}" + "".join(f"{figure:>10.0f}" for figure in figures))
        summary[name] = dict(zip((f"p{share}_ms" for share in SHARES), figures, strict=True))
    summary["batches_of_more_than_a_window"] = sum(slots > WINDOW for slots in waits.batches) / len(waits.batches)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
