"""The plots of `docs/benchmarks/reliability.md`, drawn from the JSON lines that scenarios appended to a file.

python -m loadtests.plots results.jsonl docs/benchmarks/reliability
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Summary = Mapping[str, Any]


def capacity(axes: Axes, summary: Summary) -> None:
    """Documents per second at the bound, by length, ours beside the peer."""
    services = list(dict.fromkeys(row["service"] for row in summary["rows"]))
    lengths = list(dict.fromkeys(row["tokens"] for row in summary["rows"]))
    width = 0.8 / len(services)
    for number, service in enumerate(services):
        rows = [row for row in summary["rows"] if row["service"] == service]
        places = [lengths.index(row["tokens"]) + number * width for row in rows]
        bars = axes.bar(places, [row["capacity, documents/s"] for row in rows], width, label=service)
        axes.bar_label(bars, fmt="%.2g", fontsize=8)
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(lengths))], [f"{length}" for length in lengths])
    axes.set_yscale("log")
    axes.set_xlabel("tokens of a document")
    axes.set_ylabel("documents/s at p99 ≤ 2 × alone")
    axes.legend()


def soak(axes: Axes, summary: Summary) -> None:
    """Memory over time, the service's and the control's."""
    for row in summary["rows"]:
        series = summary[row["run"]]
        minutes = [seconds / 60 for seconds in series["seconds"]]
        axes.plot(minutes, series["mib"], label=f"{row['run']}: {row['MiB/h']:.2f} MiB/h after warm-up")
    axes.set_xlabel("minutes")
    axes.set_ylabel("resident MiB")
    axes.legend()


def short_among_long(axes: Axes, summary: Summary) -> None:
    """Percentiles of the notes, alone and among long documents."""
    shares = [50, 90, 99, 100]
    for row in summary["rows"]:
        axes.plot(
            [f"p{share}" for share in shares], [row[f"p{share} ms"] for share in shares], marker="o", label=row["requests"]
        )
    axes.set_ylabel("ms")
    axes.set_yscale("log")
    axes.legend()


PLOTS: Final[Mapping[str, tuple[Callable[[Axes, Summary], None], str]]] = {
    "capacity": (capacity, "Open-loop capacity"),
    "soak": (soak, "Memory at 80 % load"),
    "short_among_long": (short_among_long, "Notes of 200 tokens among documents of 4096, 80 % load"),
}


def draw(results: Path, folder: Path) -> list[Path]:
    """Draw the last result of every scenario that has a plot; the files written."""
    last = {summary["scenario"]: summary for summary in map(json.loads, results.read_text(encoding="utf-8").splitlines())}
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for scenario in PLOTS.keys() & last.keys():
        plot, title = PLOTS[scenario]
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        plot(axes, last[scenario])
        axes.set_title(f"{title} ({last[scenario]['at']}, {last[scenario]['processors']} cores)", fontsize=10)
        written.append(folder / f"{scenario}.svg")
        figure.savefig(written[-1], metadata={"Date": None})
    return written


if __name__ == "__main__":
    mpl.rcParams["svg.hashsalt"] = "the same file for the same figures"
    for path in draw(Path(sys.argv[1]), Path(sys.argv[2])):
        print(path)
