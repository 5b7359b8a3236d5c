"""The engine for CUDA: a bundle's graph in ONNX Runtime at few shapes, every one of them met before the first request.

A batch is padded to a bucket (`buckets.py`), written into host buffers (`buffers.py`), and computed in a thread of the device's
own, because plans of fused attention belong to a thread. There are two sets of buffers: the next batch is written while one
runs (`staging.py`). The same engine runs on the CPU provider, where its answers and shapes are tested.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnxruntime as ort

from drlongformer.bundle import Bundle, GraphSpec
from drlongformer.errors import Cancelled, EngineFailed
from drlongformer.packing import SEGMENT_SUMS, EngineOutput, PackedBatch
from drlongformer.serving.buckets import Shape, cut, empty, fill, ladder, plain_shapes, shape_of
from drlongformer.serving.buffers import Held, Pool
from drlongformer.serving.engine import PROVIDERS, GraphEngine, Stop, open_session, parse_device
from drlongformer.serving.staging import AHEAD
from drlongformer.types import FloatArray

logger = logging.getLogger(__name__)

WINDOWS_OF_PART = 16
"""Full windows computed at once: 65,536 tokens of a model that reads 4096, more than a card needs to be busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaOptions:
    """What is chosen of a card.

    memory_bytes: the most the arena takes of its memory; 0 for all. capture: whether single windows run as captured graphs.
    sdpa_kernel: ONNX Runtime's attention kernels as its bits (2 CUTLASS, 8 cuDNN); 0 lets it choose.
    """

    memory_bytes: int = 0
    capture: bool = False
    sdpa_kernel: int = 0

    @property
    def provider(self) -> Mapping[str, str]:
        """Options of ONNX Runtime's provider.

        TF32 would round fp32 products to 10 bits. Layer norms that are fused with a sum add up in fp32 in strict mode alone.
        With few shapes the arena need not grow by doubling.
        """
        chosen = {
            "use_tf32": "0",
            "enable_skip_layer_norm_strict_mode": "1",
            "arena_extend_strategy": "kSameAsRequested",
            "enable_cuda_graph": str(int(self.capture)),
        }
        if self.memory_bytes:
            chosen["gpu_mem_limit"] = str(self.memory_bytes)
        if self.sdpa_kernel:
            chosen["sdpa_kernel"] = str(self.sdpa_kernel)
        return chosen


