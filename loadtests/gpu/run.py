"""Everything that needs a card, in one run: exactness, speed beside Hugging Face and torch, training, memory.

    python -m loadtests.gpu.run                                  an NVIDIA card, DrLongformer's size, some ten minutes
    python -m loadtests.gpu.run --only exact,speed               some parts of it
    python -m loadtests.gpu.run --device cpu --size tiny         the same steps anywhere, in seconds; its figures say nothing

The ceiling is printed first, then a table for people, and one line of JSON last. Contenders take turns. A contender that breaks
is told of and left out; the exit code is 1 if one of ours broke, or if an answer is not the CPU's. docs/gpu.md says more.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from drlongformer.model.longformer import LongformerConfig
from drlongformer.packing import blocks_of
from drlongformer.serving.bucketed_engine import WINDOWS_OF_PART, BucketedEngine, CudaOptions
from drlongformer.serving.cards import cards
from drlongformer.serving.engine import OnnxEngine, available_cpus
from drlongformer.types import IntArray
from loadtests.engine import ids_of, mixed_lengths, operations
from loadtests.gpu import contenders, exactness, training
from loadtests.gpu.building import SIZES, Built, build
from loadtests.gpu.contenders import Contender
from loadtests.gpu.timing import Failed, attempt, failed, matrix_peak, memory_used, race

OURS = "ONNX Runtime"
FLEX = "our module, flex_attention"
COMPILED = "HF compiled"
PLAIN = CudaOptions()
PARTS = ("exact", "speed", "options", "training")
SDPA_KERNELS = {"CUTLASS": 2, "cuDNN": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the parts need. batch_blocks: the most that contenders compute at once."""

    built: Built
    device: torch.device
    rounds: int
    documents: int
    batch_blocks: int
    peak: float

    @property
    def config(self) -> LongformerConfig:
        """Of the model that is measured."""
        return self.built.model.longformer.config

    def texts(self, lengths: Sequence[int]) -> list[IntArray]:
        """Documents of random ids."""
        return [ids_of(min(int(length), self.built.size.longest), self.config.vocab_size) for length in lengths]

    def engine(self, options: CudaOptions = PLAIN, *, part_blocks: int | None = None) -> BucketedEngine:
        """The CUDA graph, warmed up; on the CPU provider where there is no card."""
        graph = self.built.bundle.graph("cuda", "fp16")
        device = "cuda:0" if self.device.type == "cuda" else "cpu"
        engine = BucketedEngine(self.built.bundle, device, graph=graph, part_blocks=part_blocks, options=options)
        engine.warm_up()
        return engine


