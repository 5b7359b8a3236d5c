"""Where a bundle's graph spends its time on the CPU: onnxruntime's own profile of one document, by operator.

    python loadtests/graph_profile.py --bundle model_store/NAME/VERSION [--precision int8] [--tokens 4096] [--threads 2]

Two runs warm up, the third is told of, with denormals as zeros, as it is served. A table in milliseconds; one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from drlongformer.bundle import load
from drlongformer.packing import PackedBatch, pack
from drlongformer.serving.denormals import SESSION_ENTRY, as_zeros
from drlongformer.types import WindowInput


def milliseconds_by_operator(graph: Path, batch: PackedBatch, threads: int) -> Counter[str]:
    """Time of each operator in the third of three runs."""
    import onnxruntime as ort  # noqa: PLC0415 - after drlongformer, which keeps it from reporting to its makers

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_profiling = True
        options.add_session_config_entry(SESSION_ENTRY, "1")
        options.profile_file_prefix = str(Path(folder) / "profile")
        with as_zeros():
            session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            for _ in range(3):
                session.run(None, batch.feeds())
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    began = max(event["ts"] for event in events if event["name"] == "model_run")
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["ts"] >= began and event["name"].endswith("kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"] / 1000
    return spent


def main() -> None:
    """Profile and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--precision", choices=("fp32", "int8"), default="fp32")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    bundle = load(options.bundle)
    ids = np.random.default_rng(0).integers(5, bundle.manifest.vocab_size - 5, options.tokens)
    window = WindowInput(ids=ids, rows={}, segments=np.zeros(len(ids), dtype=np.int64))
    batch = pack([window], block=bundle.manifest.block, heads=bundle.manifest.outputs)
    spent = milliseconds_by_operator(bundle.folder / bundle.graph("cpu", options.precision).file, batch, options.threads)
    for operator, milliseconds in spent.most_common():
        print(f"{operator:>24} {milliseconds:>9.1f} ms")
    print(json.dumps({"tokens": options.tokens, "threads": options.threads, "milliseconds": dict(spent.most_common())}))


if __name__ == "__main__":
    main()
