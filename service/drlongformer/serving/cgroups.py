"""What this process may use by its control groups, versions 1 and 2: CPU time, how often it was held back, and memory.

A limit holds for a group and all below it, so the tightest from the own group up to the root counts. `root` is `/`, or a folder
in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

V1_UNLIMITED = 2**60
"""Version 1 writes a number about as large as there is where no limit was set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """periods: in which the group wanted CPU time since it began. throttled: those in which it got no more."""

    periods: int
    throttled: int

    @property
    def share(self) -> float:
        """Throttled periods among all, 0 to 1."""
        return self.throttled / self.periods if self.periods else 0.0


def cpu_limit(root: Path) -> float | None:
    """CPUs' worth of time that the process may use, None without a limit."""
    limits = [limit for folder in _groups(root, "cpu") if (limit := _cpus(folder)) is not None]
    return min(limits, default=None)


def throttling(root: Path) -> Throttling | None:
    """How often the tightest of its groups held it back; None where nothing counts that."""
    found = [one for folder in _groups(root, "cpu") if (one := _throttling(folder)) is not None]
    return max(found, key=lambda one: one.throttled, default=None)


def memory_limit_bytes(root: Path) -> int | None:
    """Bytes that the process may hold, None without a limit."""
    told = [_text(folder / name) for folder in _groups(root, "memory") for name in ("memory.max", "memory.limit_in_bytes")]
    limits = [int(text) for text in told if text is not None and text.isdecimal()]
    return min((limit for limit in limits if limit < V1_UNLIMITED), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the process's groups that have the controller, the own one first, then all above it."""
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        _, names, own = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if names else "")
        inside = Path(own.lstrip("/"))
        yield from (top / folder for folder in (inside, *inside.parents) if ".." not in folder.parts)


def _cpus(folder: Path) -> float | None:
    """`cpu.max` holds "200000 100000" or "max 100000" microseconds; version 1 has a file for each number."""
    quota, _, period = (_text(folder / "cpu.max") or "max").partition(" ")
    if quota == "max":
        quota, period = _text(folder / "cpu.cfs_quota_us") or "-1", _text(folder / "cpu.cfs_period_us") or ""
    period = period or "100000"
    return int(quota) / int(period) if int(quota) > 0 else None


def _throttling(folder: Path) -> Throttling | None:
    counts = dict(line.split(" ", 1) for line in (_text(folder / "cpu.stat") or "").splitlines() if " " in line)
    if "nr_throttled" not in counts:
        return None
    return Throttling(periods=int(counts["nr_periods"]), throttled=int(counts["nr_throttled"]))


def _text(path: Path) -> str | None:
    """A file's text without its end of line; None where it cannot be read: not every kernel has every file."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
