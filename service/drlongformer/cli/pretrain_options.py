"""The flags of `drlongformer train pretrain`, in groups (see `groups`); None leaves what the recipe says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from drlongformer.cli.options import Output, Revision

Strategy = Annotated[str | None, typer.Option(metavar="continue|convert|scratch", help="Where the model begins.")]
Recipe = Annotated[str | None, typer.Option(help="Settings; paper-STRATEGY by default, see `train recipes`.")]
Base = Annotated[str | None, typer.Option("--from", help="Checkpoint to begin with: a folder or a Hub id.")]
Tokenizer = Annotated[Path | None, typer.Option(help="tokenizer.json of the corpus; the checkpoint's by default.")]
Corpus = Annotated[Path, typer.Option(help="Folder that `train corpus` wrote; its held-out part is scored on.")]
Device = Annotated[str, typer.Option(metavar="cpu|cuda[:i]", help="Device; under torchrun each process takes one.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")]

Steps = Annotated[int | None, typer.Option(help="Steps; replaces the recipe's epochs.")]
Epochs = Annotated[float | None, typer.Option(help="How often every document is read; replaces the steps.")]
Seconds = Annotated[float | None, typer.Option(help="Time budget; the rate reaches zero at its end.")]

BatchTokens = Annotated[int | None, typer.Option(help="Token slots of a step, over all processes.")]
MicroTokens = Annotated[int | None, typer.Option(help="Token slots a process computes at once: less memory.")]
WindowTokens = Annotated[list[int] | None, typer.Option(help="Longest window, drawn per document; may be repeated.")]
LearningRate = Annotated[float | None, typer.Option(help="Peak learning rate.")]
WarmupSteps = Annotated[int | None, typer.Option(help="Steps until the peak.")]
Seed = Annotated[int | None, typer.Option(help="Order, masks and dropout.")]
WholeWords = Annotated[bool | None, typer.Option("--whole-words/--no-whole-words", help="Mask words as a whole.")]
FirstGlobal = Annotated[bool | None, typer.Option("--global/--no-global", help="Global attention of <s>.")]
Bf16 = Annotated[bool | None, typer.Option("--bf16/--no-bf16", help="Compute in bfloat16.")]
CopyLocalToGlobal = Annotated[
    bool | None, typer.Option("--copy-local-to-global/--no-copy-local-to-global", help="At the end, as published.")
]
Architecture = Annotated[Path | None, typer.Option(help="config.json of a Longformer, for strategy scratch.")]

LogSteps = Annotated[int | None, typer.Option(help="Steps between entries of the log.")]
HeldOutSteps = Annotated[int | None, typer.Option(help="Steps between held-out scores.")]
CheckpointSeconds = Annotated[float | None, typer.Option(help="Seconds between checkpoints.")]
Tensorboard = Annotated[bool, typer.Option("--tensorboard/--no-tensorboard", help="Write event files.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be trained, and train nothing.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What it begins with."""

    strategy: Strategy = None
    recipe: Recipe = None
    base: Base = None
    revision: Revision = None
    tokenizer: Tokenizer = None
    corpus: Corpus
    architecture: Architecture = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """What a step reads."""

    batch_tokens: BatchTokens = None
    micro_tokens: MicroTokens = None
    window_tokens: WindowTokens = None
    whole_words: WholeWords = None
    first_global: FirstGlobal = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimising:
    """How it learns, and for how long."""

    steps: Steps = None
    epochs: Epochs = None
    seconds: Seconds = None
    learning_rate: LearningRate = None
    warmup_steps: WarmupSteps = None
    bf16: Bf16 = None
    seed: Seed = None
    copy_local_to_global: CopyLocalToGlobal = None
    log_steps: LogSteps = None
    held_out_steps: HeldOutSteps = None
    checkpoint_seconds: CheckpointSeconds = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The run itself."""

    output: Output
    device: Device = "cpu"
    resume: Resume = False
    tensorboard: Tensorboard = True
    dry_run: DryRun = False
