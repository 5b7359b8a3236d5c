"""What was measured, in a table for people and as JSON: seconds a document, tokens a second, the share of the ceiling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from drlongformer.bench.ceiling import operations
from drlongformer.bench.measure import Length, Measured
from drlongformer.bundle import Bundle
from drlongformer.serving.engine import available_cpus

BUSY = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the figures hold for. peak: fp32 operations a second. busy: share of the CPUs that others used just before."""

    bundle: Bundle
    device: str
    peak: float
    busy: float
    load_average: float

    def ceiling_seconds(self, tokens: int) -> float:
        """The least that a document can take in fp32."""
        manifest = self.bundle.manifest
        return operations(manifest.architecture, block=manifest.block, tokens=tokens) / self.peak

    @property
    def on_cpu(self) -> bool:
        """Whether the matrix peak, which is the CPU's, says anything."""
        return self.device.startswith("cpu")

    def share(self, length: Length) -> float:
        """Of the fp32 ceiling; bfloat16 and int8 can be above 1."""
        return self.ceiling_seconds(length.tokens) / length.seconds


def heading(now: Circumstances) -> Iterator[str]:
    """Before anything is measured: whose figures these are, and whether they can be believed."""
    manifest = now.bundle.manifest
    yield f"{manifest.name}:{manifest.version} on {now.device}, {available_cpus()} CPUs for this process; random ids"
    if now.on_cpu:
        longest = manifest.max_tokens
        yield (
            f"fp32 matrix peak {now.peak / 1e9:,.0f} GFLOP/s, so a document of {longest} tokens takes at least "
            f"{1000 * now.ceiling_seconds(longest):,.0f} ms in fp32"
        )
    busy = f"others used {now.busy:.0%} of the CPUs just before, load average {now.load_average:.1f}"
    yield f"{busy}: this machine is busy, an idle one is faster" if now.busy > BUSY else busy


COLUMNS = ("engine", "tokens", "ms per document", "tokens/s", "of the fp32 ceiling", "turns")


def rows(now: Circumstances, measured: Measured) -> Iterator[tuple[str, ...]]:
    """One a length."""
    for one in measured.lengths:
        share = f"{now.share(one):.0%}" if now.on_cpu else "–"
        speed = f"{one.tokens_per_second:,.0f}"
        yield measured.name, f"{one.tokens:,}", f"{1000 * one.seconds:,.1f}", speed, share, str(one.turns)


def remarks(asked: Sequence[int], measured: Measured) -> Iterator[str]:
    """The batch that pays, what there was no time for, and why an engine was not measured."""
    if measured.refused is not None:
        yield f"{measured.name} was not measured: {measured.refused}"
        return
    if (best := measured.best_batch) is not None:
        tried = ", ".join(f"{batch.slots:,}: {batch.slots_per_second:,.0f}" for batch in measured.batches)
        yield f"{measured.name}: batches of {best.slots:,} token slots are enough (slots/s by size: {tried})"
    else:
        yield f"{measured.name}: no time was left to try batches; give more --seconds"
    if missing := [length for length in asked if length not in {one.tokens for one in measured.lengths}]:
        told = ", ".join(f"{length:,}" for length in missing)
        yield f"{measured.name}: no time was left for {told} tokens; give more --seconds"


def as_json(now: Circumstances, measured: Sequence[Measured]) -> dict[str, Any]:
    """Everything; `share_of_ceiling` is null where the device is no CPU."""
    manifest = now.bundle.manifest
    return {
        "model": f"{manifest.name}:{manifest.version}",
        "device": now.device,
        "cpus": available_cpus(),
        "ids": "random",
        "busy_share": round(now.busy, 3),
        "load_average": round(now.load_average, 2),
        "peak_gflops": round(now.peak / 1e9, 1),
        "engines": [_engine(now, one) for one in measured],
    }


def _engine(now: Circumstances, one: Measured) -> dict[str, Any]:
    if one.refused is not None:
        return {"engine": one.compute.engine, "precision": one.compute.precision, "refused": one.refused}
    best = one.best_batch
    return {
        "engine": one.compute.engine,
        "precision": one.compute.precision,
        "provider": one.provider,
        "lengths": [
            {
                "tokens": length.tokens,
                "milliseconds": round(1000 * length.seconds, 3),
                "tokens_per_second": round(length.tokens_per_second, 1),
                "share_of_ceiling": round(now.share(length), 4) if now.on_cpu else None,
                "turns": length.turns,
            }
            for length in one.lengths
        ],
        "batches": [{"slots": batch.slots, "slots_per_second": round(batch.slots_per_second, 1)} for batch in one.batches],
        "batch_tokens": None if best is None else best.slots,
    }
