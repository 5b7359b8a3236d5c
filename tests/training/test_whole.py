from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from drlongformer.bundle import load
from drlongformer.training import ship, trained, whole
from drlongformer.training.inference import answer
from drlongformer.types import WindowInput
from tests.training import models, tiny


def test_a_whole_recipe_ends_with_a_scored_model_and_its_provenance(tmp_path: Path) -> None:
    data, output = tiny.data_folder(tmp_path / "data"), tmp_path / "run"
    folder = whole.run(tiny.recipe(), data=data, output=output)
    model, heads = trained.load(folder)
    assert sorted(model.heads) == ["atc", "choice", "clinical", "mlm", "similarity", "temporal"]
    assert [head.task for head in heads] == ["fill-mask", "classify", "ner", "ner", "similarity", "multiple-choice", "embed"]
    assert {head.name for head in heads if head.thresholds} == {"choice"}
    scores = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    assert scores["leaflets/dev/atc"]["micro"]["support"] == 4
    assert scores["temporal/test/temporal"]["micro"]["support"] == 4
    assert -1.0 <= scores["pairs/dev/embedding"]["spearman"] <= 1.0
    assert scores["raw/dev/mlm"]["perplexity"] > 1.0
    provenance = json.loads((output / "provenance.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in provenance["sets"]] == ["clinical", "leaflets", "pairs", "questions", "raw", "temporal"]
    assert provenance["stages"]["finetune"]["last"]["step"] == 4
    before = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(before[:100])  # a copy cut short, and what else was left
    (folder / "left.tmp").touch()
    whole.run(tiny.recipe(), data=data, output=output)
    assert (folder / "model.safetensors").read_bytes() == before
    assert not (folder / "left.tmp").exists()


@pytest.mark.slow
def test_a_finished_run_ships_as_a_bundle_with_its_card(tmp_path: Path) -> None:
    output, recipe = tmp_path / "run", tiny.recipe()
    data = tiny.data_folder(tmp_path / "data")
    whole.run(recipe, data=data, output=output, normalisation=("hyphens", "lines"))
    bundle = load(ship.run(output, store=tmp_path / "store", name="tiny", statement=ship.Statement(data=data)))
    told = bundle.manifest.scores["subject"]
    assert isinstance(told, dict)
    assert told["kind"] == "onnx"
    assert {test.key for test in recipe.evaluation.tests} < bundle.manifest.scores.keys()
    assert set(bundle.manifest.tokenizer.normalisation) == {"hyphens", "lines"}
    assert {head.name for head in bundle.manifest.heads} == {
        "mlm",
        "atc",
        "temporal",
        "clinical",
        "similarity",
        "choice",
        "embedding",
    }
    readme = (bundle.folder / "README.md").read_text(encoding="utf-8")
    assert all(text in readme for text in ("Licence of the weights: made up", "| leaflets | train-nc |", "0.80 (guessing)"))


def test_answers_do_not_depend_on_how_windows_are_grouped() -> None:
    random = np.random.default_rng(0)
    windows = [
        WindowInput(ids=random.integers(4, 399, length), global_slots=(0,), rows={"atc": np.zeros(1, dtype=np.int64)})
        for length in (3, 30, 11, 7)
    ]
    model = models.model()
    together, apart = answer(model, windows), answer(model, windows, batch_tokens=4)
    for one, other in zip(together, apart, strict=True):
        assert one.rows["atc"] == pytest.approx(other.rows["atc"], abs=1e-5)
