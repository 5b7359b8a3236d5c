"""Our engines and service beside their peers: one checkpoint, one set of documents, one machine, one run, taking turns.

    python -m loadtests.peers --checkpoint HF_FOLDER --bundle STORE/NAME/VERSION [--minutes 17] [--plots docs/benchmarks/peers]
    python -m loadtests.peers --size tiny --short

The bundle is the checkpoint's (`drlongformer import HF_FOLDER --name NAME --precision fp32,int8 --standard`). Peers that need
versions of their own live in environments outside the repository (`make peers`, --venvs). Prints the ceiling first, then what
happens, tables at the end, and one JSON line last. Who cannot be opened or fails is told with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from drlongformer import bundle
from drlongformer.bench.ceiling import matrix_peak, operations
from loadtests.peers import field, tables
from loadtests.peers.collection import Collection, tokens_of
from loadtests.peers.comparison import Comparison, Size
from loadtests.peers.protocol import ContenderFailed

VENVS = Path("~/.cache/drlongformer-peers")
NOTE_TOKENS, SHORT_TOKENS = 200, 30
PACKAGES = ("onnxruntime", "openvino", "torch", "transformers", "optimum", "optimum-onnx", "numpy")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, help="Hugging Face folder")
    parser.add_argument("--bundle", type=Path, help="one version of the bundle imported from it")
    parser.add_argument(
        "--size", choices=("given", "tiny"), default="given", help="tiny: the embedded model, random weights for peers"
    )
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="tiny: folder with the embedded model")
    parser.add_argument("--short", action="store_true", help="few documents and turns: whether it works, not how fast")
    parser.add_argument("--contender", action="append", choices=field.ALL, help="may be repeated; all by default")
    parser.add_argument("--without", action="append", default=[], choices=field.ALL, help="leave one out; may be repeated")
    parser.add_argument("--documents", type=int, default=24, help="documents of the mixed set")
    parser.add_argument("--rounds", type=int, default=2, help="turns on one long document, after one that is not counted")
    parser.add_argument("--mixed-rounds", type=int, default=1, help="turns on the mixed set")
    parser.add_argument("--callers", type=int, default=24, help="callers at once of the services")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--minutes", type=float, default=17.0, help="after so many nothing more is begun")
    parser.add_argument("--venvs", type=Path, default=VENVS, help="environments of peers")
    parser.add_argument("--append", type=Path, help="file that the JSON line is added to")
    parser.add_argument("--plots", type=Path, help="folder that plots are drawn into")
    parser.add_argument("--page", type=Path, help="file in docs/benchmarks that tables and links to plots are written into")
    options = parser.parse_args(argv)
    if options.size == "given" and (options.checkpoint is None or options.bundle is None):
        parser.error("--checkpoint and --bundle are needed, or --size tiny")
    if options.page is not None and options.plots is not None and options.page.parent not in options.plots.parents:
        parser.error("--plots lies below the folder of --page, which links to them")
    return options


def _command(options: argparse.Namespace) -> str:
    """The command without the places of this machine."""
    chosen = [f"--without {name}" for name in options.without] + [f"--contender {name}" for name in options.contender or ()]
    sizes = f"--documents {options.documents} --rounds {options.rounds} --mixed-rounds {options.mixed_rounds}"
    where = "--size tiny" if options.size == "tiny" else "--checkpoint CHECKPOINT --bundle model_store/NAME/1"
    short = ["--short"] if options.short else []
    return " ".join(["python -m loadtests.peers", where, f"--threads {options.threads}", sizes, *short, *chosen])


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, print, and say whether at least two contenders were compared."""
    options = parse(argv)
    with ExitStack() as at_the_end:
        scratch = Path(at_the_end.enter_context(tempfile.TemporaryDirectory()))
        if options.size == "tiny":
            from loadtests.peers import tiny  # noqa: PLC0415 - needs torch, which a comparison of services alone does not

            options.checkpoint, options.bundle = tiny.make(scratch, options.store)
        report = compare(options, scratch, at_the_end)
    print(tables.told(report))
    plots = [] if options.plots is None else tables.draw(report, options.plots)
    if options.page is not None:
        options.page.write_text(tables.page(report, _command(options), plots, options.page.parent), encoding="utf-8")
    line = json.dumps(report, ensure_ascii=False)
    if options.append is not None:
        with options.append.open("a", encoding="utf-8") as results:
            results.write(line + "\n")
    print(line)
    return 0 if len(report["contenders"]) > 1 else 1


