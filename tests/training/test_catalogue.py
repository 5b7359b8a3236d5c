from __future__ import annotations

from pathlib import Path

import pytest

from drlongformer.errors import TrainingError
from drlongformer.training import catalogue, paper
from drlongformer.training.lessons import ClassSource, SpanSource
from drlongformer.training.mini import mini


def test_every_recipe_is_listed_with_what_it_makes() -> None:
    listed = catalogue.listed()
    assert listed.keys() == {"mini", *catalogue.PAPER}
    assert all(listed.values())


def test_the_shipped_recipe_reads_only_sets_that_may_be_shipped() -> None:
    recipe = mini()
    assert recipe.policies == ("train", "train-nc")
    assert recipe.architecture.max_tokens == 4096
    assert max(recipe.batches.window_tokens) == 4096


def test_heads_of_the_embedded_model_for_entities_and_classes_learn_capitals() -> None:
    taught = [source for source in mini().finetuning.sources if isinstance(source, ClassSource | SpanSource)]
    assert [source.augmentations for source in taught] == [("case",)] * 4
    assert mini().revision == 3


def test_an_unknown_recipe_is_told() -> None:
    with pytest.raises(TrainingError, match="no recipe 'maxi', only mini"):
        catalogue.named("maxi")


def test_a_strategy_alone_chooses_the_papers_recipe() -> None:
    assert catalogue.chosen(None, strategy="convert") == paper.convert()
    assert catalogue.chosen("mini", strategy=None).head is None
    assert catalogue.chosen("mini", strategy="continue").architecture is None
    assert catalogue.chosen("paper-convert", strategy="scratch").architecture == paper.longformer_base()


@pytest.mark.parametrize(
    ("name", "strategy", "sentence"),
    [
        (None, None, r"name a strategy \(continue, convert, scratch\) or a recipe"),
        (None, "distil", "no strategy 'distil'"),
        ("maxi", None, "no recipe 'maxi', only mini, paper-scratch-published"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(name: str | None, strategy: str | None, sentence: str) -> None:
    with pytest.raises(TrainingError, match=sentence):
        catalogue.chosen(name, strategy=strategy)


def test_an_architecture_is_of_no_use_to_a_strategy_that_has_one(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"strategy convert has its checkpoint's architecture, config\.json is of no use"):
        catalogue.chosen("paper-convert", strategy=None, architecture=tmp_path / "config.json")
