from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drlongformer.cli import app
from drlongformer.errors import CheckpointError, TrainingError
from drlongformer.training import trained
from drlongformer.training.finetuning import FileForm, Order, TaskFiles, annotated, run
from drlongformer.training.wanted_heads import HeadRequest
from drlongformer.types import Rule
from tests.training import notes
from tests.training.notes import QUICK

NER = HeadRequest(task="ner", name="ner")


def ner_files(folder: Path, count: int = 8) -> TaskFiles:
    train = notes.written(folder / "train.jsonl", notes.as_json(notes.cases(count)))
    test = notes.written(folder / "test.jsonl", notes.as_json(notes.cases(4, first=100)))
    return TaskFiles(request=NER, train=train, test=test)


def test_a_label_of_dev_that_training_does_not_have_is_told_by_file_and_line(tmp_path: Path) -> None:
    files = TaskFiles(
        request=HeadRequest(task="classify", name="topic"),
        train=notes.written(tmp_path / "train.jsonl", notes.as_json(notes.topics(1))),
        dev=notes.written(
            tmp_path / "dev.jsonl",
            [{"id": "1", "text": "Un.", "labels": ["C"]}, {"id": "2", "text": "Deux.", "labels": ["Z"]}],
        ),
    )
    with pytest.raises(TrainingError, match=r"dev\.jsonl:2: label 'Z' is none of C, N"):
        annotated(files, FileForm())


def test_a_score_outside_the_range_is_told_by_file_and_line(tmp_path: Path) -> None:
    pairs = notes.as_json(notes.pairs(1))
    files = TaskFiles(
        request=HeadRequest(task="similarity", name="near"),
        train=notes.written(tmp_path / "train.jsonl", [*pairs[:2], pairs[2] | {"score": 7}]),
    )
    with pytest.raises(TrainingError, match=r"train\.jsonl:3: the score 7 is outside 0 to 5, the --score-range"):
        annotated(files, FileForm())


def test_texts_that_are_in_two_splits_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = ner_files(tmp_path)
    annotated(replace(files, test=files.train), FileForm(group_by="patient"))
    assert "8 texts of test are in its training files too, 8 by their group" in caplog.text