def compare(options: argparse.Namespace, scratch: Path, at_the_end: ExitStack) -> dict[str, Any]:
    """One run, as the JSON line tells it. scratch: where the contenders' words go."""
    ground = field.Ground(
        checkpoint=options.checkpoint,
        bundle=bundle.load(options.bundle),
        threads=options.threads,
        callers=options.callers,
        venvs=options.venvs.expanduser(),
        logs=scratch,
    )
    manifest = ground.bundle.manifest
    report: dict[str, Any] = {
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "processors": len(os.sched_getaffinity(0)),
        "threads": options.threads,
        "mixed_rounds": options.mixed_rounds,
        "load_average": round(os.getloadavg()[0], 2),
        "versions": versions(ground.venvs),
        "peak_gflops": matrix_peak(0.1 if options.short else 2.0) / 1e9,
    }
    collection = Collection(ground.bundle.folder / manifest.tokenizer.file)
    longest = min(manifest.max_tokens, 300) if options.short else manifest.max_tokens
    long = collection.of(longest)
    mixed = collection.mixed(4 if options.short else options.documents, longest)
    report["operations"] = operations(manifest.architecture, block=manifest.block, tokens=len(long))
    report["documents"] = {"long": len(long), "mixed": len(mixed), "mixed_tokens": tokens_of(mixed)}
    print(tables.ceiling(report), flush=True)
    size = Size(rounds=options.rounds, mixed_rounds=options.mixed_rounds, minutes=options.minutes)
    if options.short:
        size = Size(rounds=1, apart=2, notes=1, longs=1, minutes=options.minutes)
    contenders, absent = opened([name for name in options.contender or field.ALL if name not in options.without], ground)
    for contender in contenders.values():
        at_the_end.callback(contender.close)
    same = options.size == "given"
    comparison = Comparison(contenders=dict(contenders), size=size, same_weights=same, absent=absent, say=_say)
    comparison.run(
        short=collection.of(min(SHORT_TOKENS, longest)), note=collection.of(min(NOTE_TOKENS, longest)), long=long, mixed=mixed
    )
    found = {name: figures for name, figures in comparison.figures.items() if figures["latency"] or figures["mixed"]}
    return report | {"contenders": found, "absent": comparison.absent, "left_out": comparison.left_out}


def opened(names: Sequence[str], ground: field.Ground) -> tuple[dict[str, field.Contender], dict[str, str]]:
    """The contenders that can be opened, in the order of their names; of the others, why not. Two are opened at a time."""
    contenders: dict[str, field.Contender] = {}
    absent: dict[str, str] = {}
    with ThreadPoolExecutor(2) as pool:
        asked = {name: pool.submit(field.opened, name, ground) for name in names}
        for name, opening in asked.items():
            try:
                contenders[name] = opening.result()
                _say(f"{name} is ready")
            except ContenderFailed as error:
                absent[name] = str(error)
                _say(f"{name} is absent: {error}")
    return contenders, absent


def versions(venvs: Path) -> dict[str, str]:
    """What was installed, here and in the environments of peers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    for wanted in ("infinity_emb", "torch", "transformers"):
        for folder in venvs.glob(f"infinity/lib/python*/site-packages/{wanted}-*.dist-info"):
            found[f"infinity: {wanted}"] = folder.name.removesuffix(".dist-info").partition("-")[2]
    return found


def _say(line: str) -> None:
    print(line, flush=True)
