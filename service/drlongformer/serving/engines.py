"""Which engine computes: ONNX Runtime on a CPU or at few shapes on a card, or OpenVINO; what was asked for, or a refusal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from drlongformer.bundle import Bundle
from drlongformer.errors import DeviceUnavailable
from drlongformer.serving.bucketed_engine import BucketedEngine, CudaOptions
from drlongformer.serving.engine import GraphEngine, OnnxEngine, available_cpus, parse_device, parse_devices
from drlongformer.serving.processor import require_exact_int8
from drlongformer.settings import Models as ChosenModels

EngineName = Literal["onnxruntime", "openvino"]
Products = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """What was asked for: an engine, a device, CPU threads (0: every core), and what products are computed in.

    device: or several, joined by commas; each gets an engine. threads: of each engine; 0 divides the cores among them.
    gpu_memory_gib: the most that a card's arena takes; 0 for all.
    """

    engine: EngineName = "onnxruntime"
    device: str = "cpu"
    threads: int = 0
    precision: Products = "fp32"
    gpu_memory_gib: float = 0.0

    @classmethod
    def of(cls, chosen: ChosenModels) -> Compute:
        """What the settings ask for."""
        return cls(
            engine=chosen.engine,
            device=chosen.device,
            threads=chosen.threads,
            precision=chosen.precision,
            gpu_memory_gib=chosen.gpu_memory_gib,
        )


def open_engines(bundle: Bundle, compute: Compute) -> tuple[GraphEngine, ...]:
    """An engine for each device that is named. Raises as `open_engine` does."""
    devices = parse_devices(compute.device)
    threads = compute.threads or max(1, available_cpus() // len(devices))
    return tuple(open_engine(bundle, replace(compute, device=device, threads=threads)) for device in devices)


def open_engine(bundle: Bundle, compute: Compute) -> GraphEngine:
    """The bundle's graph, loaded and ready. Raises DeviceUnavailable for what cannot be had here, and BundleError."""
    target, _ = parse_device(compute.device)
    threads = compute.threads or None
    if compute.engine == "openvino":
        if target != "cpu":
            raise DeviceUnavailable(f"OpenVINO serves the CPU, not {compute.device}; use the engine onnxruntime there")
        from drlongformer.serving.openvino_engine import OpenVinoEngine  # noqa: PLC0415 - an extra of the installation

        match compute.precision:
            case "int8" | "fp16" as other:
                raise DeviceUnavailable(f"{other} graphs are for the engine onnxruntime; openvino computes fp32 or bf16")
            case "fp32" | "bf16" as precision:
                return OpenVinoEngine(bundle, threads, precision=precision)
    if compute.precision == "bf16":
        raise DeviceUnavailable(
            "ONNX Runtime computes bundles in fp32, int8 or, on cards, fp16; bf16 needs the engine openvino"
        )
    if target == "cuda":
        graph = bundle.graph(target, compute.precision)
        limit = CudaOptions(memory_bytes=int(compute.gpu_memory_gib * 2**30))
        return BucketedEngine(bundle, compute.device, graph=graph, threads=threads or 1, options=limit)
    if compute.precision == "fp16":
        raise DeviceUnavailable("fp16 graphs are for cards: --device cuda; a CPU computes fp32, int8, or bf16 by openvino")
    if compute.precision == "int8":
        require_exact_int8()
    return OnnxEngine(bundle, compute.device, threads, precision=compute.precision)
