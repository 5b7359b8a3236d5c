"""One fine-tuning: a base, annotated documents for one or several heads, and the best epoch of the run as a trained folder.

    pieces of documents -> micro-batches -> Trainer -> every epoch judged on held-out documents -> the best one kept

All heads share one encoder. With a frozen encoder only the new heads learn, so those the base has keep their answers to the
last bit; otherwise the encoder moves under them, which the provenance says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing

from drlongformer.bundle import HeadSpec, TokenizerSpec
from drlongformer.errors import TrainingError
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.longformer import Layer
from drlongformer.text.tokenizer import Tokenizer
from drlongformer.training import trained
from drlongformer.training.base import Base, freeze, grown, together
from drlongformer.training.checkpoints import CHECKPOINT, check_start
from drlongformer.training.dataset import Batch
from drlongformer.training.distributed import Group
from drlongformer.training.judging import judge
from drlongformer.training.objective import Kind, kind_of, losses
from drlongformer.training.pieces import pieces_of
from drlongformer.training.recipes import OptimisationRecipe
from drlongformer.training.records.augment import augmented
from drlongformer.training.records.record import Record, SpanRecord, TextRecord, digest
from drlongformer.training.selection import BEST, Selection
from drlongformer.training.subject import Subject
from drlongformer.training.trainer import Trainer
from drlongformer.training.units import Units, Variants, sizes
from drlongformer.training.wanted_heads import HeadRequest, head_of

HEAVIEST = 10.0
"""The most that a rare label may count, beside 1 for the others."""

OnLog = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSettings:
    """How a fine-tuning is done; the defaults are those of the paper's authors, but for batches, which are packed.

    batch_documents: documents of a step, on average. micro_tokens: token slots computed at a time, what the memory holds.
    patience: epochs without a better one after which it ends. seconds: a time budget, if any. class_weights: `balanced` counts
    labels by their rarity, at most HEAVIEST times. augmentations: `accents`, `case`, `wrap`; half of the documents of an epoch
    are rewritten by one of them. gradient_checkpointing: layers are computed twice instead of being remembered.
    checkpoint_seconds: a killed run loses no more than that; it says nothing of what is learnt, so it may change.
    """

    learning_rate: float = 2e-5
    epochs: int = 24
    patience: int = 5
    batch_documents: int = 8
    micro_tokens: int = 8192
    warmup_share: float = 0.1
    dropout: float = 0.1
    seconds: float | None = None
    class_weights: Literal["none", "balanced"] = "none"
    augmentations: tuple[str, ...] = ()
    freeze_encoder: bool = False
    gradient_checkpointing: bool = False
    bfloat16: bool = False
    temperature: float = 0.05
    seed: int = 0
    checkpoint_seconds: float = field(default=60.0, repr=False)

    def __post_init__(self) -> None:
        for name in ("learning_rate", "epochs", "patience", "batch_documents", "micro_tokens"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"{name} is {getattr(self, name)}, which must be more than 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    """What one head learns from, and what chooses its epoch."""

    request: HeadRequest
    train: tuple[Record, ...]
    dev: tuple[Record, ...]

    def __post_init__(self) -> None:
        if not self.train or not self.dev:
            raise TrainingError(
                f"head {self.request.name!r}: {len(self.train)} documents to learn from, {len(self.dev)} for dev"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The folder of the best epoch, its score on the dev documents, and the epochs judged."""

    folder: Path
    score: float
    history: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is trained: the model, all its heads, those that learn, and the documents of each."""

    model: LongformerWithHeads
    heads: tuple[HeadSpec, ...]
    learning: tuple[HeadSpec, ...]
    data: tuple[TaskData, ...]
    tokenizer: Tokenizer
    tokenizer_json: bytes
    spec: TokenizerSpec

    def subject(self) -> Subject:
        """The model as it is now, answering through the code that serves."""
        return Subject.of_model(self.model, self.heads, self.tokenizer, self.spec)

    def save(self, folder: Path, heads: Sequence[HeadSpec]) -> None:
        """Write the model with these heads as a trained folder."""
        trained.save(folder, self.model, heads, self.tokenizer_json, spec=self.spec)


def fit(
    base: Base,
    data: Sequence[TaskData],
    settings: TuningSettings,
    *,
    output: Path,
    device: torch.device | None = None,
    keep_heads: bool = True,
    resume: bool = False,
    on_log: OnLog | None = None,
) -> Fitted:
    """Fine-tune into `output`, with `resume` from the last checkpoint there; raises TrainingError for what cannot be learnt."""
    check_start(output, resume=resume)
    setup = planned(base, data, settings, keep_heads=keep_heads)
    if resume:
        setup.model.load_state_dict(trained.load(output / CHECKPOINT)[0].state_dict())
    freeze(setup.model, trained_heads=[head.output for head in setup.learning], encoder=settings.freeze_encoder)
    if settings.gradient_checkpointing:
        apply_activation_checkpointing(setup.model, check_fn=lambda module: isinstance(module, Layer))
    selection = Selection(folder=output, patience=settings.patience)
    trainer = _trainer(setup, settings, selection, output=output, device=device or torch.device("cpu"), on_log=on_log)
    if resume:
        trainer.resume()
        selection.resume(trainer.progress.step)
    trainer.run()
    best = selection.best
    assert best is not None, "every run ends with an epoch judged"
    return Fitted(folder=output / BEST, score=best["score"], history=tuple(selection.history))


def planned(base: Base, data: Sequence[TaskData], settings: TuningSettings, *, keep_heads: bool) -> Setup:
    """The model with its new heads, and who learns from what."""
    names = [one.request.name for one in data]
    if len(set(names)) != len(names):
        raise TrainingError(f"heads {', '.join(names)}: each needs a name of its own")
    learning = tuple(head_of(one.request, one.train) for one in data)
    heads = together(base, learning, keep=keep_heads)
    if settings.freeze_encoder and any(head.task == "embed" for head in learning):
        raise TrainingError("embeddings are the encoder's own answer: with a frozen encoder they cannot learn")
    return Setup(
        model=grown(base, heads, dropout=settings.dropout, seed=settings.seed),
        heads=heads,
        learning=learning,
        data=tuple(data),
        tokenizer=Tokenizer(json.loads(base.tokenizer.content), spec=base.tokenizer.spec),
        tokenizer_json=base.tokenizer.content,
        spec=base.tokenizer.spec,
    )


def _trainer(
    setup: Setup, settings: TuningSettings, selection: Selection, *, output: Path, device: torch.device, on_log: OnLog | None
) -> Trainer:
    block = setup.model.longformer.config.block
    documents = variants_of(setup, settings.augmentations)
    size = sizes(documents, batch_documents=settings.batch_documents, micro_tokens=settings.micro_tokens, block=block)
    units = Units(
        documents=documents,
        heads=tuple(setup.model.heads),
        block=block,
        room=size.room,
        seed=settings.seed,
        global_slots=(0,) if setup.learning[0].global_attention == "first" else (),
    )
    epoch_steps = math.ceil(len(units.epoch(0)) / size.micro_batches)
    kinds: dict[str, Kind] = {head.output: kind_of(head) for head in setup.learning}
    label_weights = _label_weights(setup) if settings.class_weights == "balanced" else {}

    def objective(model: LongformerWithHeads, batch: Batch) -> Mapping[str, Tensor]:
        return losses(model, batch, weights={}, kinds=kinds, label_weights=label_weights, temperature=settings.temperature)

    read = digest(record for one in setup.data for record in (*one.train, *one.dev))
    trainer = Trainer(
        model=setup.model,
        batches=units,
        objective=objective,
        recipe=_optimisation(settings, epoch_steps),
        seed=settings.seed,
        folder=output,
        save=lambda place: setup.save(place, setup.heads),
        held_out=lambda: _judge(setup, selection, trainer.progress.step),
        micro_batches=size.micro_batches,
        group=Group(device=device),
        identity={
            "settings": repr(settings),
            "documents": read,
        },
        ended=lambda: selection.ended,
        on_log=on_log,
    )
    return trainer


def _optimisation(settings: TuningSettings, epoch_steps: int) -> OptimisationRecipe:
    steps = settings.epochs * epoch_steps
    return OptimisationRecipe(
        learning_rate=settings.learning_rate,
        steps=steps,
        warmup_steps=max(1, round(settings.warmup_share * steps)),
        seconds=settings.seconds,
        betas=(0.9, 0.999),
        eps=1e-8,
        bfloat16=settings.bfloat16,
        log_steps=max(1, epoch_steps // 4),
        held_out_steps=epoch_steps,
        checkpoint_seconds=settings.checkpoint_seconds,
    )


def variants_of(setup: Setup, augmentations: Sequence[str]) -> list[Variants]:
    """Every training document's pieces, as it is and rewritten; raises TrainingError naming one that cannot be read."""
    subject, documents = setup.subject(), list[Variants]()
    for head, one in zip(setup.learning, setup.data, strict=True):
        for record in one.train:
            versions = [record, *(augmented(record, (name,)) for name in augmentations)]
            number = len(documents)
            documents.append(tuple(pieces_of(version, head, subject, number=number) for version in versions))
    return documents


