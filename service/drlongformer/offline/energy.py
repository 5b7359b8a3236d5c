"""What a stretch of work draws: the processors' own counters (RAPL) where they may be read, else nothing.

Linux shows a counter of microjoules for each processor package, which starts again at a known range. Since 5.10 only root may
read it, and most virtual machines have none. It counts the whole package, whoever computes on it, and neither memory (on most
machines) nor the power supply's losses.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

COUNTERS: Final = "sys/class/powercap"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counter:
    """microjoules: since some moment. range: at which it starts again."""

    microjoules: int
    range: int


class Meter:
    """Counts from its making on. root: where sys lies."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._before = _counters(root)
        self._began = time.monotonic()

    def watts(self) -> float | None:
        """Mean power of all packages since then; None where nothing counts it."""
        now, seconds = _counters(self._root), time.monotonic() - self._began
        packages = self._before.keys() & now.keys()
        if not packages or seconds <= 0:
            return None
        drawn = sum(_since(self._before[name], now[name]) for name in packages)
        return drawn / 1e6 / seconds


def _since(before: _Counter, now: _Counter) -> int:
    drawn = now.microjoules - before.microjoules
    return drawn if drawn >= 0 else drawn + now.range


def _counters(root: Path) -> Mapping[str, _Counter]:
    """By package; their parts (cores, memory controllers) have a second colon in their names and count in them already."""
    found = {}
    for folder in (root / COUNTERS).glob("intel-rapl:*"):
        if folder.name.count(":") == 1:
            try:
                found[folder.name] = _Counter(
                    microjoules=int((folder / "energy_uj").read_text(encoding="ascii")),
                    range=int((folder / "max_energy_range_uj").read_text(encoding="ascii")),
                )
            except OSError:  # readable by root alone
                continue
    return found
