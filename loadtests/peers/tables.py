"""The comparison for people: tables in Markdown, ready for `docs/benchmarks/`, and plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from loadtests.peers.field import REFERENCE

Report = Mapping[str, Any]


def ceiling(report: Report) -> str:
    """What no fp32 engine can beat here."""
    seconds = report["operations"] / report["peak_gflops"] / 1e9
    return (
        f"fp32 matrix peak {report['peak_gflops']:.0f} GFLOP/s on {report['processors']} cores (load average "
        f"{report['load_average']}); a document of {report['documents']['long']} tokens needs {report['operations'] / 1e9:.3g} "
        f"GFLOP in the packed layout, so at least {seconds:.3g} s in fp32"
    )


def told(report: Report) -> str:
    """Every table, who was absent and why, and what there was no time for."""
    documents = report["documents"]
    parts = [
        ceiling(report),
        f"## One document of {documents['long']} tokens",
        _table(("", "embed", "classify", "fill-mask", "differs by", "memory above the weights"), _latency(report)),
        f"## {documents['mixed']} documents of mixed length, {documents['mixed_tokens']} tokens",
        _table(("", "asked", "tokens/s", "to one by one", "alone differs by"), _mixed(report)),
        "## A short note among long documents",
        _table(("", "tokens", "alone", "among long ones", "worst"), _notes(report)),
    ]
    parts += [f"absent: {name}: {reason}" for name, reason in report["absent"].items()]
    parts += [f"no time was left for: {what}" for what in report["left_out"]]
    return "\n\n".join(["", *parts, ""])


PAGE = """# {date}: beside the peers, on {processors} CPU cores

{command}

One checkpoint, the same documents (invented French texts; models get the ids, services the texts), the same machine, one
run, in which the contenders take turns. Each has a process of its own, from which its memory is read. Figures of one document
are medians of turns after one that warms up; the mixed set is asked {mixed_rounds}. *Differs by* is the largest difference of
an answer from Hugging Face's on the long document; *alone differs by* that of a document alone and among the others, in units
of the answer's largest number. `transformers` answers `classify` with its head, `fill-mask` with the logits of all positions,
as its classes do. Memory above the weights is the most that was resident during the long document, less what was resident
after a short one.
Versions: {versions}.

{tables}
{plots}
"""


def page(report: Report, command: str, plots: Sequence[Path], beside: Path) -> str:
    """A page for `docs/benchmarks/`. command: that was run. plots: files that were drawn. beside: folder of the page."""
    rounds = report["mixed_rounds"]
    return PAGE.format(
        date=report["at"][:10],
        processors=report["processors"],
        command=f"```bash\n{command}\n```",
        mixed_rounds="once" if rounds == 1 else f"{rounds} times",
        versions=", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        tables=told(report).strip(),
        plots="".join(f"\n![{path.stem}]({path.relative_to(beside)})" for path in plots),
    )


def _latency(report: Report) -> Iterator[tuple[str, ...]]:
    reference = report["contenders"].get(REFERENCE, {})
    for name, figures in report["contenders"].items():
        cells = [_seconds(figures, reference, task) for task in ("embed", "classify", "fill-mask")]
        apart = [found["difference"] for found in figures["latency"].values() if "difference" in found]
        memory = figures.get("memory")
        yield (
            name,
            *cells,
            "–" if not apart or name == REFERENCE else f"{max(apart):.0e}",
            "–" if memory is None else f"{memory['above_mib']:.0f} MiB",
        )


def _seconds(figures: Report, reference: Report, task: str) -> str:
    found = figures["latency"].get(task)
    if found is None:
        return "–"
    other = reference.get("latency", {}).get(task)
    ratio = "" if other is None or figures is reference else f", {other['seconds'] / found['seconds']:.2f}x"
    return f"{found['seconds']:.3f} s{ratio}"


def _mixed(report: Report) -> Iterator[tuple[str, ...]]:
    base = next(iter(report["contenders"].get(REFERENCE, {}).get("mixed", {}).values()), None)
    rows = [
        (name, way, found["tokens_per_second"], figures["apart"].get(way))
        for name, figures in report["contenders"].items()
        for way, found in figures["mixed"].items()
    ]
    for name, way, speed, apart in sorted(rows, key=lambda row: -row[2]):
        ratio = "–" if base is None else f"{speed / base['tokens_per_second']:.2f}x"
        yield name, way, f"{speed:.0f}", ratio, "–" if apart is None else f"{apart:.0e}"


def _notes(report: Report) -> Iterator[tuple[str, ...]]:
    for name, figures in report["contenders"].items():
        if (note := figures.get("note")) is not None:
            seconds = (f"{note[key]:.3f} s" for key in ("alone_s", "among_s", "worst_s"))
            yield name, str(note["tokens"]), *seconds


def _table(heads: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw(report: Report, folder: Path) -> list[Path]:
    """Bars of the mixed set, of one long document and of memory; the files written."""
    mpl.rcParams["svg.hashsalt"] = "the same file for the same figures"
    folder.mkdir(parents=True, exist_ok=True)
    contenders = report["contenders"]
    mixed = {
        f"{name}\n{way}": found["tokens_per_second"]
        for name, figures in contenders.items()
        for way, found in figures["mixed"].items()
    }
    long = {
        name: figures["latency"]["embed"]["seconds"] for name, figures in contenders.items() if "embed" in figures["latency"]
    }
    memory = {name: figures["memory"]["above_mib"] for name, figures in contenders.items() if "memory" in figures}
    tokens = report["documents"]["long"]
    plots = {
        "mixed": (mixed, f"Tokens per second, {report['documents']['mixed']} documents of mixed length", "tokens/s"),
        "long": (long, f"One document of {tokens} tokens, embedding", "seconds"),
        "memory": (memory, f"Peak memory above the weights, one document of {tokens} tokens", "MiB"),
    }
    return [_bars(folder / f"{name}.svg", *plot, stamp=_stamp(report)) for name, plot in plots.items() if plot[0]]


def _bars(path: Path, values: Mapping[str, float], title: str, unit: str, *, stamp: str) -> Path:
    order = sorted(values, key=values.__getitem__)
    figure = Figure(figsize=(8, 1.2 + 0.45 * len(order)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(order, [values[name] for name in order])
    axes.bar_label(bars, fmt="%.3g", fontsize=8, padding=2)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel(unit)
    axes.set_title(f"{title} ({stamp})", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    return path


def _stamp(report: Report) -> str:
    return f"{report['at']}, {report['processors']} cores"
