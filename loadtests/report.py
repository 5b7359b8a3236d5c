"""What a scenario prints: a table for people, its laws and targets, and one JSON line last.

A law is what must hold at any speed: it decides the exit code. A target is a figure of a quiet machine: reached or not, it
is told.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """Something that must hold, whether it did, and the figures that say so."""

    claim: str
    kept: bool
    told: str

    @classmethod
    def of(cls, claim: str, kept: bool, told: str = "") -> Law:
        """A law by its claim."""
        return cls(claim=claim, kept=bool(kept), told=told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure to reach: at most or at least `bound`."""

    what: str
    value: float
    bound: float
    at_most: bool = True

    @property
    def reached(self) -> bool:
        """Whether it was."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        return f"{self.what}: {self.value:.4g} (target {sign} {self.bound:g}, {'reached' if self.reached else 'missed'})"


@dataclass(slots=True, kw_only=True)
class Report:
    """Filled in by a scenario. rows: of the table, all with the same keys. figures: whatever else the JSON line tells."""

    scenario: str
    rows: list[dict[str, object]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    laws: list[Law] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    @property
    def lawful(self) -> bool:
        """Whether every law was kept; a scenario without laws has proved nothing."""
        return bool(self.laws) and all(law.kept for law in self.laws)

    def hold(self, claim: str, kept: bool, told: str = "") -> None:
        """Note a law."""
        self.laws.append(Law.of(claim, kept, told))

    def print(self) -> None:
        """Table, laws, targets, JSON."""
        console = Console(width=128, highlight=False)
        if self.rows:
            console.print(_table(self.scenario, self.rows))
        for law in self.laws:
            console.print(f"{'kept  ' if law.kept else 'BROKEN'} {law.claim}: {law.told}", markup=False, soft_wrap=True)
        for target in self.targets:
            console.print(f"       {target}", markup=False, soft_wrap=True)
        print(json.dumps(self.summary, ensure_ascii=False))

    @property
    def summary(self) -> dict[str, Any]:
        """Everything, as JSON tells it."""
        return {
            "scenario": self.scenario,
            "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
            "processors": len(os.sched_getaffinity(0)),
            "load_average": round(os.getloadavg()[0], 2),
            "lawful": self.lawful,
            "laws": {law.claim: [law.kept, law.told] for law in self.laws},
            "targets": {target.what: [target.reached, target.value, target.bound] for target in self.targets},
            "rows": self.rows,
            **self.figures,
        }


def _table(title: str, rows: Sequence[dict[str, object]]) -> Table:
    table = Table(*rows[0], title=title, box=SIMPLE_HEAD, title_justify="left")
    for row in rows:
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row.values()))
    return table
