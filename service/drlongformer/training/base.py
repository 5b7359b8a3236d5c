"""What fine-tuning begins with: a Hugging Face checkpoint or a trained folder, and the same model with more heads on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from drlongformer.bundle import HeadSpec
from drlongformer.errors import TrainingError
from drlongformer.model.checkpoint import load_hf
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.importing import heads_of
from drlongformer.model.tokenizer_files import TokenizerFile, convert_tokenizer
from drlongformer.training import disk, trained
from drlongformer.types import Rule

INITIAL_DEVIATION = 0.02
PROVENANCE = "provenance.json"
SCORES = "scores.json"

WordSplitting = Literal["raw", "words"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A model to go on from. heads: those it has. provenance: what its own training wrote down, if anything."""

    name: str
    model: LongformerWithHeads
    heads: tuple[HeadSpec, ...]
    tokenizer: TokenizerFile
    provenance: dict[str, Any]


def read_base(
    folder: Path, *, word_splitting: WordSplitting | None = None, normalisation: tuple[Rule, ...] | None = None
) -> Base:
    """Read a trained folder or a Hugging Face checkpoint.

    word_splitting, normalisation: how texts are tokenised and put right before; by default as the base says.
    Raises TrainingError where the base has heads that were trained otherwise, CheckpointError where it cannot be read.
    """
    if not folder.is_dir():
        raise TrainingError(f"{folder} is no folder with a checkpoint")
    if trained.is_trained(folder):
        model, heads = trained.load(folder)
        tokenizer = trained.tokenizer_of(folder)
    else:
        checkpoint = load_hf(folder)
        model, heads = checkpoint.model, heads_of(checkpoint)
        heads = tuple(head for head in heads if head.trained)
        config = model.longformer.config
        tokenizer = convert_tokenizer(
            folder,
            vocab_size=config.vocab_size,
            pad_id=config.pad_token_id,
            for_ner=any(head.task == "ner" for head in heads),
        )
    tokenizer = _read_as(tokenizer, heads, word_splitting=word_splitting, normalisation=normalisation)
    path = folder / PROVENANCE
    return Base(
        name=folder.resolve().name,
        model=model,
        heads=heads,
        tokenizer=tokenizer,
        provenance=disk.read_json(path) if path.is_file() else {},
    )


def _read_as(
    tokenizer: TokenizerFile,
    heads: Sequence[HeadSpec],
    *,
    word_splitting: WordSplitting | None,
    normalisation: tuple[Rule, ...] | None,
) -> TokenizerFile:
    """The base's tokenizer, reading texts as asked. Raises TrainingError where heads were trained otherwise."""
    spec = tokenizer.spec
    splitting = spec.word_splitting if word_splitting is None else word_splitting
    rules = spec.normalisation if normalisation is None else normalisation
    others = ", ".join(head.name for head in heads if head.task != "fill-mask")
    if others and splitting != spec.word_splitting:
        raise TrainingError(f"heads {others} were trained on {spec.word_splitting} text, not {splitting}")
    if others and set(rules) != set(spec.normalisation):
        raise TrainingError(
            f"heads {others} were trained on text normalised by {_named(spec.normalisation)}, not {_named(rules)}"
        )
    return replace(tokenizer, spec=spec.model_copy(update={"word_splitting": splitting, "normalisation": rules}))


def _named(rules: tuple[Rule, ...]) -> str:
    return ", ".join(rules) or "no rule"


def together(base: Base, wanted: Sequence[HeadSpec], *, keep: bool) -> tuple[HeadSpec, ...]:
    """The heads of the new model: the base's, if they are kept, then those wanted; one with a base head's name goes on from it.

    Raises TrainingError where that head answers something else.
    """
    known = {head.name: head for head in base.heads}
    for head in wanted:
        before = known.get(head.name)
        if before is not None and (before.task, before.labels, before.layout) != (head.task, head.labels, head.layout):
            raise TrainingError(
                f"the base has a head {head.name!r} for {before.task} with {len(before.labels)} labels; the data ask for"
                f" {head.task} with {len(head.labels)} labels: give the new head another name"
            )
    names = {head.name for head in wanted}
    return (*(head for head in base.heads if keep and head.name not in names), *wanted)


def grown(base: Base, heads: Sequence[HeadSpec], *, dropout: float, seed: int) -> LongformerWithHeads:
    """The base's encoder with these heads: those it has with their weights, the others fresh."""
    model = trained.build(replace(base.model.longformer.config, hidden_dropout_prob=dropout), heads)
    generator = torch.Generator().manual_seed(seed)
    for name, module in model.heads.items():
        if name not in base.model.heads:
            _initialise(module, generator)
    weights = base.model.state_dict()
    wanted = model.state_dict().keys()
    model.load_state_dict({name: tensor for name, tensor in weights.items() if name in wanted}, strict=False)
    return model


def freeze(model: LongformerWithHeads, *, trained_heads: Sequence[str], encoder: bool) -> None:
    """Leave only what is trained with gradients: the named heads, and the encoder unless it is frozen."""
    model.longformer.requires_grad_(not encoder)
    for name, module in model.heads.items():
        if name not in trained_heads:
            for parameter in _own(module, model):
                parameter.requires_grad_(False)


def _own(module: nn.Module, model: LongformerWithHeads) -> list[nn.Parameter]:
    """A head's parameters, but those it shares with the encoder."""
    shared = {id(parameter) for parameter in model.longformer.parameters()}
    return [parameter for parameter in module.parameters() if id(parameter) not in shared]


def _initialise(module: nn.Module, generator: torch.Generator) -> None:
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=INITIAL_DEVIATION, generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
