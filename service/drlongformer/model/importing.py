"""From a Hugging Face checkpoint, or a model just trained, to a bundle: read, export, prove, write.

    SOURCE -> fetch -> load_hf + convert_tokenizer -> heads_of -> export_bundle: export + prove -> check -> bundle.write

A model that is not proved equal, or that its check refuses, is not written, and nothing is left behind.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import ModelCard
from pydantic import TypeAdapter, ValidationError

from drlongformer import bundle
from drlongformer.bundle import Bundle, GraphSpec, HeadSpec, Manifest, Parity
from drlongformer.bundle.manifest import BundleName
from drlongformer.errors import BundleError, CheckpointError
from drlongformer.model import standard
from drlongformer.model.card import card
from drlongformer.model.checkpoint import Checkpoint, architecture, hf_config, load_hf
from drlongformer.model.export import export, rounded
from drlongformer.model.export import heads_of as outputs_of
from drlongformer.model.families import without_global
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.hub import Source, fetch
from drlongformer.model.reference import Reference, reference_of, twin_of
from drlongformer.model.rounding import Int8, Model, export_int8, within_limits
from drlongformer.model.tags import MergedTagHead, as_bio
from drlongformer.model.tokenizer_files import TokenizerFile, WordSplitting, convert_tokenizer
from drlongformer.model.weights import read_json
from drlongformer.types import HIDDEN, Rule, Task

logger = logging.getLogger(__name__)

CARD_FILE = "README.md"
WINDOW_OVERLAP = 512  # tokens, for models long enough
Attention = Literal["none", "first", "choice"]
ATTENTION: Mapping[Task, Attention] = {"classify": "first", "similarity": "first", "multiple-choice": "choice"}
"""The global tokens that Hugging Face's Longformer classes choose by themselves; the others have none."""
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
    into the manifest's scores. int8: also write an int8 graph.
    """

    reference: Reference | None = None
    standard: bool = False
    config: Mapping[str, Any] | None = None
    check: Check | None = None
    int8: Int8 | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How a checkpoint is imported. tasks: those to serve, by default all that it has. block: token slots of a block.

    word_splitting and normalisation: what the heads were trained on, see `convert_tokenizer`. standard, check and int8: see
    `Extras`.
    """

    tasks: Sequence[Task] | None = None
    word_splitting: WordSplitting | None = None
    normalisation: tuple[Rule, ...] = ()
    standard: bool = False
    check: Check | None = None
    int8: Int8 | None = None
    block: int = 128


def import_model(
    source: str,
    *,
    name: str,
    store: Path,
    revision: str | None = None,
    licence: str | None = None,
    wanted: Wanted = Wanted(),
    report: Report = logger.info,
) -> Path:
    """Import a local checkpoint folder or a Hub repository; returns the new version's folder in the store.

    licence: by default what its card says. Raises CheckpointError, ParityError, BundleError, or what the check raises; nothing
    is written then.
    """
    check_name(name)
    report(f"fetching {source}")
    found = fetch(source, revision=revision)
    report("reading the checkpoint and its tokenizer")
    checkpoint = served(load_hf(found.folder, block=wanted.block))
    heads = _chosen(heads_of(checkpoint), wanted.tasks)
    config = checkpoint.model.longformer.config
    tokenizer = convert_tokenizer(
        found.folder,
        vocab_size=config.vocab_size,
        pad_id=config.pad_token_id,
        for_ner=any(head.task == "ner" for head in heads),
        word_splitting=wanted.word_splitting,
        normalisation=wanted.normalisation,
    )
    about = About(
        name=name,
        base_model=found.origin,
        base_revision=found.revision,
        licence=licence or _licence(found),
        description=f"Imported from {found.origin} ({checkpoint.family.architecture}).",
    )
    return export_bundle(
        checkpoint.model,
        heads,
        tokenizer,
        about=about,
        store=store,
        extras=Extras(
            reference=reference_of(checkpoint),
            standard=wanted.standard,
            config=read_json(found.folder / "config.json"),
            check=wanted.check,
            int8=wanted.int8,
        ),
        report=report,
    )


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


def served(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with the tags its decoder reads, and without global projections where no token is ever global.

    Raises CheckpointError for tags of no known scheme.
    """
    model, labels = checkpoint.model, checkpoint.labels
    if checkpoint.task == "ner" and checkpoint.head is not None:
        tags = as_bio(labels)
        labels = tags.labels
        if tags.merges:
            merged = MergedTagHead(model.heads[checkpoint.head], tags)
            model = LongformerWithHeads(model.longformer, {checkpoint.head: merged}).eval()
    if not checkpoint.family.model_type.has_global:
        without_global(model)
    return replace(checkpoint, model=model, labels=labels)


def heads_of(checkpoint: Checkpoint) -> tuple[HeadSpec, ...]:
    """What a checkpoint can serve, with the global attention Hugging Face trains it with; embeddings are never its training.

    Multiple choice embeds without global tokens: its own are the tokens of an option, and a text alone has none.
    """
    task = checkpoint.task
    attention = ATTENTION.get(task, "none") if checkpoint.family.model_type.has_global else "none"
    embed = HeadSpec(
        name="embed",
        task="embed",
        output=HIDDEN,
        global_attention="none" if attention == "choice" else attention,
        pooling="mean",
        trained=False,
    )
    if checkpoint.head is None:
        return (embed,)
    head = HeadSpec(
        name=checkpoint.head,
        task=task,
        output=checkpoint.head,
        labels=checkpoint.labels,
        global_attention=attention,
        function=checkpoint.function,
        decoding="bio" if task == "ner" else None,
        layout="each" if task == "multiple-choice" else None,
        trained=True,
    )
    return (head, embed)


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
        with tempfile.TemporaryDirectory(dir=store, prefix=".export-") as folder:
            yield Path(folder)
    finally:
        for folder_made in made:
            if not any(folder_made.iterdir()):
                folder_made.rmdir()


def _chosen(heads: tuple[HeadSpec, ...], tasks: Sequence[Task] | None) -> tuple[HeadSpec, ...]:
    there = [head.task for head in heads]
    if absent := sorted(set(tasks or ()) - set(there)):
        raise CheckpointError(f"the checkpoint has no head for {', '.join(absent)}; it can serve {', '.join(there)}")
    return tuple(head for head in heads if tasks is None or head.task in tasks)


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


def _licence(source: Source) -> str | None:
    """The licence that the checkpoint's own card states."""
    path = source.folder / CARD_FILE
    if not path.is_file():
        return None
    stated = ModelCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=True).data.get("license")
    return stated if isinstance(stated, str) else None