def exact(run: Run) -> dict[str, object]:
    """Answers of the card beside the CPU's in fp32."""
    longest = run.built.size.longest
    lengths = (1, 2, longest // 32, longest // 16 + 1, longest // 4, longest // 2 + 3, longest - 1, longest)
    cpu = OnnxEngine(run.built.bundle, "cpu", available_cpus())
    found = exactness.compare(run.engine(), cpu, run.texts([max(1, length) for length in lengths]))
    print(
        f"exactness: {'holds' if found.holds else 'DOES NOT HOLD'}: cosine {found.cosine:.6f} or more, {found.changed} of "
        f"{found.labels} labels changed, {found.changed_for_sure} of them beyond a margin of {exactness.MARGIN}; "
        f"neighbours change an answer by {found.neighbours_change:.1e}\n"
    )
    return exactness.told(found)


def speed(run: Run) -> dict[str, object]:
    """One long document, many long ones, and mixed lengths, all contenders in turns."""
    engines: list[BucketedEngine] = []

    def ours() -> Contender:
        engines.append(run.engine())
        return contenders.by_engine(engines[0], run.batch_blocks)

    before, started = memory_used(run.device), time.perf_counter()
    made = {OURS: attempt(OURS, ours)}
    told: dict[str, object] = {
        "warm_up_seconds": time.perf_counter() - started,
        "warm_shapes": sum(len(engine.encoder_shapes) for engine in engines),
        "engine_memory_bytes": memory_used(run.device) - before,
    }
    made |= _others(run)
    longest = run.built.size.longest
    told["one"] = _raced(run, "one document", made, [longest])
    told["long"] = _raced(run, "long documents", made, [longest] * run.documents)
    lengths = np.minimum(mixed_lengths(8 * run.documents), longest).tolist()
    uncompiled = {name: one for name, one in made.items() if name != COMPILED}
    told["mixed"] = _raced(run, "mixed lengths", uncompiled, lengths)
    told["shapes"] = sum(len(engine.encoder_shapes) for engine in engines)
    return told


def _others(run: Run) -> dict[str, Contender | Failed]:
    """Our module in torch, and Hugging Face's; compiled for one length, since one compilation for each would take too long."""
    on_card, size = run.device.type == "cuda", run.built.size
    batch = max(1, run.batch_blocks * run.config.block // size.longest // 4)
    load = partial(contenders.hugging_face, run.built.checkpoint, run.device)
    flex = partial(contenders.by_module, run.built.model, run.device, run.batch_blocks, compiled=on_card)

    def eager() -> Contender:
        return contenders.by_hugging_face(load(), batch, pad_to=size.window, sort=True)

    def compiled() -> Contender:
        model = load()
        model.compile()
        return contenders.by_hugging_face(model, batch, pad_to=size.longest, sort=True)

    return {
        FLEX: attempt(FLEX, flex),
        "HF eager": attempt("HF eager", eager),
        COMPILED: attempt(COMPILED, compiled) if on_card else Failed(why="on a card only"),
    }


def options(run: Run) -> dict[str, object]:
    """One long document by each attention kernel, and as a captured CUDA graph."""
    if run.device.type != "cuda":
        return {"skipped": "options of a card"}
    blocks = blocks_of(run.built.size.longest, run.config.block)
    chosen = {
        "as it chooses": PLAIN,
        **{name: CudaOptions(sdpa_kernel=kernel) for name, kernel in SDPA_KERNELS.items()},
        "captured": CudaOptions(capture=True),
    }

    def made(one: CudaOptions) -> Contender:
        return contenders.by_engine(run.engine(one, part_blocks=blocks), blocks)

    raced = {name: attempt(name, partial(made, one)) for name, one in chosen.items()}
    return {"one": _raced(run, "one document, by options", raced, [run.built.size.longest])}


def trained(run: Run) -> dict[str, object]:
    """Tokens per second of training the embedded model's size."""
    return training.measure(run.device, tiny=run.built.size is SIZES["tiny"], rounds=run.rounds)


STEPS: Mapping[str, Callable[[Run], dict[str, object]]] = {
    "exact": exact,
    "speed": speed,
    "options": options,
    "training": trained,
}


def _raced(run: Run, name: str, made: Mapping[str, Contender | Failed], lengths: Sequence[int]) -> dict[str, object]:
    """Race, print and tell: seconds, tokens per second, and the share of the matrix peak that useful work reached."""
    texts = run.texts(lengths)
    tokens, needed = sum(map(len, texts)), sum(operations(run.config, len(ids)) for ids in texts)
    print(
        f"{name}: {len(texts)} documents, {tokens} tokens, {needed / 1e9:.0f} GFLOP, at least {1e3 * needed / run.peak:.2f} ms"
    )
    told: dict[str, object] = {"documents": len(texts), "tokens": tokens, "ceiling_seconds": needed / run.peak}
    for contender, taken in race(made, texts, rounds=run.rounds).items():
        if isinstance(taken, Failed):
            print(f"{contender:>28}  not measured: {taken.why}")
            told[contender] = {"failed": taken.why}
        else:
            share = needed / run.peak / taken
            print(f"{contender:>28} {1e3 * taken:>10.2f} ms {tokens / taken:>12.0f} tokens/s {share:>7.1%} of the peak")
            told[contender] = {"seconds": taken, "tokens_per_second": tokens / taken}
    print()
    return told


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", choices=tuple(SIZES), default="full")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run, of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=64, help="long documents; eight times as many of mixed lengths")
    parser.add_argument("--proved", action="store_true", help="build with every proof of an import: minutes more")
    parser.add_argument(
        "--work", type=Path, help="folder to build in, or that an earlier run built in; by default one that goes again"
    )
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.only.split(",")) - set(PARTS):
        parser.error(f"--only {', '.join(sorted(unknown))}: there is {', '.join(PARTS)}")
    if chosen.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no card; --device cpu --size tiny tries the steps without one")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for, print them, and say whether ours are sound."""
    chosen = parsed(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        report = _report(chosen, chosen.work or Path(scratch))
    print(json.dumps(report))
    return 0 if sound(report) else 1


def sound(report: Mapping[str, object]) -> bool:
    """Whether the answers were the CPU's and no contender of ours broke."""
    parts = [part for part in report.values() if isinstance(part, dict)]
    races = [race for part in parts for race in part.values() if isinstance(race, dict)]
    holds = all(part.get("holds", True) and "failed" not in part for part in parts)
    return holds and not any("failed" in race.get(name, {}) for race in races for name in (OURS, FLEX))


def _step(name: str, run: Run) -> dict[str, object]:
    """A part of the run, or why it broke; the others go on."""
    try:
        return STEPS[name](run)
    except Exception as error:  # noqa: BLE001 - told in the line of JSON, and by the exit code
        return {"failed": failed(name, error).why}


def _report(chosen: argparse.Namespace, work: Path) -> dict[str, object]:
    device, size = torch.device(chosen.device), SIZES[chosen.size]
    on_card = device.type == "cuda"
    peak = matrix_peak(device, 8192 if on_card else 256, 2.0 if on_card else 0.1)
    there = cards() if on_card else ()
    print("; ".join(card.description for card in there) or f"{platform.machine()}, {available_cpus()} CPUs")
    print(f"matrix peak {peak / 1e12:.2f} TFLOP/s in {'fp16' if on_card else 'fp32'}\n")
    started = time.perf_counter()
    built = build(size, work, proved=chosen.proved)
    seconds = time.perf_counter() - started
    blocks = blocks_of(size.longest, size.block)
    run = Run(
        built=built,
        device=device,
        rounds=chosen.rounds,
        documents=chosen.documents,
        batch_blocks=4 * WINDOWS_OF_PART * blocks,
        peak=peak,
    )
    packages = {name: _version(name) for name in ("torch", "transformers", "onnxruntime", "onnxruntime-gpu")}
    report: dict[str, object] = {"device": chosen.device, "size": chosen.size, "peak_tflops": peak / 1e12, "packages": packages}
    report |= {"cards": [card.description for card in there], "build_seconds": seconds}
    return report | {name: _step(name, run) for name in PARTS if name in chosen.only.split(",")}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
