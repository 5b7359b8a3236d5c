"""What `drlongformer train ...` calls: one plain function per command, recipes by name, paths in and paths out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from drlongformer.training import evaluate as evaluation
from drlongformer.training import finetune as finetuning
from drlongformer.training import pretrain as pretraining
from drlongformer.training import ship as shipping
from drlongformer.training import whole
from drlongformer.training.corpus import DataFolder
from drlongformer.training.recipes import RECIPES, OptimisationRecipe, named


def recipes() -> dict[str, str]:
    """Names of the recipes, and what each makes."""
    return {name: (recipe.__doc__ or "").strip() for name, recipe in RECIPES.items()}


def recipe(name: str, *, data: Path, output: Path) -> Path:
    """Run a whole recipe, or what is left of it; returns the trained folder."""
    return whole.run(named(name), data=data, output=output)


def tokenizer(name: str, *, data: Path, output: Path, min_documents: int | None = None, vocab_size: int | None = None) -> Path:
    """Learn a recipe's tokenizer; words met in fewer than `min_documents` documents take no part."""
    chosen = named(name)
    given = {"min_documents": min_documents, "vocab_size": vocab_size}
    changed = replace(chosen.tokenizer, **{key: value for key, value in given.items() if value is not None})
    whole.make_tokenizer(replace(chosen, tokenizer=changed), data=data, output=output)
    return output


def corpus(name: str, *, data: Path, tokenizer_json: Path, output: Path) -> Path:
    """Tokenise a recipe's raw texts into shards."""
    whole.make_corpus(named(name), data=data, tokenizer_json=tokenizer_json, output=output)
    return output


def pretrain(
    name: str, *, tokenizer_json: Path, corpus: Path, output: Path, seconds: float | None = None, resume: bool = False
) -> Path:
    """Train on masked words; returns the checkpoint's folder. `seconds` replaces the recipe's time budget."""
    chosen = named(name)
    chosen = replace(chosen, pretraining=_timed(chosen.pretraining, seconds))
    return pretraining.run(chosen, tokenizer_json=tokenizer_json, corpus=corpus, output=output, resume=resume)


def finetune(
    name: str, *, pretrained: Path, data: Path, output: Path, seconds: float | None = None, resume: bool = False
) -> Path:
    """Train all heads on a pretrained checkpoint; returns the trained folder. `seconds` replaces the recipe's time budget."""
    chosen = named(name)
    timed = _timed(chosen.finetuning.optimisation, seconds)
    chosen = replace(chosen, finetuning=replace(chosen.finetuning, optimisation=timed))
    folder = DataFolder(data, policies=chosen.policies)
    return finetuning.run(chosen, pretrained=pretrained, folder=folder, output=output, resume=resume)


def evaluate(name: str, *, model: Path, data: Path, output: Path) -> dict[str, Any]:
    """Score a trained folder on a recipe's test sets, into a JSON file."""
    chosen = named(name)
    folder = DataFolder(data, policies=chosen.policies)
    return evaluation.run(chosen.evaluation, trained_model=model, folder=folder, output=output)


def ship(name: str, *, run: Path, store: Path, bundle: str, version: int | None = None) -> Path:
    """Export a finished recipe run as a bundle of the store; returns the bundle's folder."""
    return shipping.run(named(name), output=run, store=store, name=bundle, version=version)


def _timed(recipe: OptimisationRecipe, seconds: float | None) -> OptimisationRecipe:
    return recipe if seconds is None else replace(recipe, seconds=seconds)
