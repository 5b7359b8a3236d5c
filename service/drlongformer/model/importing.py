"""From a Hugging Face checkpoint to a bundle: what of it is served, and how its heads are read.

SOURCE -> fetch -> load_hf + convert_tokenizer -> heads_of -> bundling.export_bundle
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from huggingface_hub import ModelCard

from drlongformer.bundle import HeadSpec
from drlongformer.errors import CheckpointError
from drlongformer.model.bundling import CARD_FILE, About, Check, Extras, Report, check_name, export_bundle
from drlongformer.model.checkpoint import Checkpoint, load_hf
from drlongformer.model.families import without_global
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.hub import Source, fetch
from drlongformer.model.reference import reference_of
from drlongformer.model.rounding import Int8
from drlongformer.model.tags import MergedTagHead, as_bio
from drlongformer.model.tokenizer_files import WordSplitting, convert_tokenizer
from drlongformer.model.weights import read_json
from drlongformer.types import HIDDEN, Rule, Task

logger = logging.getLogger(__name__)

Attention = Literal["none", "first", "choice"]
ATTENTION: Mapping[Task, Attention] = {"classify": "first", "similarity": "first", "multiple-choice": "choice"}
"""The global tokens that Hugging Face's Longformer classes choose by themselves; the others have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How a checkpoint is imported. tasks: those to serve, by default all that it has. block: token slots of a block.

    word_splitting and normalisation: what the heads were trained on, see `convert_tokenizer`. standard, check, int8, cuda:
    see `Extras`.
    """

    tasks: Sequence[Task] | None = None
    word_splitting: WordSplitting | None = None
    normalisation: tuple[Rule, ...] = ()
    standard: bool = False
    check: Check | None = None
    int8: Int8 | None = None
    cuda: bool = False
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
            cuda=wanted.cuda,
        ),
        report=report,
    )


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


def _chosen(heads: tuple[HeadSpec, ...], tasks: Sequence[Task] | None) -> tuple[HeadSpec, ...]:
    there = [head.task for head in heads]
    if absent := sorted(set(tasks or ()) - set(there)):
        raise CheckpointError(f"the checkpoint has no head for {', '.join(absent)}; it can serve {', '.join(there)}")
    return tuple(head for head in heads if tasks is None or head.task in tasks)


def _licence(source: Source) -> str | None:
    """The licence that the checkpoint's own card states."""
    path = source.folder / CARD_FILE
    if not path.is_file():
        return None
    stated = ModelCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=True).data.get("license")
    return stated if isinstance(stated, str) else None
