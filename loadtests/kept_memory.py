"""What a process keeps of the memory that engines used: resident size after each of several loads, with and without trimming.

    python loadtests/kept_memory.py --bundle model_store/NAME/VERSION [--rounds 12] [--threads 2]

Each round loads the bundle, reads documents of several lengths, and drops it. A table in MiB, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import resource
from pathlib import Path

import numpy as np

from drlongformer import bundle
from drlongformer.packing import pack
from drlongformer.serving.engine import OnnxEngine
from drlongformer.serving.memory import give_back
from drlongformer.types import HIDDEN, WindowInput

LENGTHS = (4096, 700, 2000, 4096)
MEBIBYTE = 2**20


def resident_mib() -> int:
    """Resident size of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * resource.getpagesize() / MEBIBYTE)


def load_and_drop(loaded: bundle.Bundle, threads: int) -> None:
    """One engine's life."""
    engine = OnnxEngine(loaded, "cpu", threads)
    for length in LENGTHS:
        window = WindowInput(ids=np.full(length, 5), rows={HIDDEN: np.zeros(1, dtype=np.int64)})
        engine.run(pack([window, window], block=engine.block, heads=engine.heads))


def main() -> None:
    """Measure both, the trimmed rounds last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    loaded = bundle.load(options.bundle)
    kept: dict[str, list[int]] = {"as it is": [], "trimmed": []}
    for name, sizes in kept.items():
        for _ in range(options.rounds):
            load_and_drop(loaded, options.threads)
            if name == "trimmed":
                give_back()
            sizes.append(resident_mib())
        print(f"{name:>10}", *(f"{size:>5}" for size in sizes))
    print(json.dumps({"rounds": options.rounds, "resident_mib": kept}))


if __name__ == "__main__":
    main()
