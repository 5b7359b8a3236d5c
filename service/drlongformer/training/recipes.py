"""What a recipe says: what is trained, on which sets, how long; each recipe is a function that returns one of these.

A recipe names architecture, tokenizer, corpus, batches and optimisation; the modules beside this one do what it says.
Everything that changes the result of a training run is here, nothing that depends on the machine but the time budgets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from drlongformer.errors import TrainingError
from drlongformer.model.longformer import LongformerConfig
from drlongformer.training.lessons import Source

SHIPPED_POLICIES = ("train", "train-nc")
"""Policies of sets that may go into a model that is shipped; the others bind or forbid derivatives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerRecipe:
    """A BPE; words met in fewer than `min_documents` documents take no part, so rare names become no tokens.

    layout: `roberta` is byte-level with RoBERTa's special ids, `camembert` is SentencePiece's BPE with CamemBERT's.
    """

    vocab_size: int = 12288
    min_documents: int = 5
    layout: Literal["roberta", "camembert"] = "roberta"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusRecipe:
    """Raw text: sets read for training, sets read for held-out scores; `labelled` is the set whose classes `head` learns."""

    sets: tuple[str, ...]
    held_out: tuple[str, ...]
    labelled: str | None = None
    head: str | None = None
    head_weight: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecipe:
    """How masked batches are made: windows of at most one of `window_tokens` tokens, in micro-batches of token slots.

    A document draws one entry of `window_tokens` (special tokens included) each epoch and is cut into equal windows.
    batch_tokens: slots of a step, over all processes. micro_tokens: slots that one process computes at a time, what its memory
    holds; the whole step where none or more is given. whole_words: all tokens of a word are masked together, or none.
    first_global: whether `<s>` has global attention, so that the `_global` projections learn.
    """

    batch_tokens: int = 8192
    micro_tokens: int | None = None
    window_tokens: tuple[int, ...] = (4096, 4096, 1024, 512, 256)
    masked_share: float = 0.15
    whole_words: bool = False
    first_global: bool = True

    def __post_init__(self) -> None:
        if min(self.window_tokens) < 3:
            raise TrainingError(f"windows of {min(self.window_tokens)} tokens, but two are special and one is content")
        if not 0.0 < self.masked_share < 1.0:
            raise TrainingError(f"a masked share of {self.masked_share}, which must lie between 0 and 1")
        if self.batch_tokens % self.micro_slots:
            raise TrainingError(f"{self.batch_tokens} tokens a step are no multiple of {self.micro_slots} a micro-batch")

    @property
    def micro_slots(self) -> int:
        """Token slots of a micro-batch."""
        return min(self.micro_tokens or self.batch_tokens, self.batch_tokens)

    @property
    def micro_batches(self) -> int:
        """Micro-batches of a step, over all processes."""
        return self.batch_tokens // self.micro_slots


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimisationRecipe:
    """AdamW with linear warm-up, then linear decay to zero at `steps`, or at `seconds` of training where that comes first.

    diverged: the run is stopped when the mean loss of `log_steps` steps is so many times the best one before; None for never.
    """

    learning_rate: float
    steps: int
    warmup_steps: int
    seconds: float | None = None
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    clip_norm: float = 1.0
    bfloat16: bool = False
    log_steps: int = 50
    checkpoint_seconds: float = 240.0
    held_out_steps: int = 500
    diverged: float | None = None

    def __post_init__(self) -> None:
        for name in ("learning_rate", "steps", "warmup_steps", "log_steps", "held_out_steps", "eps", "clip_norm"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"{name} is {getattr(self, name)}, which must be more than 0")


Strategy = Literal["continue", "convert", "scratch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingRecipe:
    """Masked-word training, from one of three beginnings.

    base: where `continue` and `convert` begin, as the Hub names it. architecture: of `scratch`; `convert` takes sizes from the
    base, and `attention_window` and `max_tokens` from here. epochs: how often every document is read; gives the steps in the
    place of `optimisation.steps`. copy_local_to_global: at the end the `_global` projections become copies of the local ones.
    head, head_weight: a class head that labelled documents train beside it, and what its loss weighs. held_out_tokens: how
    much of the held-out documents is read each time they are scored.
    """

    strategy: Strategy
    seed: int
    description: str
    batches: BatchRecipe
    optimisation: OptimisationRecipe
    base: str | None = None
    architecture: LongformerConfig | None = None
    attention_window: int = 512
    max_tokens: int = 4096
    epochs: float | None = None
    copy_local_to_global: bool = False
    head: str | None = None
    head_weight: float = 0.1
    held_out_tokens: int = 98_304

    def __post_init__(self) -> None:
        if (self.strategy == "scratch") != (self.architecture is not None):
            raise TrainingError(
                f"strategy {self.strategy} {'without' if self.architecture is None else 'with'} an architecture"
            )
        if self.strategy == "scratch" and self.base is not None:
            raise TrainingError(f"strategy scratch begins with no checkpoint, but {self.base} is named")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuningRecipe:
    """All heads on one encoder: what a step draws, and what each loss weighs (`embedding` is the name of the embedding's)."""

    optimisation: OptimisationRecipe
    sources: tuple[Source, ...]
    weights: tuple[tuple[str, float], ...]
    dropout: float = 0.1
    temperature: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSet:
    """One split on which one head is scored; `baseline` is what to compare it with, for the card."""

    head: str
    set: str
    split: str
    baseline: str | None = None

    @property
    def key(self) -> str:
        """Its name in a file of scores."""
        return f"{self.set}/{self.split}/{self.head}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRecipe:
    """What is scored; splits named `test` are for the card, never for choosing."""

    tests: tuple[TestSet, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One model from raw text to heads.

    revision: counts what was changed under one name, so that the provenance of a model tells which recipe made it.
    """

    name: str
    revision: int
    seed: int
    architecture: LongformerConfig
    tokenizer: TokenizerRecipe
    corpus: CorpusRecipe
    batches: BatchRecipe
    pretraining: OptimisationRecipe
    finetuning: FinetuningRecipe
    evaluation: EvaluationRecipe
    description: str
    licence: str
    policies: tuple[str, ...] = SHIPPED_POLICIES

    @property
    def masked_words(self) -> PretrainingRecipe:
        """The stage that trains on masked words."""
        return PretrainingRecipe(
            strategy="scratch",
            seed=self.seed,
            description=self.description,
            batches=self.batches,
            optimisation=self.pretraining,
            architecture=self.architecture,
            head=self.corpus.head,
            head_weight=self.corpus.head_weight,
        )
