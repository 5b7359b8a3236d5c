"""A bundle on this machine: seconds of one document by length, and of batches that grow until the speed stops to.

Each engine that can be opened is measured in turn, within a share of the time asked for; one turn warms each shape up. Ids are
random: speed does not depend on what they say. What a batch is worth is measured as the service fills one, with documents of a
full window, and judged by the service's own rule (`serving/budget.py`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from drlongformer.bundle import Bundle
from drlongformer.errors import BundleError, DeviceUnavailable
from drlongformer.packing import blocks_of
from drlongformer.serving.budget import WITHIN
from drlongformer.serving.engine import Engine, compute
from drlongformer.serving.engines import Compute, open_engine
from drlongformer.types import WindowInput

LENGTHS = (128, 512, 1024, 2048, 4096)
WINDOWS = (1, 2, 4)
TURNS = 5

Report = Callable[[str], None]
Seconds = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """One document of so many tokens: the median of some turns."""

    tokens: int
    turns: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Of documents of this length, one after the other."""
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch of so many token slots."""

    slots: int
    seconds: float

    @property
    def slots_per_second(self) -> float:
        """How fast it was."""
        return self.slots / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One engine. refused: why it was not measured, None where it was. lengths and batches: those there was time for."""

    compute: Compute
    refused: str | None = None
    provider: str = ""
    lengths: tuple[Length, ...] = ()
    batches: tuple[Batch, ...] = ()

    @property
    def name(self) -> str:
        """Engine and precision."""
        return f"{self.compute.engine} {self.compute.precision}"

    @property
    def best_batch(self) -> Batch | None:
        """The smallest within 5 % of the best speed, which is what the service would come to."""
        if not self.batches:
            return None
        peak = max(batch.slots_per_second for batch in self.batches)
        return next(batch for batch in self.batches if batch.slots_per_second >= (1 - WITHIN) * peak)


def engines_of(bundle: Bundle, *, device: str, threads: int) -> tuple[Compute, ...]:
    """Every engine and precision that this bundle could be served with on that device."""
    if not device.startswith("cpu"):
        return (Compute(device=device, threads=threads),)
    int8 = any(graph.precision == "int8" for graph in bundle.manifest.graphs)
    return (
        Compute(threads=threads),
        *([Compute(precision="int8", threads=threads)] if int8 else []),
        Compute(engine="openvino", threads=threads),
        Compute(engine="openvino", precision="bf16", threads=threads),
    )


def measure(
    bundle: Bundle,
    asked: Sequence[Compute],
    *,
    lengths: Sequence[int],
    seconds: float,
    report: Report,
    clock: Seconds = time.perf_counter,
) -> Iterator[Measured]:
    """Each engine in turn, within about `seconds` in all. report: is told what is being measured.

    lengths: in tokens, none above the bundle's `max_tokens`. What no time is left for is left out, but for the first one.
    """
    for place, one in enumerate(asked):
        began = clock()
        share = seconds / (len(asked) - place)
        report(f"{one.engine} {one.precision}: loading")
        try:
            engine = open_engine(bundle, one)
        except (DeviceUnavailable, BundleError) as error:
            yield Measured(compute=one, refused=str(error))
            continue
        end = clock() + max(0.0, share - (clock() - began))
        yield Measured(
            compute=one,
            provider=engine.provider,
            lengths=tuple(_lengths(engine, bundle, lengths, end=end, report=report, clock=clock)),
            batches=tuple(_batches(engine, bundle, end=end, report=report, clock=clock)),
        )
        seconds -= clock() - began


def _lengths(
    engine: Engine, bundle: Bundle, lengths: Sequence[int], *, end: float, report: Report, clock: Seconds
) -> Iterator[Length]:
    """Short ones first; half of the time is left for batches."""
    half = clock() + (end - clock()) / 2
    pace = 0.0
    for place, tokens in enumerate(lengths):
        if place and clock() + 2 * tokens * pace > half:
            return
        report(f"{engine.provider} {engine.precision}: one document of {tokens} tokens")
        windows = [_window(bundle, tokens)]
        _run(engine, windows, clock)
        turns = [_run(engine, windows, clock)]
        while len(turns) < TURNS and clock() < half:
            turns.append(_run(engine, windows, clock))
        pace = min(turns) / tokens
        yield Length(tokens=tokens, turns=len(turns), seconds=statistics.median(turns))


def _batches(engine: Engine, bundle: Bundle, *, end: float, report: Report, clock: Seconds) -> Iterator[Batch]:
    """One, two and four full windows, as long as the time allows for the next."""
    window = blocks_of(bundle.manifest.max_tokens, engine.block) * engine.block
    last = 0.0
    for count in WINDOWS:
        if clock() + 2 * last > end:
            return
        report(f"{engine.provider} {engine.precision}: batches of {count * window} slots")
        windows = [_window(bundle, bundle.manifest.max_tokens)] * count
        warm = _run(engine, windows, clock)
        turns = [_run(engine, windows, clock)]
        while len(turns) < TURNS and clock() + warm < end:
            turns.append(_run(engine, windows, clock))
        last = 2 * warm
        yield Batch(slots=count * window, seconds=statistics.median(turns))


def _window(bundle: Bundle, tokens: int) -> WindowInput:
    """An embedding of random ids, as the bundle's own head asks for it."""
    manifest = bundle.manifest
    ids = np.random.default_rng(tokens).integers(5, manifest.vocab_size - 1, tokens)
    first = any(head.task == "embed" and head.global_attention == "first" for head in manifest.heads)
    return WindowInput(ids=ids, global_slots=(0,) if first else (), rows={}, segments=np.zeros(tokens, dtype=np.int64))


def _run(engine: Engine, windows: Sequence[WindowInput], clock: Seconds) -> float:
    start = clock()
    compute(engine, windows, [_nothing] * len(windows))
    return clock() - start


def _nothing(_: object) -> None:
    """Answers are not kept."""