class BucketedEngine(GraphEngine):
    """A bundle's graph at few shapes. Raises DeviceUnavailable and BundleError.

    graph: by default the one made for the device. part_blocks: the largest bucket, unless a window is larger.
    encoder_shapes: how often each shape of the encoder was computed (`Shape.encoder`).
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "cuda",
        *,
        graph: GraphSpec | None = None,
        threads: int = 1,
        part_blocks: int | None = None,
        options: CudaOptions = CudaOptions(),
    ) -> None:
        target, index = parse_device(device)
        graph = graph or bundle.graph(target)
        on_card = target == "cuda"
        self._session = open_session(bundle, graph, device, threads, options.provider)
        outputs = {output.name: output.shape[-1] for output in self._session.get_outputs()}
        self._size = outputs.pop(SEGMENT_SUMS)
        super().__init__(bundle, device=device, provider=PROVIDERS[target], precision=graph.precision, widths=outputs)
        self.part_blocks = max(part_blocks or WINDOWS_OF_PART * self._max_blocks, self._max_blocks)
        self.buckets = ladder(self.part_blocks)
        self.encoder_shapes: Counter[tuple[int, int, int]] = Counter()
        self._capture = options.capture and on_card
        self._pool = Pool(index if on_card else None)
        self._graph_ids: dict[tuple[Shape, int], int] = {}
        self._turn = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"device-{device}")

    def begin(self, batch: PackedBatch, stop: Stop | None = None) -> Future[EngineOutput]:
        """Take a batch in; see `Staged`. Its answer raises as `run` does."""
        self._check_ids(batch)
        if (blocks := len(batch.document_of_block)) > self.buckets[-1]:
            raise EngineFailed(f"a batch of {blocks} blocks, the largest bucket has {self.buckets[-1]}")
        shape = shape_of(batch, self.buckets)
        inputs = self._inputs(shape)
        fill({name: held.array for name, held in inputs.items()}, batch)
        return self._thread.submit(self._answer, batch, partial(self._execute, shape, inputs, self._turn, stop), stop)

    def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
        """Compute a batch. Raises EngineFailed, and Cancelled when `stop` ended it."""
        return self.begin(batch, stop).result()

    def warm_up(self) -> float:
        """Meet every bucket, with each set of buffers; returns the seconds per slot of one full window."""
        seconds = 0.0
        for shape in plain_shapes(self.buckets, self.heads, longest=self._max_blocks):
            for _ in range(AHEAD):
                inputs = self._inputs(shape)
                empty({name: held.array for name, held in inputs.items()})
                started = time.perf_counter()
                self._thread.submit(self._execute, shape, inputs, self._turn, None).result()
                if shape.blocks == shape.query_blocks == self._max_blocks:
                    seconds = time.perf_counter() - started
        logger.info("%s: %d shapes are warm, of %d buckets", self.device, len(self.encoder_shapes), len(self.buckets))
        return seconds / (self._max_blocks * self.block)

    def _answer(self, batch: PackedBatch, execute: partial[dict[str, FloatArray]], stop: Stop | None) -> EngineOutput:
        """In the device's thread."""
        if stop is not None and stop.is_set():
            raise Cancelled("the batch was stopped before it began: nobody waits for it")
        with self._failures_of(batch, stop):
            rows = execute()
        return cut(batch, rows, rows.pop(SEGMENT_SUMS))

    def _inputs(self, shape: Shape) -> dict[str, Held]:
        """The input buffers of a shape, of the set whose turn it is: the batch that used it last was waited for."""
        self._turn = (self._turn + 1) % AHEAD
        return {name: self._pool.get(self._turn, name, size, np.int64) for name, size in shape.inputs(self.block).items()}

    def _execute(self, shape: Shape, inputs: Mapping[str, Held], turn: int, stop: Stop | None) -> dict[str, FloatArray]:
        """Every output of a padded batch, `[R, L]` and `[M, K, C]`, in buffers that the batch after the next writes over."""
        if shape.encoder not in self.encoder_shapes:
            logger.info("%s meets %d blocks, %d of them read, %d global columns", self.device, *shape.encoder)
        self.encoder_shapes[shape.encoder] += 1
        captured = self._capture and shape.blocks <= self._max_blocks
        outputs = {
            name: self._pool.get(turn, name, size, np.float32) for name, size in shape.outputs(self.widths, self._size).items()
        }
        binding = self._session.io_binding()
        for name, held in inputs.items():
            held.to_device()
            binding.bind_ortvalue_input(name, held.value)
        for name, held in outputs.items():
            if captured:
                binding.bind_ortvalue_output(name, held.value)
            else:
                binding.bind_output(name, "cpu", 0, np.float32, held.array.shape, held.array.ctypes.data)
        options = ort.RunOptions()
        if self._capture:
            options.add_run_config_entry("gpu_graph_id", str(self._graph_id(shape, turn)) if captured else "-1")
        if stop is not None:
            stop.then(lambda: setattr(options, "terminate", True))
        self._session.run_with_iobinding(binding, options)
        return {name: held.value.numpy() if captured else held.array for name, held in outputs.items()}

    def _graph_id(self, shape: Shape, turn: int) -> int:
        """Of the captured graph of that shape and set of buffers: a graph holds addresses. 0 is ONNX Runtime's own."""
        return self._graph_ids.setdefault((shape, turn), len(self._graph_ids) + 1)
