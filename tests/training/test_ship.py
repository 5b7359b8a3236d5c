from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drlongformer.bundle import load
from drlongformer.cli import app
from drlongformer.errors import BundleError, TrainingError
from drlongformer.model.checkpoint import save_hf
from drlongformer.training import judging, ship, trained
from drlongformer.training.finetuning import Order, TaskFiles, run
from drlongformer.training.subject import Subject
from drlongformer.training.wanted_heads import HeadRequest
from tests.training import models, notes, served
from tests.training.notes import QUICK


def hf_checkpoint(folder: Path) -> Path:
    """A Hugging Face checkpoint of a masked-word model, tokenizer included."""
    trained.save(folder, models.model(), models.HEADS[:1], served.tokenizer_json().encode())
    for name in ("heads.json", "heads.safetensors", "tokenizer_spec.json"):
        (folder / name).unlink()
    save_hf(models.model(), folder, head="mlm", extra={"bos_token_id": 0, "eos_token_id": 2, "sep_token_id": 2})
    return folder


@pytest.mark.slow
def test_one_checkpoint_becomes_a_bundle_of_all_four_tasks_that_answers_as_its_model(tmp_path: Path) -> None:
    sets: dict[HeadRequest, notes.Records] = {
        HeadRequest(task="ner", name="ner"): notes.cases(6),
        HeadRequest(task="classify", name="topic"): notes.topics(2),
        HeadRequest(task="similarity", name="near"): notes.pairs(1),
        HeadRequest(task="multiple-choice", name="choice"): notes.questions(4, several=True),
    }
    tasks = tuple(
        TaskFiles(request=request, train=notes.written(tmp_path / f"{request.name}.jsonl", notes.as_json(records)))
        for request, records in sets.items()
    )
    base = hf_checkpoint(tmp_path / "base")
    folder = run(Order(base=base, tasks=tasks, output=tmp_path / "out", settings=replace(QUICK, epochs=1, micro_tokens=1024)))
    arguments = ["train", "ship", str(tmp_path / "out"), "--name", "ours", "--store", str(tmp_path / "store")]
    unsaid = CliRunner().invoke(app, arguments)
    assert unsaid.exit_code == 1
    assert "--patient-data" in unsaid.output
    graphs = ("--precision", "fp32,int8", "--target", "cpu,cuda")
    shipped = CliRunner().invoke(app, [*arguments, "--patient-data", "--licence", "none", *graphs])
    assert shipped.exit_code == 0, shipped.output
    bundle = load(tmp_path / "store" / "ours" / "1")
    assert bundle.manifest.patient_data
    assert set(bundle.tasks) == {"ner", "classify", "similarity", "multiple-choice", "embed"}
    assert not bundle.head("embed").trained
    assert [graph.precision for graph in bundle.manifest.graphs] == ["fp32", "int8", "fp16"]
    assert bundle.graph("cuda", "fp16").halving is not None
    readme = (bundle.folder / "README.md").read_text(encoding="utf-8")
    assert all(
        text in readme
        for text in ("## Fine-tuned from base", "## The int8 graph", "| ner | ner | 5 / 1 / 0 |", "own/dev/topic")
    )
    module, graph = Subject.load(folder), Subject.load(bundle.folder)
    for request, records in sets.items():
        ours, theirs = (judging.judge(one, one.head(None, request.name), records, tune=False) for one in (module, graph))
        assert ours.headline == pytest.approx(theirs.headline, abs=1e-3)


def test_a_folder_that_is_not_trained_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no trained model"):
        ship.run(tmp_path, store=tmp_path / "store", name="ours")


def test_what_is_not_there_and_what_no_bundle_can_be_called_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"there is no folder .*missing"):
        ship.run(tmp_path / "missing", store=tmp_path / "store", name="ours")
    with pytest.raises(BundleError, match=r"no bundle can be named '\.\./z'"):
        ship.run(tmp_path / "missing", store=tmp_path / "store", name="../z")


def test_cards_alone_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    asked = ["train", "ship", str(tmp_path / "missing"), "--name", "ours", "--target", "cuda"]
    refused = CliRunner().invoke(app, asked, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert refused.exit_code == 1
    assert "--target cuda stands beside the graph that proves it: --target cpu,cuda" in " ".join(refused.output.split())


def test_patient_data_once_in_stay_in() -> None:
    said = ship.Statement(patient_data=False)
    assert ship._patient_data(said, {"patient_data": True})
    assert not ship._patient_data(ship.Statement(), {"recipe": {"name": "mini"}})
