"""Whether this processor adds up int8 products exactly: older x86 ones cut their sums off at 16 bits, in silence.

ONNX Runtime multiplies uint8 by int8 with VNNI or AMX where there is either, else with AVX2's `vpmaddubsw`, which saturates
(its documentation, "Quantize ONNX models", When to use reduce-range). Answers would differ from those that were proved.
"""

from __future__ import annotations

import platform
from pathlib import Path

from drlongformer.errors import DeviceUnavailable

CPU_INFO = Path("/proc/cpuinfo")
X86 = ("x86_64", "amd64", "i686")
EXACT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def require_exact_int8(machine: str | None = None, told: str | None = None) -> None:
    """Raise DeviceUnavailable on an x86 processor that says what it can, and neither VNNI nor AMX is among it.

    machine and told: its kind and the text of /proc/cpuinfo, by default this machine's; elsewhere than on Linux there is none.
    """
    if (machine or platform.machine()).lower() not in X86:
        return
    flags = _flags(_cpu_info() if told is None else told)
    if flags and not flags & EXACT:
        raise DeviceUnavailable(
            f"this processor cannot add up int8 products exactly: it has none of {', '.join(sorted(EXACT))}; serve in fp32"
        )


def _cpu_info() -> str:
    return CPU_INFO.read_text(encoding="ascii", errors="replace") if CPU_INFO.is_file() else ""


def _flags(told: str) -> frozenset[str]:
    """What the first processor can; empty where nothing is said."""
    line = next((line for line in told.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())
