"""The engine: one packed batch in, every head's numbers out. Only this module knows ONNX Runtime.

`Engine.run` blocks and is called from one thread; another thread may end it early through the batch's `Stop`. `OnnxEngine` runs
a bundle's graph on the device that was asked for, or refuses to be built. `FakeEngine` is the same seam without a model: its
answers depend on each window's own ids alone, and it can be told to be slow, to fail or to hang.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import onnxruntime as ort

from drlongformer.bundle import Bundle, GraphSpec, Precision, Target
from drlongformer.errors import BundleError, Cancelled, DeviceUnavailable, EngineFailed
from drlongformer.packing import SEGMENT_SUMS, EngineOutput, PackedBatch, blocks_of, pack, unpack
from drlongformer.serving import cgroups, denormals
from drlongformer.serving.cards import cards, require_supported
from drlongformer.serving.failures import failure_of
from drlongformer.serving.staging import Staged, answers_in_parts
from drlongformer.types import HIDDEN, FloatArray, IntArray, WindowInput, WindowOutput

logger = logging.getLogger(__name__)

PROVIDERS: Mapping[Target, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Stop(threading.Event):
    """An event that also calls back when it is set, so that nobody polls it."""

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def set(self) -> None:
        """Set the event, then call everyone who asked."""
        with self._guard:
            super().set()
        for callback in self._callbacks:
            callback()

    def then(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the event is set, at once if it is."""
        with self._guard:
            if not self.is_set():
                self._callbacks.append(callback)
                return
        callback()


ComputePrecision = Precision | Literal["bf16"]
"""What products are computed in: a graph's own precision, or fp32 graphs on bfloat16 units."""


class Engine(Protocol):
    """What computes a batch. widths: numbers per row of every head of the graph, in its order."""

    widths: Mapping[str, int]
    block: int
    device: str
    provider: str
    precision: ComputePrecision

    @property
    def heads(self) -> tuple[str, ...]:
        """Every head of the graph."""
        ...

    def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
        """Compute a batch. Raises EngineFailed in one of its kinds, and Cancelled when `stop` ended it."""
        ...


Digest = Callable[[WindowOutput], object]
"""What is kept of a window's answer until its whole document is computed; it must hold no part of the answer's own memory."""


def compute(
    engine: Engine, windows: Sequence[WindowInput], digests: Sequence[Digest | None], stop: Stop | None = None
) -> list[object]:
    """Pack, run, unpack, digest (None: keep all); a window whose answer is not finite gets an EngineFailed of its own.

    Raises EngineFailed, whatever breaks, and Cancelled.
    """
    try:
        if isinstance(engine, Staged):
            outputs = answers_in_parts(engine, windows, stop)
        else:
            batch = pack(windows, block=engine.block, heads=engine.heads)
            outputs = unpack(batch, engine.run(batch, stop))
        return [_digested(output, digest) for output, digest in zip(outputs, digests, strict=True)]
    except (EngineFailed, Cancelled):
        raise
    except Exception as error:
        raise failure_of(error)(f"{type(error).__name__} on a batch of {len(windows)} windows") from error


def _digested(output: WindowOutput, digest: Digest | None) -> object:
    if not _is_finite(output):
        return EngineFailed("the engine gave values that are not finite")
    return output if digest is None else digest(output)


def _is_finite(output: WindowOutput) -> bool:
    arrays = [*output.rows.values()] if output.segments is None else [*output.rows.values(), output.segments]
    return all(bool(np.isfinite(array).all()) for array in arrays)


