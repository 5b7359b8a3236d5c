"""From a Hugging Face checkpoint, or a model just trained, to a bundle: read, export, prove, write.

    SOURCE -> fetch -> load_hf + convert_tokenizer -> heads_of -> export_bundle: export + prove -> bundle.write

A model that is not proved equal is not written.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import ModelCard

from drlongformer import bundle
from drlongformer.bundle import GraphSpec, HeadSpec, Manifest
from drlongformer.errors import BundleError, CheckpointError
from drlongformer.model.card import card
from drlongformer.model.checkpoint import Checkpoint, architecture, load_hf
from drlongformer.model.export import export
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.hub import Source, fetch
from drlongformer.model.reference import Reference, reference_of
from drlongformer.model.tokenizer_files import TokenizerFile, convert_tokenizer
from drlongformer.types import HIDDEN, Task

logger = logging.getLogger(__name__)

CARD_FILE = "README.md"
WINDOW_OVERLAP = 512  # tokens, for models long enough
Report = Callable[[str], None]
"""Told each step as it begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a bundle says of itself, in the manifest's fields. version: by default the next. readme: a card of one's own."""

    name: str
    version: int | None = None
    base_model: str | None = None
    base_revision: str | None = None
    licence: str | None = None
    patient_data: bool = False
    description: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    readme: str | None = None


def import_model(
    source: str,
    *,
    name: str,
    store: Path,
    revision: str | None = None,
    tasks: Sequence[Task] | None = None,
    licence: str | None = None,
    block: int = 128,
    report: Report = logger.info,
) -> Path:
    """Import a local checkpoint folder or a Hub repository; returns the new version's folder in the store.

    tasks: the tasks to serve, by default all that the checkpoint has. licence: by default what its card says.
    Raises CheckpointError, ParityError or BundleError; nothing is written then.
    """
    report(f"fetching {source}")
    found = fetch(source, revision=revision)
    report("reading the checkpoint and its tokenizer")
    checkpoint = load_hf(found.folder, block=block)
    heads = _chosen(heads_of(checkpoint), tasks)
    config = checkpoint.model.longformer.config
    tokenizer = convert_tokenizer(
        found.folder,
        vocab_size=config.vocab_size,
        pad_id=config.pad_token_id,
        for_ner=any(head.task == "ner" for head in heads),
    )
    about = About(
        name=name,
        base_model=found.origin,
        base_revision=found.revision,
        licence=licence or _licence(found),
        description=f"Imported from {found.origin} ({checkpoint.family.architecture}).",
    )
    return export_bundle(
        checkpoint.model, heads, tokenizer, about=about, store=store, reference=reference_of(checkpoint), report=report
    )


def export_bundle(
    model: LongformerWithHeads,
    heads: Sequence[HeadSpec],
    tokenizer: TokenizerFile,
    *,
    about: About,
    store: Path,
    store_fp16: bool = False,
    reference: Reference | None = None,
    report: Report = logger.info,
) -> Path:
    """Export a model, prove it and write it as a new version of a bundle; returns the version's folder.

    Heads of the model that no head specification reads are left out. store_fp16: matrices take half the room, and lose their
    last bits. reference: Hugging Face's side of the proof, by default built from the model's weights.
    """
    if about.version in bundle.versions(store, about.name):
        raise BundleError(f"{about.name} has a version {about.version} already; versions are never overwritten")
    model = _with_heads_read(model, heads)
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store, prefix=".export-") as scratch:
        graph = export(model, Path(scratch), reference=reference, store_fp16=store_fp16, report=report)
        manifest = _manifest(model, heads, tokenizer, about, graph, bundle.next_version(store, about.name))
        report("writing the bundle")
        sources: dict[str, Path | bytes] = {name: Path(scratch) / name for name in (graph.file, graph.weights) if name}
        sources |= {tokenizer.spec.file: tokenizer.content, CARD_FILE: (about.readme or card(manifest)).encode()}
        return bundle.write(store, manifest, sources)


def heads_of(checkpoint: Checkpoint) -> tuple[HeadSpec, ...]:
    """What a checkpoint can serve, with the global attention Hugging Face trains it with; embeddings are never its training.

    Raises CheckpointError for multiple choice, and for tags that are not BIO.
    """
    task = checkpoint.family.task
    attention: Literal["none", "first"] = "first" if task == "classify" else "none"
    embed = HeadSpec(name="embed", task="embed", output=HIDDEN, global_attention=attention, pooling="mean", trained=False)
    if checkpoint.head is None:
        return (embed,)
    if task == "multiple-choice":
        raise CheckpointError(
            "multiple choice has global attention on the tokens of the option; a bundle can only say none or the first token"
        )
    if task == "ner":
        _check_bio(checkpoint.labels)
    head = HeadSpec(
        name=checkpoint.head,
        task=task,
        output=checkpoint.head,
        labels=checkpoint.labels,
        global_attention=attention,
        function=checkpoint.function,
        decoding="bio" if task == "ner" else None,
        trained=True,
    )
    return (head, embed)


def _chosen(heads: tuple[HeadSpec, ...], tasks: Sequence[Task] | None) -> tuple[HeadSpec, ...]:
    there = [head.task for head in heads]
    if absent := sorted(set(tasks or ()) - set(there)):
        raise CheckpointError(f"the checkpoint has no head for {', '.join(absent)}; it can serve {', '.join(there)}")
    return tuple(head for head in heads if tasks is None or head.task in tasks)


def _check_bio(labels: tuple[str, ...]) -> None:
    if strange := [label for label in labels if not re.fullmatch(r"O|[BI]-.+", label)]:
        raise CheckpointError(
            f"{len(strange)} of {len(labels)} labels are not BIO tags (O, B-NAME, I-NAME): {', '.join(strange[:5])}; "
            "give them their names in id2label of config.json"
        )


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
    graph: GraphSpec,
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
        graphs=(graph,),
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
