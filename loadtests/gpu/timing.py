"""Ceilings, turns and memory: what every figure of the run is measured with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from drlongformer.types import FloatArray, IntArray
from loadtests.gpu.contenders import Contender


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A contender that could not be measured, and why."""

    why: str


def matrix_peak(device: torch.device, size: int, seconds: float) -> float:
    """Operations per second of a large product, fp16 on a card and fp32 on a CPU; ten between two looks at the clock."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best, end, together = 0.0, time.perf_counter() + seconds, 10
    while time.perf_counter() < end:
        finished(device)
        started = time.perf_counter()
        for _ in range(together):
            left @ right
        finished(device)
        best = max(best, together * 2 * size**3 / (time.perf_counter() - started))
    return best


def finished(device: torch.device) -> None:
    """Wait for whatever the device was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory_used(device: torch.device) -> int:
    """Bytes of the card that are in use by anyone; 0 on a CPU."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return total - free


def attempt(name: str, make: Callable[[], Contender]) -> Contender | Failed:
    """A contender, or why there is none: one that breaks must not cost the figures of the others."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - told in the table and in the line of JSON
        return failed(name, error)


def race(
    contenders: Mapping[str, Contender | Failed], documents: Sequence[IntArray], *, rounds: int
) -> dict[str, float | Failed]:
    """Median seconds of each contender over rounds in which they take turns, after one turn that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    broken = {name: one for name, one in contenders.items() if isinstance(one, Failed)}
    for turn in range(1 + rounds):
        for name, contender in contenders.items():
            if isinstance(contender, Failed) or name in broken:
                continue
            taken = _timed(name, contender, documents)
            if isinstance(taken, Failed):
                broken[name] = taken
            elif turn:
                seconds[name].append(taken)
    return {name: broken.get(name) or statistics.median(seconds[name]) for name in contenders}


def _timed(name: str, contender: Contender, documents: Sequence[IntArray]) -> float | Failed:
    try:
        started = time.perf_counter()
        answers: list[FloatArray] = contender(documents)
        taken = time.perf_counter() - started
    except Exception as error:  # noqa: BLE001 - as above
        return failed(name, error)
    return taken if len(answers) == len(documents) else Failed(why=f"{len(answers)} answers to {len(documents)} documents")


def failed(name: str, error: Exception) -> Failed:
    """Tell that something broke, in a line, and give the reason."""
    why = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    print(f"{name} cannot be measured: {why}")
    return Failed(why=why)
