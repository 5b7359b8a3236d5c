"""The flags of `drlongformer train finetune` in groups (`groups.py`): what is learnt, which heads, how, how often."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from drlongformer.cli import options
from drlongformer.cli.normalising import NormaliseOption

Base = Annotated[Path, typer.Option(help="A Hugging Face checkpoint's folder, or a trained folder, whose heads stay.")]
Tasks = Annotated[list[str], typer.Option(metavar="ner|classify|similarity|multiple-choice", help="May be repeated.")]
Train = Annotated[list[Path], typer.Option(help="Annotations to learn from, one for each task.")]
Output = Annotated[Path, typer.Option(help="Folder of the runs; the model is its trained/.")]
Paths = Annotated[list[Path] | None, typer.Option(help="Annotations of each task, in the order of the tasks.")]
DevShare = Annotated[float, typer.Option(help="Share of the training documents for dev, where no --dev is given.")]

Heads = Annotated[list[str] | None, typer.Option(help="Name of each task's head.")]
Several = Annotated[
    bool | None, typer.Option("--several/--single", help="Any number of labels or right answers; what is found by default.")
]
Layout = Annotated[Literal["each", "joint"], typer.Option(help="Options in windows of their own, or all in one.")]
Contrastive = Annotated[bool, typer.Option("--contrastive", help="Similarity: train the embedding, not a head.")]
ScoreRange = Annotated[str, typer.Option(metavar="LOW,HIGH", help="Similarity: the scale of the scores.")]
WordSplitting = Annotated[
    Literal["raw", "words"] | None, typer.Option(help="Running text, or words one by one; the base's by default.")
]
GlobalAttention = Annotated[
    Literal["first", "none"] | None, typer.Option(help="Whether <s> sees everything; the base's by default.")
]
KeepHeads = Annotated[bool, typer.Option(help="Keep the heads that the base has.")]

FreezeEncoder = Annotated[bool, typer.Option("--freeze-encoder", help="Train heads alone; others keep their answers.")]
Epochs = Annotated[int, typer.Option(min=1, help="At most.")]
Patience = Annotated[int, typer.Option(min=1, help="Epochs without a better one after which it ends.")]
LearningRate = Annotated[float, typer.Option(help="At its peak.")]
Batch = Annotated[int, typer.Option(min=1, help="Documents of a step, on average.")]
MicroTokens = Annotated[int, typer.Option(min=1, help="Token slots computed at a time: what the memory holds.")]
Seconds = Annotated[float | None, typer.Option(help="Time budget of a run.")]
ClassWeights = Annotated[Literal["none", "balanced"], typer.Option(help="Whether rare labels count more.")]
Augment = Annotated[str, typer.Option(metavar="accents,case,wrap", help="Rewritings of half of the documents.")]
GradientCheckpointing = Annotated[bool, typer.Option("--gradient-checkpointing", help="Less memory, a third more time.")]
Bf16 = Annotated[bool | None, typer.Option(help="Compute in bfloat16; on CUDA by default.")]

Seeds = Annotated[str, typer.Option(metavar="0,1,...", help="A run each; the best on dev is kept.")]
Folds = Annotated[int, typer.Option(min=0, help="Cross-validate first, with so many folds.")]
LearningCurve = Annotated[str, typer.Option(metavar="50,100,...", help="Also train on so many documents.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What it learns from."""

    train: Train
    dev: Paths = None
    test: Paths = None
    format: options.Format = "auto"
    group_by: options.GroupBy = None
    encoding: options.Encoding = "utf-8"
    dev_share: DevShare = 0.15
    word_splitting: WordSplitting = None
    normalise: NormaliseOption = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Which heads."""

    task: Tasks
    head: Heads = None
    several: Several = None
    layout: Layout = "each"
    contrastive: Contrastive = False
    score_range: ScoreRange = "0,5"
    global_attention: GlobalAttention = None
    keep_heads: KeepHeads = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """How it learns."""

    freeze_encoder: FreezeEncoder = False
    epochs: Epochs = 24
    patience: Patience = 5
    learning_rate: LearningRate = 2e-5
    batch: Batch = 8
    micro_tokens: MicroTokens = 8192
    seconds: Seconds = None
    class_weights: ClassWeights = "none"
    augment: Augment = ""
    gradient_checkpointing: GradientCheckpointing = False
    bf16: Bf16 = None
    device: options.Device = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeating:
    """How often."""

    seeds: Seeds = "0"
    folds: Folds = 0
    learning_curve: LearningCurve = ""