def _judge(setup: Setup, selection: Selection, step: int) -> dict[str, float]:
    """Judge the model as it is, keep it if it is the best so far, and tell the scores."""
    if selection.judged(step):
        return {}
    subject = setup.subject()
    judged = {head.name: judge(subject, head, one.dev, tune=True) for head, one in zip(setup.learning, setup.data, strict=True)}
    heads = [judged[head.name].head if head.name in judged else head for head in setup.heads]
    selection.add(
        step=step,
        score=float(np.mean([one.score for one in judged.values()])),
        scores={name: one.headline for name, one in judged.items()},
        save=lambda place: setup.save(place, heads),
    )
    return {f"{name}_{key}": value for name, one in judged.items() for key, value in one.headline.items()}


def _label_weights(setup: Setup) -> dict[str, Tensor]:
    """Per head what each of its labels counts: the mean frequency over its own, at most HEAVIEST; 1 for every tag O."""
    weights = {}
    for head, one in zip(setup.learning, setup.data, strict=True):
        if head.labels and head.task in ("classify", "ner"):
            counts = np.array([_count(label, one.train) for label in head.labels], dtype=np.float64)
            present = counts[counts > 0]
            rarity = np.clip(present.mean() / np.maximum(counts, 1.0), 1.0 / HEAVIEST, HEAVIEST)
            weights[head.output] = torch.tensor(np.where(counts > 0, rarity, 1.0), dtype=torch.float32)
    return weights


def _count(label: str, records: Sequence[Record]) -> int:
    """How many documents have a class, or how many spans a tag stands for."""
    kind = label.split("-", 1)[-1]
    return sum(
        (label in record.labels) if isinstance(record, TextRecord) else sum(span.label == kind for span in record.spans)
        for record in records
        if isinstance(record, (TextRecord, SpanRecord))
    )
