from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from drlongformer.errors import TrainingError
from drlongformer.training import pretrain, trained, whole
from drlongformer.training.recipes import OptimisationRecipe, Recipe
from drlongformer.training.trainer import Progress, schedule
from tests.training import tiny

RECIPE = OptimisationRecipe(learning_rate=1.0, steps=100, warmup_steps=10, seconds=50.0)


@pytest.mark.parametrize(
    ("step", "seconds", "share"),
    [(0, 0.0, 0.1), (9, 0.0, 0.91), (50, 0.0, 0.5), (50, 40.0, 0.2), (100, 0.0, 0.0), (20, 60.0, 0.0)],
)
def test_the_rate_warms_up_then_falls_by_steps_or_by_time_whichever_is_ahead(step: int, seconds: float, share: float) -> None:
    assert schedule(Progress(step=step, seconds=seconds), RECIPE) == pytest.approx(share)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    recipe = tiny.recipe()
    _prepared(tmp_path, recipe)
    straight = _pretrained(tmp_path, recipe, "straight")
    # Stopped by its time budget after one step, then resumed under the whole recipe: the schedule must not notice.
    _pretrained(tmp_path, replace(recipe, pretraining=replace(recipe.pretraining, seconds=1e-9)), "broken", expect_steps=1)
    broken = _pretrained(tmp_path, recipe, "broken", resume=True)
    for name, weight in straight.items():
        torch.testing.assert_close(broken[name], weight, rtol=0, atol=0)


def test_a_fresh_run_never_overwrites_another(tmp_path: Path) -> None:
    recipe = tiny.recipe()
    _prepared(tmp_path, recipe)
    with pytest.raises(TrainingError, match="holds no run"):
        _pretrained(tmp_path, recipe, "one", resume=True)
    _pretrained(tmp_path, recipe, "one")
    with pytest.raises(TrainingError, match="holds a run already"):
        _pretrained(tmp_path, recipe, "one")


def test_the_log_tells_steps_tokens_losses_and_held_out_scores(tmp_path: Path) -> None:
    recipe = tiny.recipe()
    _prepared(tmp_path, recipe)
    _pretrained(tmp_path, recipe, "one")
    entries = [json.loads(line) for line in (tmp_path / "one" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["step"] for entry in entries if "losses" in entry] == [2, 4]
    held_out = next(entry["held_out"] for entry in entries if "held_out" in entry)
    assert held_out.keys() >= {"mlm_loss", "mlm_accuracy", "atc_loss", "atc_accuracy"}
    assert all(entry["tokens"] > 0 and entry["seconds"] > 0 for entry in entries)


def _prepared(folder: Path, recipe: Recipe) -> None:
    data = tiny.data_folder(folder / "data")
    whole.make_tokenizer(recipe, data=data, output=folder / "tokenizer.json")
    whole.make_corpus(recipe, data=data, tokenizer_json=folder / "tokenizer.json", output=folder / "corpus")


def _pretrained(
    folder: Path, recipe: Recipe, name: str, *, resume: bool = False, expect_steps: int | None = None
) -> dict[str, torch.Tensor]:
    checkpoint = pretrain.run(
        recipe, tokenizer_json=folder / "tokenizer.json", corpus=folder / "corpus", output=folder / name, resume=resume
    )
    if expect_steps is not None:
        assert torch.load(checkpoint / "trainer.pt", weights_only=True)["progress"]["step"] == expect_steps
    return dict(trained.load(checkpoint)[0].state_dict())
