"""The contenders by name: what each is, how its process is started, and how it is asked.

A name is `transformers`, `optimum`, `infinity`, `naive`, one of our engines (`onnxruntime[:int8]`, `openvino[:bf16]`), or
`service[:ENGINE]`, our service on one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from drlongformer.bundle import Bundle
from loadtests.peers import served
from loadtests.peers.collection import Document, masked
from loadtests.peers.protocol import ContenderFailed, Memory, Question, Turn, Worker

ALL = (
    "transformers",
    "optimum",
    "onnxruntime",
    "onnxruntime:int8",
    "openvino",
    "openvino:bf16",
    "service",
    "service:openvino:bf16",
    "naive",
    "infinity",
)
REFERENCE = "transformers"
"""What ratios are to."""


class Contender(Protocol):
    """Something that can be asked. ways: how several documents are asked at once; the first is for one alone, too."""

    @property
    def ways(self) -> Sequence[str]:
        """How several documents can be asked."""
        ...

    @property
    def tasks(self) -> Sequence[str]:
        """What can be asked."""
        ...

    def run(self, task: str, way: str, documents: Sequence[Document]) -> Turn:
        """One turn. Raises ContenderFailed."""
        ...

    def memory(self) -> Memory:
        """Of its process."""
        ...

    def forget_peak(self) -> None:
        """Let the peak begin again."""
        ...

    def close(self) -> None:
        """End its process."""
        ...


class Local:
    """A model in a worker's process, asked by ids."""

    def __init__(self, worker: Worker, mask_id: int) -> None:
        self._worker = worker
        self._mask_id = mask_id
        self.ways: Sequence[str] = worker.about["ways"]
        self.tasks: Sequence[str] = worker.about["tasks"]

    def run(self, task: str, way: str, documents: Sequence[Document]) -> Turn:
        """One turn; to fill masks, with five of them in each document."""
        return self._worker.run(task, way, [self._question(task, one) for one in documents])

    def memory(self) -> Memory:
        """Of its process."""
        return self._worker.memory()

    def forget_peak(self) -> None:
        """Let the peak begin again."""
        self._worker.forget_peak()

    def close(self) -> None:
        """End its process."""
        self._worker.close()

    def _question(self, task: str, document: Document) -> Question:
        if task != "fill-mask":
            return Question(ids=document.ids, masks=np.zeros(0, dtype=np.int64))
        ids, places = masked(document, self._mask_id)
        return Question(ids=ids, masks=places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What all contenders compute, and with what. venvs: folder of the environments of peers. logs: folder of their words."""

    checkpoint: Path
    bundle: Bundle
    threads: int
    callers: int
    venvs: Path
    logs: Path


def opened(name: str, ground: Ground) -> Contender:
    """A contender, loaded and ready. Raises ContenderFailed, with the reason."""
    bundle, log = ground.bundle, ground.logs / f"{name.replace(':', '-')}.log"
    kind, _, engine = name.partition(":")
    if kind == "service":
        store = bundle.folder.parent.parent
        served_name = f"{bundle.manifest.name}:{bundle.manifest.version}"
        program = served.ours(store, served_name, engine or "onnxruntime", ground.threads)
        return served.Served(program, log, callers=ground.callers)
    if kind == "naive":
        return served.Served(served.naive(bundle.folder, ground.checkpoint), log, callers=min(ground.callers, 4))
    if kind == "infinity":
        path = ground.venvs / "infinity" / "bin" / "infinity_emb"
        if not path.is_file():
            raise ContenderFailed(f"not installed in {ground.venvs}: `make peers` does it")
        return served.Served(served.infinity(path, ground.checkpoint), log, callers=ground.callers)
    arguments = _worker(name, ground)
    worker = Worker([*arguments, "--threads", str(ground.threads)], log)
    return Local(worker, bundle.manifest.tokenizer.mask_id)


def _worker(name: str, ground: Ground) -> list[str]:
    """What a worker is started with. Raises ContenderFailed where the bundle lacks what it needs."""
    manifest = ground.bundle.manifest
    embed = next(head for head in manifest.heads if head.task == "embed")
    if name == "transformers":
        wide = ["--first-global"] if embed.global_attention == "first" else []
        return ["transformers", "--folder", str(ground.checkpoint), *wide]
    if name == "optimum":
        folder = ground.bundle.folder / "standard" / embed.name
        if not folder.is_dir():
            raise ContenderFailed("the bundle has no standard graphs: import it with --standard")
        return ["optimum", "--folder", str(folder)]
    return ["ours", "--folder", str(ground.bundle.folder), "--engine", name]
