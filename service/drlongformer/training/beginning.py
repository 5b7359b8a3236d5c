"""What pretraining begins with: a Longformer, a RoBERTa that is made one, fresh weights, or the checkpoint of a stopped run.

Beside the model stand its heads and the tokenizer it reads with; that they fit together is checked here, before any training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tokenizers

from drlongformer.bundle import HeadSpec, TokenizerSpec
from drlongformer.errors import TrainingError
from drlongformer.model.checkpoint import load_hf
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.longformer import LongformerConfig
from drlongformer.model.tokenizer_files import convert_tokenizer
from drlongformer.training import disk, trained
from drlongformer.training.checkpoints import CHECKPOINT
from drlongformer.training.convert import from_roberta
from drlongformer.training.head_specs import class_head, language_head
from drlongformer.training.initial import initialise
from drlongformer.training.recipes import PretrainingRecipe
from drlongformer.training.tokenizer import digest, opened, spec_of
from drlongformer.types import Rule

TOKENIZER, CONFIG = "tokenizer.json", "config.json"
BLOCK = 128
"""Slots of a block where the checkpoint names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """What is trained: the model, its heads, the tokenizer it reads with, and where that lies.

    normalisation: what was put right in the texts that it learns from, and will be in those it reads.
    """

    model: LongformerWithHeads
    heads: tuple[HeadSpec, ...]
    tokenizer_json: bytes
    source: Path | None = None
    normalisation: tuple[Rule, ...] = ()

    def checked(self) -> TokenizerSpec:
        """How texts are read; raises TrainingError where tokenizer and model do not fit together."""
        spec, config = spec_of(self.tokenizer), self.model.longformer.config
        if max(self.tokenizer.get_vocab_size() - 1, spec.mask_id) >= config.vocab_size:
            raise TrainingError(f"{self.tokenizer.get_vocab_size()} tokens, but {config.vocab_size} rows of embeddings")
        if spec.pad_id != config.pad_token_id:
            raise TrainingError(f"the tokenizer's pad id is {spec.pad_id}, the model's {config.pad_token_id}")
        return spec.model_copy(update={"normalisation": self.normalisation})

    @property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """The tokenizer, read."""
        return tokenizers.Tokenizer.from_buffer(self.tokenizer_json)


def begun(recipe: PretrainingRecipe, *, tokenizer_json: Path | None, base: Path | None, labels: tuple[str, ...]) -> Learner:
    """What a fresh run begins with; raises TrainingError where the recipe lacks what its strategy needs.

    tokenizer_json: None for that of the checkpoint `base`. labels: of the class head, where the recipe has one.
    """
    heads = heads_of(recipe, labels)
    if recipe.architecture is not None:
        if tokenizer_json is None:
            raise TrainingError("strategy scratch needs a tokenizer.json")
        return _fresh(recipe.architecture, heads, tokenizer_json, seed=recipe.seed)
    if base is None:
        raise TrainingError(f"strategy {recipe.strategy} begins with a checkpoint, and none is given")
    # What `train convert` has made long already is taken as it is.
    if recipe.strategy == "convert" and not _is_longformer(base):
        encoder = from_roberta(base, head=heads[0], attention_window=recipe.attention_window, max_tokens=recipe.max_tokens)
    else:
        encoder = _continued(base, heads[0])
    model = _with_heads(encoder, heads, seed=recipe.seed)
    content = _tokenizer_of(base, model) if tokenizer_json is None else _read(tokenizer_json)
    return Learner(model=model, heads=heads, tokenizer_json=content, source=tokenizer_json or base / TOKENIZER)


def _fresh(architecture: LongformerConfig, heads: tuple[HeadSpec, ...], tokenizer_json: Path, *, seed: int) -> Learner:
    content = _read(tokenizer_json)
    vocabulary = tokenizers.Tokenizer.from_buffer(content).get_vocab_size()
    model = trained.build(replace(architecture, vocab_size=vocabulary), heads)
    initialise(model, seed=seed)
    return Learner(model=model, heads=heads, tokenizer_json=content, source=tokenizer_json)


def resumed(output: Path, *, tokenizer_json: Path | None) -> Learner:
    """What the last checkpoint holds; raises TrainingError where the run was begun with another tokenizer than is given."""
    checkpoint = output / CHECKPOINT
    model, heads = trained.load(checkpoint)
    content, source = trained.tokenizer_of(checkpoint).content, checkpoint / TOKENIZER
    learner = Learner(model=model, heads=heads, tokenizer_json=content, source=source)
    if tokenizer_json is not None and digest(opened(tokenizer_json)) != digest(learner.tokenizer):
        raise TrainingError(f"{output} was begun with another tokenizer than {tokenizer_json}, its own is {source}")
    return learner


def _read(tokenizer_json: Path) -> bytes:
    """The file's content; raises TrainingError where it is no tokenizer."""
    opened(tokenizer_json)
    return tokenizer_json.read_bytes()


def heads_of(recipe: PretrainingRecipe, labels: tuple[str, ...]) -> tuple[HeadSpec, ...]:
    """The heads that pretraining trains."""
    language = language_head(first_global=recipe.batches.first_global)
    return (language,) if recipe.head is None else (language, class_head(recipe.head, labels))


def write_base(base: Path, output: Path, *, attention_window: int, max_tokens: int) -> None:
    """A checkpoint as this project writes them: a Longformer as it is, a RoBERTa or CamemBERT converted.

    Raises TrainingError where the folder exists, CheckpointError where the checkpoint cannot be read.
    """
    if output.exists():
        raise TrainingError(f"{output} exists already")
    head = language_head(first_global=False)
    if _is_longformer(base):
        model = _continued(base, head)
    else:
        model = from_roberta(base, head=head, attention_window=attention_window, max_tokens=max_tokens)
    learner = Learner(model=model, heads=(head,), tokenizer_json=_tokenizer_of(base, model))
    learner.checked()
    with disk.whole(output) as beside:
        trained.save(beside, learner.model, learner.heads, learner.tokenizer_json)


def _tokenizer_of(base: Path, model: LongformerWithHeads) -> bytes:
    """The checkpoint's `tokenizer.json`, made of its other files where it has none."""
    if (base / TOKENIZER).is_file():
        return _read(base / TOKENIZER)
    config = model.longformer.config
    return convert_tokenizer(base, vocab_size=config.vocab_size, pad_id=config.pad_token_id).content


def _is_longformer(base: Path) -> bool:
    return bool(disk.read_json(base / CONFIG).get("model_type") == "longformer")


def _continued(base: Path, head: HeadSpec) -> LongformerWithHeads:
    """A Longformer with its masked-word head, under our name of it."""
    if not _is_longformer(base):
        raise TrainingError(f"{base.name} is no Longformer; strategy convert makes one of a RoBERTa or CamemBERT")
    if trained.is_trained(base):
        trained.check(base)
    described = disk.read_json(base / CONFIG)
    read = load_hf(base, block=described.get("block", BLOCK))
    if read.head is None or read.family.task != "fill-mask":
        raise TrainingError(f"{base.name} has no masked-word head, its task is {read.family.task}")
    return LongformerWithHeads(read.model.longformer, {head.output: read.model.heads[read.head]})


def _with_heads(encoder: LongformerWithHeads, heads: Sequence[HeadSpec], *, seed: int) -> LongformerWithHeads:
    """The same weights in a model that also has the other heads, fresh."""
    if len(heads) == 1:
        return encoder
    model = trained.build(encoder.longformer.config, heads)
    initialise(model, seed=seed)
    model.load_state_dict(encoder.state_dict(), strict=False)
    return model
