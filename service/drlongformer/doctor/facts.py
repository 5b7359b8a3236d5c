"""The facts that advices follow from: what the machine can do and is doing, what was chosen, what is installed and served.

Read from /proc and /sys, the settings and the manifests; what a system does not tell is None or empty, and no advice follows.
Other work is measured over half a second in which this process does nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drlongformer import settings as environment
from drlongformer.bundle import Bundle
from drlongformer.doctor.installed import installed
from drlongformer.serving import cgroups
from drlongformer.serving.cgroups import Throttling
from drlongformer.serving.engine import available_cpus
from drlongformer.settings import Settings

LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What computes.

    flags: of the processor, as /proc/cpuinfo names them. cpus: that this process may run on. cpu_limit: CPUs' worth of time.
    governor: of the frequency. gpus: NVIDIA cards that the kernel shows.
    """

    flags: frozenset[str] = frozenset()
    cpus: int = 1
    cpu_limit: float | None = None
    throttling: Throttling | None = None
    governor: str | None = None
    gpus: int = 0

    @property
    def usable_cpus(self) -> float:
        """CPUs' worth of time: those it may run on, or its limit if that is less."""
        return self.cpus if self.cpu_limit is None else min(self.cpus, self.cpu_limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What goes on besides: shares of all CPUs' time, 0 to 1. stolen: by the hypervisor. swapped: pages in and out a second."""

    busy: float = 0.0
    stolen: float = 0.0
    load_average: float = 0.0
    swap_used_bytes: int = 0
    swapped_pages_per_second: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What the settings say. libraries: variables in force that belong to libraries."""

    engine: str = "onnxruntime"
    precision: str = "fp32"
    device: str = "cpu"
    threads: int = 0
    libraries: frozenset[tuple[str, str]] = frozenset()

    @property
    def engines(self) -> int:
        """How many there are for each model."""
        return len(self.device.split(","))

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU computes."""
        return self.device.startswith("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A bundle that would be served. width: columns of its hidden state, 0 where not told. precisions: of its graphs."""

    name: str
    width: int
    precisions: frozenset[str] = frozenset({"fp32"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that advices look at. packages: distributions that are installed."""

    machine: Machine = Machine()
    activity: Activity = Activity()
    chosen: Chosen = Chosen()
    packages: frozenset[str] = frozenset()
    models: tuple[Model, ...] = ()


def facts(settings: Settings, bundles: Sequence[Bundle], *, root: Path = Path("/"), seconds: float = LOOK_SECONDS) -> Facts:
    """The facts of now. root: where proc and sys lie. seconds: how long others are watched."""
    chosen = settings.models
    return Facts(
        machine=machine(root),
        activity=activity(root, seconds),
        chosen=Chosen(
            engine=chosen.engine,
            precision=chosen.precision,
            device=chosen.device,
            threads=chosen.threads,
            libraries=frozenset(environment.of_libraries().items()),
        ),
        packages=frozenset(name for name in ("openvino", "onnxruntime", "onnxruntime-gpu") if installed(name)),
        models=tuple(_model(each) for each in bundles),
    )


def machine(root: Path) -> Machine:
    """What the kernel tells of the machine."""
    told = _text(root / "proc/cpuinfo")
    flags = next((line.partition(":")[2] for line in told.splitlines() if line.startswith("flags")), "")
    cards = root / "proc/driver/nvidia/gpus"
    return Machine(
        flags=frozenset(flags.split()),
        cpus=available_cpus(),
        cpu_limit=cgroups.cpu_limit(root),
        throttling=cgroups.throttling(root),
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        gpus=len(list(cards.iterdir())) if cards.is_dir() else 0,
    )


def activity(root: Path, seconds: float) -> Activity:
    """What others do while this process waits."""
    before, swapped = _cpu_times(root), _swapped(root)
    time.sleep(seconds)
    spent = [now - then for now, then in zip(_cpu_times(root), before, strict=True)]
    total = max(sum(spent), 1)
    idle, stolen = sum(spent[3:5]), spent[7] if len(spent) > 7 else 0
    memory = _numbers(_text(root / "proc/meminfo").replace(":", ""))
    return Activity(
        busy=1 - (idle + stolen) / total if sum(spent) else 0.0,
        stolen=stolen / total,
        load_average=os.getloadavg()[0],
        swap_used_bytes=1024 * (memory.get("SwapTotal", 0) - memory.get("SwapFree", 0)),
        swapped_pages_per_second=(_swapped(root) - swapped) / seconds,
    )


def _model(bundle: Bundle) -> Model:
    width = bundle.manifest.architecture.get("hidden_size")
    return Model(
        name=bundle.manifest.name,
        width=width if isinstance(width, int) else 0,
        precisions=frozenset(graph.precision for graph in bundle.manifest.graphs),
    )


def _cpu_times(root: Path) -> list[int]:
    """Ticks of all CPUs since boot: user (with guests), nice, system, idle, iowait, irq, softirq, steal (`man proc_stat`)."""
    line = next((line for line in _text(root / "proc/stat").splitlines() if line.startswith("cpu ")), "")
    return [int(ticks) for ticks in line.split()[1:9]]


def _swapped(root: Path) -> int:
    """Pages swapped in and out since boot."""
    counted = _numbers(_text(root / "proc/vmstat"))
    return counted.get("pswpin", 0) + counted.get("pswpout", 0)


def _numbers(text: str) -> dict[str, int]:
    """`name 123 unit` of each line."""
    lines = (line.split() for line in text.splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}


def _text(path: Path) -> str:
    """A file's text, empty where it cannot be read: not every kernel has every file."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
