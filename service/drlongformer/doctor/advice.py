"""Facts to advices: what would make the service faster, why, and the setting to change. Pure; one rule a function.

A rule gives an advice only where the facts show its reason. Gains are those that were measured, with the page of
`docs/benchmarks/` that has them; where none was measured, the advice says so. A new rule is a function in `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from drlongformer.doctor.facts import Facts

VNNI: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
NARROW: Final = 256
"""Columns of a model up to which int8 gains nothing."""
THROTTLED: Final = 0.05
BUSY: Final = 0.25
STOLEN: Final = 0.02
SWAPPED_PAGES: Final = 10.0

ENGINE_PAGE: Final = "docs/benchmarks/2026-11-22-engine-cpu.md"
INT8_PAGE: Final = "docs/benchmarks/2026-11-22-int8-cpu.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """what: was found. reason: why it matters, with the measured gain. change: the setting to change."""

    what: str
    reason: str
    change: str


Rule = Callable[[Facts], Advice | None]


def advices(facts: Facts) -> Iterator[Advice]:
    """Every advice that the facts give, those that matter most first."""
    for rule in RULES:
        if (advice := rule(facts)) is not None:
            yield advice


def idle_gpu(facts: Facts) -> Advice | None:
    """A card that is not used."""
    if not facts.machine.gpus or not facts.chosen.on_cpu:
        return None
    cards = "an NVIDIA card" if facts.machine.gpus == 1 else f"{facts.machine.gpus} NVIDIA cards"
    install = (
        ""
        if "onnxruntime-gpu" in facts.packages
        else "install the extra `gpu` in place of `cpu` (the same import package: uninstall onnxruntime first), then "
    )
    return Advice(
        what=f"{cards} and the device {facts.chosen.device}",
        reason="a card computes long documents many times faster than a CPU (docs/benchmarks/)",
        change=f"{install}--device cuda",
    )


def missing_provider(facts: Facts) -> Advice | None:
    """CUDA is asked for, and what is installed has none."""
    if facts.chosen.on_cpu or "onnxruntime-gpu" in facts.packages:
        return None
    return Advice(
        what=f"the device {facts.chosen.device}, without onnxruntime-gpu",
        reason="the service does not start: it never falls back to the CPU in silence",
        change="install the extra `gpu` in place of `cpu` (the same import package: uninstall onnxruntime first)",
    )


def bfloat16(facts: Facts) -> Advice | None:
    """Units for bfloat16 products that lie idle."""
    units = [name for name, flag in (("AMX", "amx_bf16"), ("AVX-512 BF16", "avx512_bf16")) if flag in facts.machine.flags]
    if not units or not facts.chosen.on_cpu or facts.chosen.precision == "bf16":
        return None
    gain = (
        f"3.3 to 4.4 times as fast as fp32 on ONNX Runtime with AMX ({INT8_PAGE})"
        if units[0] == "AMX"
        else "faster where there is AMX too; the gain of AVX-512 BF16 alone was not measured"
    )
    return Advice(
        what=f"bfloat16 units ({units[0]}) and products in {facts.chosen.precision}",
        reason=f"{gain}; answers differ in the third digit (embeddings' cosine with fp32's 0.99999): compare them first",
        change=f"{_extra(facts)}--engine openvino --precision bf16",
    )


def int8(facts: Facts) -> Advice | None:
    """Units for int8 products, and nothing better."""
    flags, chosen = facts.machine.flags, facts.chosen
    wide = [model for model in facts.models if model.width > NARROW]
    better = {"amx_bf16", "avx512_bf16"} & flags
    if not wide or not flags & VNNI or better or not chosen.on_cpu or chosen.precision != "fp32":
        return None
    lacking = [model.name for model in wide if "int8" not in model.precisions]
    again = f"`drlongformer import --precision fp32,int8` for {', '.join(lacking)} (refused if it loses too much), then "
    return Advice(
        what="int8 units (VNNI) and products in fp32",
        reason=f"1.4 to 2.3 times as fast as fp32 on a model of 768 columns, nothing for one of {NARROW}; at most 0.44 points "
        f"lost on sixteen test sets; measured where there was AMX too ({INT8_PAGE})",
        change=f"{again if lacking else ''}--precision int8",
    )


def openvino(facts: Facts) -> Advice | None:
    """The same graph on the faster engine."""
    chosen = facts.chosen
    if not chosen.on_cpu or chosen.precision != "fp32" or chosen.engine == "openvino" or not facts.machine.flags:
        return None
    return Advice(
        what="fp32 on ONNX Runtime",
        reason=f"OpenVINO runs the same file 1.1 to 1.2 times as fast, with answers within 1e-6 ({ENGINE_PAGE})",
        change=f"{_extra(facts)}--engine openvino",
    )


def too_many_threads(facts: Facts) -> Advice | None:
    """More threads than CPU time: they wait for each other at the end of every product."""
    usable, chosen = facts.machine.usable_cpus, facts.chosen
    each = chosen.threads or max(1, facts.machine.cpus // chosen.engines)
    fitting = max(1, int(usable / chosen.engines))
    if not chosen.on_cpu or each <= fitting:
        return None
    limit = "" if facts.machine.cpu_limit is None else f" (a control group limits it to {facts.machine.cpu_limit:g})"
    return Advice(
        what=f"{each * chosen.engines} threads compute on {usable:g} CPUs{limit}",
        reason="a thread without time holds all others up at the end of every matrix product; the loss was not measured",
        change=f"--threads {fitting}, or a higher limit (`cpus` in compose, `resources.limits.cpu` in Kubernetes)",
    )


def too_few_threads(facts: Facts) -> Advice | None:
    """CPUs that nobody computes on."""
    usable, chosen = facts.machine.usable_cpus, facts.chosen
    used = chosen.threads * chosen.engines
    if not chosen.on_cpu or not chosen.threads or used + 1 >= usable:
        return None
    return Advice(
        what=f"{used} threads compute, {usable:g} CPUs may be used",
        reason="matrix products gain nearly in step with cores; one core left for tokenizing and HTTP is enough",
        change=f"--threads {max(1, int(usable / chosen.engines))}, or 0 for every core",
    )


def throttled(facts: Facts) -> Advice | None:
    """The control group held the process back."""
    found = facts.machine.throttling
    if found is None or found.share <= THROTTLED:
        return None
    return Advice(
        what=f"held back by its control group in {found.throttled:,} of {found.periods:,} periods ({found.share:.0%})",
        reason="each time, every thread stands still until the period ends, so latencies jump by up to 0.1 s",
        change="as many --threads as the limit has CPUs, or a higher limit",
    )


def governor(facts: Facts) -> Advice | None:
    """Frequencies kept low."""
    if facts.machine.governor not in ("powersave", "conservative"):
        return None
    return Advice(
        what=f"the frequency governor {facts.machine.governor}",
        reason="clocks may rise late or not at all under load; how much is lost depends on the driver and was not measured",
        change="`cpupower frequency-set --governor performance` on the host",
    )


def swapping(facts: Facts) -> Advice | None:
    """Pages that come and go."""
    pages = facts.activity.swapped_pages_per_second
    if pages <= SWAPPED_PAGES:
        return None
    used = facts.activity.swap_used_bytes / 2**20
    return Advice(
        what=f"{pages:,.0f} pages a second are swapped in and out, {used:,.0f} MiB lie in swap",
        reason="weights that were swapped out come back at the speed of a disk, in the middle of a batch",
        change="more memory, fewer models (--model), a smaller DRLONGFORMER_BATCHING__MAX_BATCH_TOKENS, or `vm.swappiness` 1",
    )


def tokenizer_threads(facts: Facts) -> Advice | None:
    """A variable that makes the tokenizer read one text after the other."""
    libraries = dict(facts.chosen.libraries)
    serial = libraries.get("TOKENIZERS_PARALLELISM", "").lower() in ("false", "off", "no", "n", "f", "0")
    few = libraries.get("RAYON_NUM_THREADS") == "1"
    if not (serial or few) or facts.machine.usable_cpus < 2:
        return None
    name = "TOKENIZERS_PARALLELISM" if serial else "RAYON_NUM_THREADS"
    return Advice(
        what=f"{name}={libraries[name]}",
        reason="the texts of a request are tokenized one after the other instead of on every core",
        change=f"unset {name} in the service's environment",
    )


def neighbours(facts: Facts) -> Advice | None:
    """Others who compute on the same CPUs."""
    found = facts.activity
    if found.busy <= BUSY and found.stolen <= STOLEN:
        return None
    return Advice(
        what=f"others use {found.busy:.0%} of the CPUs (a service that runs already counts), the hypervisor gives away "
        f"{found.stolen:.0%}, load average {found.load_average:.1f}",
        reason="the engine needs every core at the same moment, so one that is busy delays all; figures taken now are too low",
        change="cores of its own (`cpuset` in compose, static CPU manager in Kubernetes, a dedicated host)",
    )


RULES: Final[tuple[Rule, ...]] = (
    missing_provider,
    idle_gpu,
    swapping,
    throttled,
    too_many_threads,
    too_few_threads,
    bfloat16,
    int8,
    openvino,
    tokenizer_threads,
    governor,
    neighbours,
)


def _extra(facts: Facts) -> str:
    return "" if "openvino" in facts.packages else "install the extra `openvino`, then "
