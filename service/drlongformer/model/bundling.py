"""A model in our form to a bundle: export, prove, check, write; whether it was imported or trained just now.

    LongformerWithHeads + heads + tokenizer -> export (fp32, int8, CUDA, standard) + proofs -> trial bundle -> check -> bundle

What is not proved equal, or what its check refuses, is not written, and nothing is left behind.
"""

from __future__ import annotations

import logging
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from drlongformer import bundle
from drlongformer.bundle import Bundle, GraphSpec, HeadSpec, Manifest, Parity
from drlongformer.bundle.manifest import BundleName
from drlongformer.errors import BundleError, CheckpointError
from drlongformer.model import standard
from drlongformer.model.card import card
from drlongformer.model.checkpoint import architecture, hf_config
from drlongformer.model.cuda import export_cuda
from drlongformer.model.export import export, rounded
from drlongformer.model.export import heads_of as outputs_of
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.reference import Reference, twin_of
from drlongformer.model.rounding import Int8, Model, export_int8, within_limits
from drlongformer.model.tokenizer_files import TokenizerFile
from drlongformer.types import HIDDEN

logger = logging.getLogger(__name__)

CARD_FILE = "README.md"
WINDOW_OVERLAP = 512  # tokens, for models long enough
Report = Callable[[str], None]
"""Told each step as it begins."""
Check = Callable[[Bundle], Mapping[str, Any]]
"""Scores a finished bundle before it is put in place; raises where it is not good enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a bundle says of itself, in the manifest's fields. version: by default the next. readme: makes another card."""

    name: str
    version: int | None = None
    base_model: str | None = None
    base_revision: str | None = None
    licence: str | None = None
    patient_data: bool = False
    description: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    readme: Callable[[Manifest], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What an export may do besides.

    reference: Hugging Face's side of the proof, by default built from the model's weights. standard: also write the graphs of
    `standard.py`; config: the `config.json` beside them, by default the model's own. check: see `Check`; what it gives goes
    into the manifest's scores. int8: also write an int8 graph. cuda: also write the fp16 graph of `cuda.py`.
    """

    reference: Reference | None = None
    standard: bool = False
    config: Mapping[str, Any] | None = None
    check: Check | None = None
    int8: Int8 | None = None
    cuda: bool = False


def check_name(name: str) -> None:
    """Raise BundleError where no bundle can be called so, before any work is done for it."""
    try:
        TypeAdapter[str](BundleName).validate_python(name)
    except ValidationError:
        raise BundleError(
            f"no bundle can be named {name!r}: letters, digits, dots, dashes and underscores, at most 100,"
            " the first a letter or a digit"
        ) from None


def export_bundle(
    model: LongformerWithHeads,
    heads: Sequence[HeadSpec],
    tokenizer: TokenizerFile,
    *,
    about: About,
    store: Path,
    store_fp16: bool = False,
    extras: Extras = Extras(),
    report: Report = logger.info,
) -> Path:
    """Export a model, prove it and write it as a new version of a bundle; returns the version's folder.

    Heads of the model that no head specification reads are left out. store_fp16: matrices take half the room, and lose their
    last bits; the proof is of the rounded model then, and its reference is built from it.
    """
    check_name(about.name)
    if about.version in bundle.versions(store, about.name):
        raise BundleError(f"{about.name} has a version {about.version} already; versions are never overwritten")
    if extras.standard and not any(head.task in standard.CLASSES for head in heads):
        raise CheckpointError(f"none of the heads {[head.name for head in heads]} has a standard graph")
    model = _with_heads_read(model, heads)
    model = rounded(model) if store_fp16 else model
    reference = None if store_fp16 else extras.reference
    with _scratch(store) as scratch:
        graph = export(model, scratch, reference=reference, store_fp16=store_fp16, report=report)
        graphs = [graph, *_int8(model, scratch, graph, reference, extras.int8, report)]
        if extras.cuda:
            graphs.append(export_cuda(model, scratch, reference=reference, report=report))
        sources: dict[str, Path | bytes] = {name: scratch / name for each in graphs for name in each.files}
        proofs: dict[str, Parity] = {}
        if extras.standard:
            report("exporting and proving the standard graphs")
            proofs = _standard(model, heads, tokenizer, scratch, reference=reference or twin_of(model), config=extras.config)
            sources |= _files_below(scratch, standard.FOLDER)
        sources[tokenizer.spec.file] = tokenizer.content
        manifest = _manifest(model, heads, tokenizer, about, graphs, bundle.next_version(store, about.name))
        if extras.check is not None:
            report("checking the bundle")
            manifest = _checked(bundle.load(bundle.write(scratch / "trial", manifest, sources)), extras.check, extras.int8)
        report("writing the bundle")
        text = card(manifest, standard=proofs) if about.readme is None else about.readme(manifest)
        sources[CARD_FILE] = text.encode()
        return bundle.write(store, manifest, sources)


def _int8(
    model: LongformerWithHeads, folder: Path, graph: GraphSpec, reference: Reference | None, wanted: Int8 | None, report: Report
) -> tuple[GraphSpec, ...]:
    """The int8 form of the fp32 graph in `folder`, proved, where it is wanted."""
    if wanted is None:
        return ()
    report("writing the int8 graph and proving it")
    has_global = (reference or twin_of(model)).has_global
    asked = Model(config=model.longformer.config, heads=outputs_of(model), has_global=has_global)
    return (export_int8(folder, graph, asked, least_cosine=wanted.least_cosine),)


def _checked(trial: Bundle, check: Check, int8: Int8 | None) -> Manifest:
    """The manifest with the scores that the check gives, and those of its int8 graph beside. Raises what refuses the bundle."""
    scores = dict(check(trial))
    manifest = trial.manifest.model_copy(update={"scores": trial.manifest.scores | scores, "files": {}})
    if int8 is None or int8.comparison is None:
        return manifest
    return within_limits(manifest, int8.comparison(trial, scores), most_points=int8.most_points)


def _standard(
    model: LongformerWithHeads,
    heads: Sequence[HeadSpec],
    tokenizer: TokenizerFile,
    folder: Path,
    *,
    reference: Reference,
    config: Mapping[str, Any] | None,
) -> dict[str, Parity]:
    """Write the standard graph of every head that has one, into `standard/<head>`; the proofs by those names."""
    proofs = {}
    for head in (head for head in heads if head.task in standard.CLASSES):
        own = None if head.output == HIDDEN else head.output
        described = config or hf_config(model, head=own, labels=head.labels, function=head.function)
        place = f"{standard.FOLDER}/{head.name}"
        proofs[f"{place}/{standard.GRAPH_FILE}"] = standard.write(
            model, head, folder / place, config=described, tokenizer=tokenizer, reference=reference
        )
    return proofs


def _files_below(folder: Path, name: str) -> dict[str, Path | bytes]:
    return {file.relative_to(folder).as_posix(): file for file in sorted((folder / name).rglob("*")) if file.is_file()}


@contextmanager
def _scratch(store: Path) -> Iterator[Path]:
    """A folder inside the store; folders that had to be made for it go again where nothing came into them."""
    made = [folder for folder in (store, *store.parents) if not folder.exists()]
    store.mkdir(parents=True, exist_ok=True)
    try:
        with _stopped_in_order(), tempfile.TemporaryDirectory(dir=store, prefix=".export-") as folder:
            yield Path(folder)
    finally:
        for folder_made in made:
            if not any(folder_made.iterdir()):
                folder_made.rmdir()


@contextmanager
def _stopped_in_order() -> Iterator[None]:
    """While it holds, SIGTERM ends the program through its clean-up: gigabytes may lie in the scratch folder."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _with_heads_read(model: LongformerWithHeads, heads: Sequence[HeadSpec]) -> LongformerWithHeads:
    read = {head.output for head in heads} - {HIDDEN}
    if unknown := sorted(read - set(model.heads)):
        raise CheckpointError(f"heads read the outputs {unknown}, the model has {[HIDDEN, *model.heads]}")
    return LongformerWithHeads(model.longformer, {name: head for name, head in model.heads.items() if name in read}).eval()


def _manifest(
    model: LongformerWithHeads,
    heads: Sequence[HeadSpec],
    tokenizer: TokenizerFile,
    about: About,
    graphs: Sequence[GraphSpec],
    next_version: int,
) -> Manifest:
    config = model.longformer.config
    return Manifest(
        name=about.name,
        version=about.version or next_version,
        base_model=about.base_model,
        base_revision=about.base_revision,
        licence=about.licence,
        patient_data=about.patient_data,
        description=about.description,
        architecture=architecture(config),
        block=config.block,
        max_tokens=config.max_tokens,
        window_overlap=min(WINDOW_OVERLAP, config.max_tokens // 4),
        heads=tuple(heads),
        tokenizer=tokenizer.spec,
        graphs=tuple(graphs),
        training=about.training,
        scores=about.scores,
    )
