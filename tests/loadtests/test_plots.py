"""Plots are drawn from the last result of each scenario that has one."""

from __future__ import annotations

import json
from pathlib import Path

from loadtests import plots

STAMP = {"at": "2026-11-22T19:00Z", "processors": 2}
CAPACITY = [{"service": name, "tokens": 200, "capacity, documents/s": 9.0} for name in ("ours", "other")]
RESULTS = [
    {"scenario": "capacity", "rows": [], **STAMP},
    {"scenario": "capacity", "rows": CAPACITY, **STAMP},
    {"scenario": "soak", "rows": [{"run": "own", "MiB/h": 0.5}], "own": {"seconds": [0, 60], "mib": [200, 201]}, **STAMP},
    {"scenario": "sigterm", "rows": [], **STAMP},
]


def test_each_plot_is_written_once_from_the_last_result(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    results.write_text("".join(json.dumps(result) + "\n" for result in RESULTS), encoding="utf-8")
    written = plots.draw(results, tmp_path / "plots")
    assert {path.name for path in written} == {"capacity.svg", "soak.svg"}
    assert all("</svg>" in path.read_text(encoding="utf-8") for path in written)