def test_seeds_folds_and_a_curve_end_in_one_scored_model(tmp_path: Path) -> None:
    order = Order(
        base=notes.base_folder(tmp_path / "base"),
        tasks=(ner_files(tmp_path),),
        output=tmp_path / "out",
        settings=replace(QUICK, epochs=1),
        form=FileForm(group_by="patient"),
        seeds=(0, 1),
        folds=2,
        sizes=(2, 6),
        dev_share=0.25,
    )
    folder = run(order)
    _, heads = trained.load(folder)
    assert "ner" in [head.name for head in heads]
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert scores["own/test/ner"]["documents"] == 4
    assert len(scores["own/test/ner"]["over_seeds"]["micro_f1"]["by_seed"]) == 2
    crossed = json.loads((tmp_path / "out" / "cross_validation.json").read_text(encoding="utf-8"))
    assert (crossed["documents"], crossed["decides"], len(crossed["micro_f1"]["interval"])) == (8, "micro_f1", 2)
    curve = json.loads((tmp_path / "out" / "learning_curve.json").read_text(encoding="utf-8"))
    assert [row["documents"] for row in curve] == [2, 6]
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["finetunings"][0]["moved_under"] == ["mlm", "atc", "temporal", "embedding"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").rglob("model.safetensors")}
    run(order)  # nothing is trained again
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").rglob("model.safetensors")}
    with pytest.raises(TrainingError, match="holds runs with other settings"):
        run(replace(order, settings=QUICK))
    ner_files(tmp_path, count=9)
    with pytest.raises(TrainingError, match="holds runs with other documents"):
        run(order)


def test_word_splitting_is_recorded_and_heads_trained_otherwise_are_protected(tmp_path: Path) -> None:
    base = notes.base_folder(tmp_path / "base")
    order = Order(base=base, tasks=(ner_files(tmp_path),), output=tmp_path / "out", settings=QUICK, word_splitting="words")
    with pytest.raises(TrainingError, match="heads atc, temporal, embedding were trained on raw text, not words"):
        run(order)
    alone = trained.load(base)[0]
    alone.heads.clear()
    trained.save(base, alone, (), (base / "tokenizer.json").read_bytes())
    folder = run(order)
    assert trained.tokenizer_of(folder).spec.word_splitting == "words"


def test_rules_of_normalisation_are_recorded_and_heads_trained_otherwise_are_protected(tmp_path: Path) -> None:
    base = notes.base_folder(tmp_path / "base")
    settings = replace(QUICK, epochs=1)
    rules: tuple[Rule, ...] = ("encoding", "lines")
    order = Order(base=base, tasks=(ner_files(tmp_path),), output=tmp_path / "out", settings=settings, normalisation=rules)
    with pytest.raises(
        TrainingError, match="heads atc, temporal, embedding were trained on text normalised by no rule, not enc"
    ):
        run(order)
    run(replace(order, normalisation=()))
    alone = trained.load(base)[0]
    alone.heads.clear()
    trained.save(base, alone, (), (base / "tokenizer.json").read_bytes())
    folder = run(replace(order, output=tmp_path / "normalised"))
    assert trained.tokenizer_of(folder).spec.normalisation == rules
    again = replace(order, base=folder, output=tmp_path / "again")
    with pytest.raises(TrainingError, match="heads ner were trained on text normalised by encoding, lines, not no rule"):
        run(replace(again, normalisation=()))
    with pytest.raises(TrainingError, match="holds runs with other normalisation"):
        run(replace(order, output=tmp_path / "normalised", normalisation=("lines",)))


def test_the_command_line_trains_two_heads_at_once(tmp_path: Path) -> None:
    files = ner_files(tmp_path)
    topics = notes.written(tmp_path / "topics.jsonl", notes.as_json(notes.topics(2)))
    arguments = ["--base", str(notes.base_folder(tmp_path / "base")), "--output", str(tmp_path / "out")]
    arguments += ["--task", "ner", "--train", str(files.train), "--task", "classify", "--train", str(topics)]
    arguments += ["--epochs", "1", "--batch", "4", "--augment", "accents,case,wrap"]
    result = CliRunner().invoke(app, ["train", "finetune", *arguments])
    assert result.exit_code == 0, result.output
    assert [head.name for head in trained.load(tmp_path / "out" / "trained")[1]][-2:] == ["ner", "classify"]
    refused = CliRunner().invoke(app, ["train", "finetune", *arguments, "--test", str(topics)])
    assert refused.exit_code == 1
    assert "--test was given 1 times for 2 tasks" in refused.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": 2}, "of one head, not of 2"),
        ({"seeds": (1, 1)}, "at least one, each once"),
        ({"tasks": ()}, "no task was given"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {"base": tmp_path, "tasks": (ner_files(tmp_path),) * 2, "output": tmp_path / "out"}
    with pytest.raises(TrainingError, match=message):
        Order(**{**fields, **change})  # type: ignore[arg-type]


def test_an_order_that_failed_at_its_start_may_be_mended(tmp_path: Path) -> None:
    order = Order(base=notes.base_folder(tmp_path / "base"), tasks=(ner_files(tmp_path),), output=tmp_path / "out")
    with pytest.raises(TrainingError, match="slots"):
        run(replace(order, settings=replace(QUICK, micro_tokens=1)))
    run(replace(order, settings=replace(QUICK, epochs=1)))
    with pytest.raises(TrainingError, match="holds runs with other settings"):
        run(replace(order, settings=QUICK))


@pytest.mark.parametrize("name", ["a/../b", "a.b", "", "../q", "_a"])
def test_a_head_that_cannot_be_named_so_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises((CheckpointError, TrainingError), match="no head can be named"):
        TaskFiles(request=replace(NER, name=name), train=tmp_path)


def test_one_document_is_too_few_for_dev(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="leave none for dev: give --dev"):
        run(Order(base=notes.base_folder(tmp_path / "base"), tasks=(ner_files(tmp_path, count=1),), output=tmp_path / "out"))


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is no folder with a checkpoint"):
        run(Order(base=tmp_path / "nothing", tasks=(ner_files(tmp_path),), output=tmp_path / "out"))
