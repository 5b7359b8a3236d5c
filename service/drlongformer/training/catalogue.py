"""Recipes by name: which there are, and which one a command line asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from drlongformer.errors import TrainingError
from drlongformer.training import own_sizes, paper
from drlongformer.training.mini import mini
from drlongformer.training.recipes import PretrainingRecipe, Recipe, Strategy

RECIPES: Mapping[str, Callable[[], Recipe]] = {"mini": mini}
"""Recipes of whole models."""

PAPER: Mapping[str, Callable[[], PretrainingRecipe]] = {
    "paper-scratch-published": paper.scratch_published,
    "paper-scratch": paper.scratch,
    "paper-continue-published": paper.continue_published,
    "paper-continue": paper.continued,
    "paper-convert-published": paper.convert_published,
    "paper-convert": paper.convert,
}
"""Pretrainings alone."""


def listed() -> dict[str, str]:
    """Names of all recipes, and what each makes."""
    return {name: (recipe.__doc__ or "").strip() for name, recipe in (*RECIPES.items(), *PAPER.items())}


def named(name: str) -> Recipe:
    """The whole recipe of that name; raises TrainingError naming the known ones."""
    if name not in RECIPES:
        raise TrainingError(f"no recipe {name!r}, only {', '.join(sorted(RECIPES))}")
    return RECIPES[name]()


def chosen(
    name: str | None, *, strategy: str | None, architecture: Path | None = None, tokenizer_json: Path | None = None
) -> PretrainingRecipe:
    """A recipe's pretraining, by default the paper's as we read it, under another strategy or with another architecture.

    A class head is left out: it needs documents with labels, which whole recipes prepare. Raises TrainingError where nothing
    says what to train, or where the parts do not fit together.
    """
    if strategy is not None and strategy not in get_args(Strategy):
        raise TrainingError(f"no strategy {strategy!r}, only {', '.join(get_args(Strategy))}")
    if name is None and strategy is None:
        raise TrainingError(f"name a strategy ({', '.join(get_args(Strategy))}) or a recipe")
    recipe = replace(pretraining(name or f"paper-{strategy}"), head=None)
    if strategy is not None and strategy != recipe.strategy:
        sizes = paper.longformer_base() if strategy == "scratch" else None
        recipe = replace(recipe, strategy=cast(Strategy, strategy), base=None, architecture=sizes)
    if architecture is None:
        return recipe
    if recipe.strategy != "scratch":
        raise TrainingError(f"strategy {recipe.strategy} has its checkpoint's architecture, {architecture.name} is of no use")
    return replace(recipe, architecture=own_sizes.read(architecture, tokenizer_json=tokenizer_json))


def pretraining(name: str) -> PretrainingRecipe:
    """The pretraining of a recipe; raises TrainingError naming the known ones."""
    if name in PAPER:
        return PAPER[name]()
    if name in RECIPES:
        return RECIPES[name]().masked_words
    raise TrainingError(f"no recipe {name!r}, only {', '.join(listed())}")
