"""Who is evaluated: heads, a tokenizer, and something that answers windows.

A trained folder answers with its torch module. A bundle answers with the ONNX graph that is shipped, through the engine that
serves it, so a score in a bundle is one of the graph. Everything after this seam is the same for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from pydantic import ValidationError
from safetensors import SafetensorError

from drlongformer import bundle as bundles
from drlongformer.bundle import Bundle, HeadSpec, Precision, TokenizerSpec
from drlongformer.errors import DeviceUnavailable, EngineFailed, TrainingError
from drlongformer.model.bundling import WINDOW_OVERLAP
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.serving.engine import Engine, OnnxEngine, compute, parse_device
from drlongformer.text.tokenizer import Tokenizer
from drlongformer.text.windows import SPECIALS, plan, truncate
from drlongformer.training import disk, trained
from drlongformer.training.inference import answer, grouped
from drlongformer.types import Task, Window, WindowInput, WindowOutput

BATCH_TOKENS = 8192

Answer = Callable[[Sequence[WindowInput]], list[WindowOutput]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model with named heads. cut_tokens: read only so many tokens of a document's beginning, specials included.

    cuts_pairs: a pair past one window is cut to fit, instead of refused as when serving.
    batch_tokens: about how many slots are computed at once. provenance: what gave the answers, as a file of scores tells it.
    """

    heads: Mapping[str, HeadSpec]
    tokenizer: Tokenizer
    spec: TokenizerSpec
    max_tokens: int
    window_overlap: int
    answer: Answer
    provenance: Mapping[str, Any]
    batch_tokens: int = BATCH_TOKENS
    cut_tokens: int | None = None
    cuts_pairs: bool = False

    @classmethod
    def of_model(
        cls,
        model: LongformerWithHeads,
        heads: Sequence[HeadSpec],
        tokenizer: Tokenizer,
        spec: TokenizerSpec,
        *,
        batch_tokens: int = BATCH_TOKENS,
        provenance: Mapping[str, Any] | None = None,
    ) -> Subject:
        """A module in memory, on whatever device it lies."""
        most = model.longformer.config.max_tokens
        return cls(
            heads={head.name: head for head in heads},
            tokenizer=tokenizer,
            spec=spec,
            max_tokens=most,
            window_overlap=min(WINDOW_OVERLAP, most // 4),  # as an exported bundle has it
            answer=lambda windows: answer(model, windows, batch_tokens=batch_tokens),
            provenance={"kind": "module", **(provenance or {})},
            batch_tokens=batch_tokens,
        )

    @classmethod
    def of_bundle(cls, bundle: Bundle, engine: Engine, *, batch_tokens: int = BATCH_TOKENS) -> Subject:
        """A bundle's graph on an engine that serves it."""
        manifest = bundle.manifest
        return cls(
            heads={head.name: head for head in manifest.heads},
            tokenizer=Tokenizer.from_file(bundle.folder / manifest.tokenizer.file, spec=manifest.tokenizer),
            spec=manifest.tokenizer,
            max_tokens=manifest.max_tokens,
            window_overlap=manifest.window_overlap,
            answer=lambda windows: _computed(engine, windows, batch_tokens),
            provenance={
                "kind": "onnx",
                "bundle": f"{manifest.name}:{manifest.version}",
                "bundle_sha256": bundle.sha256,
                "precision": engine.precision,
                "device": engine.device,
                "provider": engine.provider,
                **_graph_told(bundle, engine),
            },
            batch_tokens=batch_tokens,
        )

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        precision: Precision | None = None,
        batch_tokens: int = BATCH_TOKENS,
    ) -> Subject:
        """Read a bundle's folder or a trained one. Raises TrainingError, BundleError and DeviceUnavailable."""
        if (folder / bundles.MANIFEST).is_file():
            return _bundled(folder, device, threads, precision, batch_tokens)
        if trained.is_trained(folder):
            return _trained(folder, device, threads, batch_tokens)
        raise TrainingError(f"{folder} is neither a bundle ({bundles.MANIFEST}) nor a trained folder ({trained.DESCRIBED})")

    def head(self, task: Task | None, name: str | None = None) -> HeadSpec:
        """The head of that name, or the first of that task. Raises TrainingError naming those there are."""
        for head in self.heads.values():
            if name in (None, head.name) and task in (None, head.task):
                return head
        there = ", ".join(f"{head.name} ({head.task})" for head in self.heads.values())
        wanted = " ".join(filter(None, [f"named {name!r}" if name else "", f"for {task}" if task else ""]))
        raise TrainingError(f"the model has no head {wanted}; it has {there}")

    def windows(self, tokens: int) -> tuple[Window, ...]:
        """The windows through which a document of so many content tokens is read."""
        if self.cut_tokens is not None and tokens + SPECIALS > self.cut_tokens:
            return (truncate(tokens, capacity=self.cut_tokens - SPECIALS, side="head"),)
        return plan(tokens, capacity=self.max_tokens - SPECIALS, overlap=self.window_overlap)


def _trained(folder: Path, device: str, threads: int | None, batch_tokens: int) -> Subject:
    try:
        model, heads = trained.load(folder)
    except (SafetensorError, ValidationError, OSError) as error:
        raise TrainingError(f"{folder} holds a trained model that cannot be read: {type(error).__name__}") from error
    if threads:
        torch.set_num_threads(threads)
    spec = trained.tokenizer_of(folder).spec
    provenance = {
        "folder": folder.resolve().name,
        "sha256": {name: disk.sha256(folder / name) for name in ("model.safetensors", "heads.safetensors")},
        "torch": torch.__version__,
        "device": device,
    }
    return Subject.of_model(
        _placed(model, device),
        heads,
        Tokenizer.from_file(folder / trained.TOKENIZER, spec=spec),
        spec,
        batch_tokens=batch_tokens,
        provenance=provenance,
    )


def _placed(model: LongformerWithHeads, device: str) -> LongformerWithHeads:
    """The model on a device. Raises DeviceUnavailable for one that torch does not have."""
    try:
        return model.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:  # torch without CUDA fails by an assertion
        raise DeviceUnavailable(f"{device} was asked for and torch cannot use it") from error


def _bundled(folder: Path, device: str, threads: int | None, precision: Precision | None, batch_tokens: int) -> Subject:
    bundle = bundles.load(folder.resolve())
    engine = OnnxEngine(bundle, device, threads, precision=precision)
    return Subject.of_bundle(bundle, engine, batch_tokens=batch_tokens)


def _graph_told(bundle: Bundle, engine: Engine) -> dict[str, str]:
    """Which of the bundle's graphs runs on the engine, and in which onnxruntime; bf16 is computed from the fp32 one."""
    precision = "fp32" if engine.precision == "bf16" else engine.precision
    graph = bundle.graph(parse_device(engine.device)[0], precision)
    sha256 = bundle.manifest.files[graph.file].sha256
    return {"graph": graph.file, "graph_sha256": sha256, "onnxruntime": onnxruntime.__version__}


def _computed(engine: Engine, windows: Sequence[WindowInput], batch_tokens: int) -> list[WindowOutput]:
    """Every window's answer. Raises EngineFailed, also for one whose values are not finite."""
    outputs: list[WindowOutput] = []
    for group in grouped(windows, block=engine.block, batch_tokens=batch_tokens):
        for output in compute(engine, group, [None] * len(group)):
            if isinstance(output, EngineFailed):
                raise output
            assert isinstance(output, WindowOutput)
            outputs.append(output)
    return outputs
