"""A contender's process: loads one model, then answers questions from standard input (`protocol.py`).

    python -m loadtests.peers.worker transformers|optimum|ours --threads 2 ...

What each kind imports, it imports alone: the memory that is measured shall be the contender's.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from loadtests.peers import protocol


def opened(options: argparse.Namespace) -> protocol.Model:
    """The model of the kind that was asked for."""
    if options.kind == "transformers":
        from loadtests.peers.hugging_face import HuggingFace  # noqa: PLC0415

        return HuggingFace(options.folder, threads=options.threads, first_global=options.first_global)
    if options.kind == "optimum":
        from loadtests.peers.standard import Standard  # noqa: PLC0415

        return Standard(options.folder, threads=options.threads)
    from loadtests.peers.packed import Packed  # noqa: PLC0415

    return Packed(options.folder, engine=options.engine, threads=options.threads)


def main() -> None:
    """Load, then answer until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("transformers", "optimum", "ours"))
    parser.add_argument("--folder", type=Path, required=True, help="a checkpoint, a folder of standard graphs, or a bundle")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--engine", default="onnxruntime", help="ours: onnxruntime[:int8] or openvino[:bf16]")
    parser.add_argument("--first-global", action="store_true", help="transformers: embeddings are computed with `<s>` global")
    # Libraries write to standard output at times; answers go to a copy of it that they do not know.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    protocol.serve(opened(parser.parse_args()), sys.stdin, answers)


if __name__ == "__main__":
    main()
