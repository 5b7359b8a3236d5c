"""NVIDIA cards: which are there, and which of them ONNX Runtime's CUDA build computes on. The table is printed in docs/gpu.md.

Cards are asked of `nvidia-smi`, which comes with the driver. Where it is missing nothing is known of them, and the provider's
own refusal has to do. Sources: NVIDIA's compute capabilities; onnxruntime-gpu 1.31 is built for 7.5 and later, on CUDA 13.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drlongformer.errors import DeviceUnavailable

LEAST_CAPABILITY = (7, 5)
LEAST_DRIVER = 580
QUERY = "index,name,compute_cap,memory.total,driver_version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Cards of one compute capability. attention: the kernel that the fused operator takes there (`model/fused.py`)."""

    capability: tuple[int, int]
    name: str
    cards: str
    fp16: bool
    bf16: bool
    attention: str

    @property
    def is_supported(self) -> bool:
        """Whether ONNX Runtime has kernels for it."""
        return self.capability >= LEAST_CAPABILITY


FAMILIES: tuple[Family, ...] = tuple(
    Family(capability=capability, name=name, cards=cards, fp16=fp16, bf16=bf16, attention=attention)
    for capability, name, cards, fp16, bf16, attention in (
        ((6, 0), "Pascal", "P100", False, False, "none"),
        ((6, 1), "Pascal", "P4, P40, GTX 10", False, False, "none"),
        ((7, 0), "Volta", "V100", True, False, "none"),
        ((7, 5), "Turing", "T4, RTX 20, Quadro RTX", True, False, "CUTLASS"),
        ((8, 0), "Ampere", "A100, A30", True, True, "CUTLASS"),
        ((8, 6), "Ampere", "A2, A10, A16, A40, RTX A, RTX 30", True, True, "CUTLASS"),
        ((8, 9), "Ada", "L4, L40, L40S, RTX Ada, RTX 40", True, True, "CUTLASS"),
        ((9, 0), "Hopper", "H100, H200, GH200", True, True, "cuDNN"),
        ((10, 0), "Blackwell", "B200, GB200", True, True, "cuDNN"),
        ((10, 3), "Blackwell", "B300, GB300", True, True, "cuDNN"),
        ((12, 0), "Blackwell", "RTX PRO Blackwell, RTX 50", True, True, "cuDNN"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One card that is there, as its driver describes it."""

    index: int
    name: str
    capability: tuple[int, int]
    memory_mib: int
    driver: str

    @property
    def family(self) -> Family | None:
        """The table's row for it, None for a capability that is not in the table."""
        return next((family for family in FAMILIES if family.capability == self.capability), None)

    @property
    def refusal(self) -> str | None:
        """Why the service cannot compute on it, None if it can."""
        if self.capability < LEAST_CAPABILITY:
            return f"its compute capability is {_written(self.capability)}, the least is {_written(LEAST_CAPABILITY)}"
        major = self.driver.partition(".")[0]
        if major.isdecimal() and int(major) < LEAST_DRIVER:
            return f"its driver is {self.driver}, the least is {LEAST_DRIVER} (CUDA 13)"
        return None

    @property
    def description(self) -> str:
        """One line: capability, memory, driver, and what products and attention it has."""
        told = f"{self.name}, compute capability {_written(self.capability)}, {self.memory_mib} MiB, driver {self.driver}"
        if self.refusal is not None:
            return f"{told}: not usable, {self.refusal}"
        family = self.family
        kinds = "fp16, bf16" if family is None or family.bf16 else "fp16, no bf16"
        return f"{told}: {kinds}" if family is None else f"{told}: {kinds}, attention by {family.attention}"


def cards() -> tuple[Card, ...]:
    """Every card that the driver tells of; none without a driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - no part is a user's
    return tuple(read(asked.stdout.splitlines())) if asked.returncode == 0 else ()


def read(lines: Sequence[str]) -> Iterator[Card]:
    """`0, NVIDIA H200, 9.0, 143771, 580.95.05` for each card; lines of another form are those of cards that do not answer."""
    for line in lines:
        told = [word.strip() for word in line.split(",")]
        if len(told) != 5 or not (told[0] + told[3]).isdecimal():
            continue
        major, dot, minor = told[2].partition(".")
        if dot and (major + minor).isdecimal():
            capability = (int(major), int(minor))
            yield Card(index=int(told[0]), name=told[1], capability=capability, memory_mib=int(told[3]), driver=told[4])


def require_supported(there: Sequence[Card], index: int) -> None:
    """Raise DeviceUnavailable for a card that cannot be used, or that is not among those there; nothing where none is known.

    Where the process sees some cards alone, its numbers are not the driver's, so a card is refused only if all are alike in it.
    """
    refused = [card for card in there if card.refusal is not None]
    if there and len(refused) == len(there):
        told = next((card for card in there if card.index == index), there[0])
        raise DeviceUnavailable(f"cuda:{index} cannot be used: {told.name}: {told.refusal}")
    if there and index >= len(there):
        raise DeviceUnavailable(f"cuda:{index} was asked for, the driver tells of {len(there)} cards")


def usable() -> str:
    """What can be used, in one line."""
    known = "; ".join(f"{_written(family.capability)} {family.cards}" for family in FAMILIES if family.is_supported)
    return f"compute capability {_written(LEAST_CAPABILITY)} and driver {LEAST_DRIVER} or later ({known})"


def table() -> str:
    """The supported and the refused cards, in Markdown."""
    rows = [
        f"| {_written(family.capability)} | {family.name} | {family.cards} | {_yes(family.is_supported)} | {_yes(family.fp16)} "
        f"| {_yes(family.bf16)} | {family.attention} |"
        for family in FAMILIES
    ]
    head = (
        "| compute capability | family | cards | served | fast fp16 | bf16 | fused attention |",
        "|---|---|---|---|---|---|---|",
    )
    return "\n".join((*head, *rows))


def _written(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def _yes(there: bool) -> str:
    return "yes" if there else "no"
