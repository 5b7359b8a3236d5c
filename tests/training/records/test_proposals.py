from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from drlongformer.cli import app
from drlongformer.errors import TrainingError
from drlongformer.training import trained
from drlongformer.training.predictions import answered, entities
from drlongformer.training.records.proposals import proposed
from drlongformer.training.records.reader import read
from drlongformer.training.records.record import SpanRecord, TextRecord
from drlongformer.training.records.unannotated import unannotated
from drlongformer.training.subject import Subject
from tests.training import models, served, tiny
from tests.training.records.annotated import NOTE, lines

TEXTS = (tiny.CASE, NOTE, *tiny.LEAFLETS.values())
RECORDS = [TextRecord(id=f"n{number}", text=text, labels=()) for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("trained")
    trained.save(made, models.model(), models.HEADS, served.tokenizer_json().encode())
    return made


def test_spans_are_proposed_as_the_model_finds_them(folder: Path) -> None:
    subject = Subject.load(folder)
    head = subject.head("ner")
    found = list(proposed(subject, head, RECORDS))
    assert [(record.id, record.text) for record in found] == [(record.id, record.text) for record in RECORDS]
    expected = [one.answer for one in answered(subject, entities(subject, head, TEXTS))]
    for record, answer in zip(found, expected, strict=True):
        assert isinstance(record, SpanRecord)
        assert [(one.start, one.end, one.label) for one in record.spans] == [(one.start, one.end, one.label) for one in answer]
    assert sum(map(len, expected)) > 0


def test_labels_are_proposed_for_whole_texts(folder: Path) -> None:
    subject = Subject.load(folder)
    for record in proposed(subject, subject.head("classify"), RECORDS):
        assert isinstance(record, TextRecord)
        assert set(record.labels) <= {"C", "N"}
        assert record.labels


def test_a_head_of_another_task_is_refused(folder: Path) -> None:
    subject = Subject.load(folder)
    with pytest.raises(TrainingError, match="annotations are proposed by heads for ner and classify"):
        list(proposed(subject, subject.head("embed"), RECORDS))


def test_texts_are_lines_or_files(tmp_path: Path) -> None:
    file = lines(tmp_path / "t.jsonl", *({"id": record.id, "text": record.text} for record in RECORDS))
    assert unannotated(file) == RECORDS
    (tmp_path / "notes" / "p1").mkdir(parents=True)
    (tmp_path / "notes" / "p1" / "a.txt").write_text(NOTE, encoding="utf-8")
    assert unannotated(tmp_path / "notes") == [TextRecord(id="p1/a", text=NOTE, labels=())]


def test_texts_are_checked_by_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"t\.jsonl:2: the text is blank"):
        unannotated(lines(tmp_path / "t.jsonl", {"text": NOTE}, {"text": " "}))
    with pytest.raises(TrainingError, match=r"t\.jsonl:2: the id is that of"):
        unannotated(lines(tmp_path / "t.jsonl", {"id": 1, "text": NOTE}, {"id": 1, "text": NOTE}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="holds no text"):
        unannotated(tmp_path / "empty")
    with pytest.raises(TrainingError, match="does not exist"):
        unannotated(tmp_path / "none")


def test_the_command_writes_what_the_tools_read(folder: Path, tmp_path: Path) -> None:
    file = lines(tmp_path / "t.jsonl", *({"id": record.id, "text": record.text} for record in RECORDS))
    subject = Subject.load(folder)
    expected = list(proposed(subject, subject.head("ner"), RECORDS))
    for form in ("jsonl", "doccano", "brat"):
        options = ["--format", form, "--output", str(tmp_path / form)]
        result = CliRunner().invoke(app, ["train", "preannotate", str(folder), str(file), *options])
        assert result.exit_code == 0, result.output
        assert "6 texts" in result.stdout
        assert read(tmp_path / form, task="ner") == expected
        again = CliRunner().invoke(app, ["train", "preannotate", str(folder), str(file), *options])
        assert again.exit_code == 1