class GraphEngine:
    """What engines of a bundle's graph share; they give `_compute`. Raises BundleError for a graph unlike its manifest."""

    def __init__(
        self, bundle: Bundle, *, device: str, provider: str, precision: ComputePrecision, widths: Mapping[str, int]
    ) -> None:
        manifest = bundle.manifest
        if set(widths) != set(manifest.outputs):
            raise BundleError(f"the graph gives {dict(widths)}, the manifest names the heads {list(manifest.outputs)}")
        self.device = device
        self.provider = provider
        self.precision = precision
        self.widths = widths
        self.block = manifest.block
        self._vocab_size = manifest.vocab_size
        self._max_blocks = blocks_of(manifest.max_tokens, self.block)

    @property
    def heads(self) -> tuple[str, ...]:
        """Every head of the graph."""
        return tuple(self.widths)

    def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
        """Compute a batch. Raises EngineFailed, and Cancelled when `stop` ended it."""
        self._check_ids(batch)
        if stop is not None and stop.is_set():
            raise Cancelled("the batch was stopped before it began: nobody waits for it")
        with self._failures_of(batch, stop):
            *rows, sums = self._compute(batch.feeds(), stop)
        return EngineOutput(rows=dict(zip(self.heads, rows, strict=True)), segment_sums=sums)

    def warm_up(self) -> float:
        """Run a few shapes, one block to one full window; returns the seconds per slot of the last one."""
        seconds = 0.0
        for blocks in sorted({1, self._max_blocks // 4 or 1, self._max_blocks}):
            ids = np.zeros(blocks * self.block, dtype=np.int64)
            window = WindowInput(ids=ids, global_slots=(0,), rows={HIDDEN: np.zeros(1, dtype=np.int64)})
            batch = pack([window], block=self.block, heads=self.heads)
            started = time.perf_counter()
            self.run(batch)
            seconds = time.perf_counter() - started
        return seconds / (self._max_blocks * self.block)

    @contextmanager
    def _failures_of(self, batch: PackedBatch, stop: Stop | None) -> Iterator[None]:
        """Turn whatever the library raises into EngineFailed in one of its kinds, or Cancelled where `stop` was set."""
        try:
            yield
        except Exception as error:
            if stop is not None and stop.is_set():
                raise Cancelled("the batch was stopped: nobody waits for it") from error
            told = str(error)  # our logs write no exception's message; this one names nodes and shapes, no text
            logger.exception("%s failed on %d windows in %d slots: %s", self.provider, len(batch.shares), batch.slots, told)
            failure = failure_of(error)
            raise failure(f"the engine failed on a batch of {len(batch.shares)} windows, {batch.slots} slots") from error

    def _compute(self, feeds: Mapping[str, IntArray], stop: Stop | None) -> list[FloatArray]:
        """The outputs of every head, in their order, then `segment_sums`; raises anything."""
        raise NotImplementedError

    def _check_ids(self, batch: PackedBatch) -> None:
        """Refuse ids outside the vocabulary: on CUDA a lookup out of range reads anything, in silence."""
        lowest, highest = int(batch.input_ids.min()), int(batch.input_ids.max())
        if lowest < 0 or highest >= self._vocab_size:
            raise EngineFailed(f"token ids {lowest}..{highest}, the vocabulary has {self._vocab_size}")


class OnnxEngine(GraphEngine):
    """A bundle's graph in ONNX Runtime; `device` is `cpu`, `cuda` or `cuda:1`. Raises DeviceUnavailable and BundleError."""

    def __init__(
        self, bundle: Bundle, device: str = "cpu", threads: int | None = None, *, precision: Precision | None = None
    ) -> None:
        target, index = parse_device(device)
        graph = bundle.graph(target, precision)
        self._arena = f"{'gpu' if target == 'cuda' else 'cpu'}:{index}"
        self._session = open_session(bundle, graph, device, threads or available_cpus(), {"use_tf32": "0"})  # as the CPU's fp32
        widths = {output.name: output.shape[-1] for output in self._session.get_outputs() if output.name != SEGMENT_SUMS}
        super().__init__(bundle, device=device, provider=PROVIDERS[target], precision=graph.precision, widths=widths)

    def _compute(self, feeds: Mapping[str, IntArray], stop: Stop | None) -> list[FloatArray]:
        options = ort.RunOptions()
        # Batches of many sizes would otherwise leave the arena as large as their union.
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", self._arena)
        if stop is not None:
            stop.then(lambda: setattr(options, "terminate", True))
        with denormals.as_zeros():
            outputs: list[FloatArray] = self._session.run([*self.heads, SEGMENT_SUMS], feeds, options)
        return outputs


def parse_device(device: str) -> tuple[Target, int]:
    """`cuda:1` is ("cuda", 1). Raises DeviceUnavailable for what is not a device."""
    name, colon, index = device.partition(":")
    if name == "cpu" and not colon:
        return "cpu", 0
    if name == "cuda" and (not colon or index.isdecimal()):
        return "cuda", int(index or 0)
    raise DeviceUnavailable(f"{device!r} is no device; known are cpu, cuda and cuda:N")


def parse_devices(devices: str) -> tuple[str, ...]:
    """`cuda:0,1` and `cuda:0,cuda:1` are ("cuda:0", "cuda:1"), `cpu,cpu` is two engines on one CPU.

    Raises DeviceUnavailable for what is not a device, a card named twice, and CPU and CUDA together, whose answers differ.
    """
    named = devices.split(",")
    named = [f"cuda:{each}" if place and each.isdecimal() else each for place, each in enumerate(named)]
    parsed = [parse_device(each) for each in named]
    if len({target for target, _ in parsed}) > 1:
        raise DeviceUnavailable(f"{devices!r} mixes CPU and CUDA, whose answers differ in the last digits; name one kind")
    if parsed[0][0] == "cuda" and len(set(parsed)) < len(parsed):
        raise DeviceUnavailable(f"{devices!r} names a card twice")
    return tuple(named)


def available_cpus(root: Path = Path("/")) -> int:
    """CPUs this process may use, whole ones of its control group's time; the machine may have more. root: see `cgroups`."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cgroups.cpu_limit(root)
    return there if limit is None else max(1, min(there, int(limit)))


def open_session(
    bundle: Bundle, graph: GraphSpec, device: str, threads: int, cuda_options: Mapping[str, str]
) -> ort.InferenceSession:
    """A session on the device that is named, and on no other. Raises DeviceUnavailable and BundleError."""
    target, index = parse_device(device)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # a pattern is kept per shape, and shapes never repeat
    options.log_severity_level = 3
    if denormals.can_be_set():
        options.add_session_config_entry(denormals.SESSION_ENTRY, "1")
    providers: list[str | tuple[str, dict[str, str]]] = [PROVIDERS["cpu"]]
    if target == "cuda":
        _prepare_cuda(index)
        providers.insert(0, (PROVIDERS["cuda"], {"device_id": str(index), **cuda_options}))
    try:
        with denormals.as_zeros():  # the first session of a process sets it for the thread that opens it, and leaves it so
            session = ort.InferenceSession(bundle.folder / graph.file, options, providers=providers)
    except Exception as error:
        if target == "cuda":
            raise DeviceUnavailable(f"cuda:{index} was asked for and cannot be used: {error}") from error
        raise BundleError(f"{bundle.folder / graph.file} does not load: {error}") from error
    if (got := session.get_providers()[0]) != PROVIDERS[target]:
        raise DeviceUnavailable(f"asked for {PROVIDERS[target]} on {target}:{index}, got {got}")
    return session


def _prepare_cuda(index: int) -> None:
    """Load CUDA's and cuDNN's libraries from their Python packages.

    Raises DeviceUnavailable without a CUDA build, and for a card that it has no kernels for.
    """
    there = ort.get_available_providers()
    if PROVIDERS["cuda"] not in there:
        raise DeviceUnavailable(f"this onnxruntime has no CUDA, only {', '.join(there)}; install the `gpu` extra")
    require_supported(cards(), index)
    ort.preload_dlls()


class FakeEngine:
    """An engine without a model: a window's answers are a fixed function of its own ids, whatever is packed beside it.

    delay_seconds: how long each batch takes. fail_on: a token id that breaks every batch it is in. hang: never finish, until
    stopped. failures: how the coming batches end, in order; None, and all after the last, are computed. batches: what was run.
    """

    device = "cpu"
    provider = "FakeExecutionProvider"
    precision: ComputePrecision = "fp32"

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        block: int = 128,
        delay_seconds: float = 0.0,
        fail_on: int | None = None,
        hang: bool = False,
        failures: Iterable[EngineFailed | None] = (),
    ) -> None:
        self.widths: Mapping[str, int] = {HIDDEN: 8} | dict(widths)
        self.block = block
        self.delay_seconds = delay_seconds
        self.fail_on = fail_on
        self.hang = hang
        self._failures = iter(failures)
        self.batches: list[PackedBatch] = []

    @property
    def heads(self) -> tuple[str, ...]:
        """`hidden` and the heads it was given."""
        return tuple(self.widths)

    def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
        """Answer at once, or as told. Raises EngineFailed, and Cancelled when `stop` ended it."""
        self.batches.append(batch)
        stop = stop or Stop()
        if stop.wait(None if self.hang else self.delay_seconds):
            raise Cancelled("the batch was stopped: nobody waits for it")
        if (failure := next(self._failures, None)) is not None:
            raise failure
        if self.fail_on is not None and (batch.input_ids == self.fail_on).any():
            raise EngineFailed(f"told to fail on id {self.fail_on}")
        outputs = {head: _signal(batch, width, salt) for salt, (head, width) in enumerate(self.widths.items())}
        member = batch.segment_of_slot[:, None, :] == batch.segment_index[:, None]  # [M, K, B]
        hidden = outputs[HIDDEN].reshape(len(batch.query_blocks), self.block, -1)
        return EngineOutput(
            rows={head: outputs[head][rows] for head, rows in batch.rows.items()},
            segment_sums=member.astype(np.float32) @ hidden,
        )


def _signal(batch: PackedBatch, width: int, salt: int) -> FloatArray:
    """Numbers in -1..1 for every slot of the query blocks, `[M * B, L]`, from a slot's own id, place and window."""
    block = batch.input_ids.shape[1]
    ids = batch.input_ids[batch.query_blocks]  # [M, B]
    document = batch.document_of_block[batch.query_blocks]  # [M]
    sums = np.bincount(batch.document_of_block, batch.input_ids.sum(axis=1))[document]  # [M]
    place = (batch.query_blocks - batch.first_block[document])[:, None] * block + np.arange(block)
    seed = ids * 0.7 + place * 0.01 + (sums % 1009)[:, None] * 0.1 + salt  # [M, B]
    signal: FloatArray = np.sin(seed.reshape(-1, 1) * np.arange(1, width + 1)).astype(np.float32)
    return signal
