"""Each form of output holds what was answered, and its own readers read it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from drlongformer.errors import RunError
from drlongformer.offline.asked import Written
from drlongformer.tasks.brat import standoff
from drlongformer.tasks.ner import Entity
from tests.offline.houses import ask, carried_out, house, jsonl, note, notes, orders, read


def test_embeddings_are_lists_of_fixed_size_in_either_precision(tmp_path: Path) -> None:
    path = notes(tmp_path / "notes.jsonl", 7)
    for numbers in ("float32", "float16"):
        asked = ask("embed", Written(numbers=numbers))
        carried_out(orders(path, tmp_path / numbers, asked), house(tmp_path / f"at-{numbers}"))
    whole, half = (pyarrow.dataset.dataset(tmp_path / numbers / "answers").to_table() for numbers in ("float32", "float16"))
    assert whole.schema.field("embedding").type == pa.list_(pa.float32(), 8)
    assert half.schema.field("embedding").type == pa.list_(pa.float16(), 8)
    vectors = [np.array(table["embedding"].to_pylist(), dtype=np.float64) for table in (whole, half)]
    assert vectors[0].shape == (7, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors[0], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-3)


def test_tables_say_which_model_and_options_made_them(tmp_path: Path) -> None:
    carried_out(orders(notes(tmp_path / "n.jsonl", 2), tmp_path / "out", ask("embed", pooling="mean")), house(tmp_path))
    told = json.loads(pq.read_schema(tmp_path / "out" / "answers" / "part-00000.parquet").metadata[b"drlongformer"])
    assert (told["task"], told["model"]["name"], told["options"]["pooling"]) == ("embed", "by-hand", "mean")
    assert len(told["embedding_space"]) == 16


def test_the_forms_hold_the_same_answers(tmp_path: Path) -> None:
    path = notes(tmp_path / "notes.jsonl", 9)
    for task in ("ner", "classify", "fill-mask", "embed"):
        for form in ("parquet", "jsonl"):
            output = tmp_path / f"{task}-{form}"
            carried_out(orders(path, output, ask(task, Written(format=form))), house(tmp_path / f"at-{task}-{form}"))
    rows, lines = read(tmp_path / "ner-parquet").answers, read(tmp_path / "ner-jsonl").answers
    assert rows == [{"record": line["record"], "id": line["id"]} | entity for line in lines for entity in line["entities"]]
    assert len(rows) > 9
    rows, lines = read(tmp_path / "classify-parquet").answers, read(tmp_path / "classify-jsonl").answers
    assert [(row["id"], row["labels"]) for row in rows] == [(line["id"], line["labels"]) for line in lines]
    assert all((row["label"], row["score"]) == tuple(row["labels"][0].values()) for row in rows)
    rows, lines = read(tmp_path / "fill-mask-parquet").answers, read(tmp_path / "fill-mask-jsonl").answers
    assert [(row["token_id"], row["score"]) for row in rows] == [
        (word["token_id"], word["score"]) for line in lines for mask in line["masks"] for word in mask["predictions"]
    ]
    assert {row["rank"] for row in rows} == {1, 2, 3, 4, 5}
    rows, lines = read(tmp_path / "embed-parquet").answers, read(tmp_path / "embed-jsonl").answers
    assert [row["embedding"] for row in rows] == [line["embedding"] for line in lines]
    assert {"tokens", "windows", "truncated", "embedding_space"} <= lines[0].keys()


def test_entities_go_without_their_words_where_that_is_wanted(tmp_path: Path) -> None:
    path = notes(tmp_path / "notes.jsonl", 5)
    for form in ("parquet", "jsonl", "note-nlp"):
        asked = ask("ner", Written(format=form, text=False))
        path = jsonl(tmp_path / "ids.jsonl", [{"id": number, "text": note(number)} for number in range(5)])
        carried_out(orders(path, tmp_path / form, asked), house(tmp_path / f"at-{form}"))
    assert "text" not in read(tmp_path / "parquet").answers[0]
    assert "text" not in read(tmp_path / "jsonl").answers[1]["entities"][0]
    assert {(row["lexical_variant"], row["snippet"]) for row in read(tmp_path / "note-nlp").answers} == {("", None)}


def test_brat_holds_texts_as_they_are_and_offsets_that_cut_them(tmp_path: Path) -> None:
    names = ["a", "b/c", "..", "A", "é" * 80, "a", None]
    records = [{"text": note(number)} | ({} if name is None else {"id": name}) for number, name in enumerate(names)]
    path = jsonl(tmp_path / "n.jsonl", records)
    carried_out(orders(path, tmp_path / "out", ask("ner", Written(format="brat")), part_documents=50), house(tmp_path))
    [part] = (tmp_path / "out" / "answers").iterdir()
    assert sorted(file.stem for file in part.glob("*.txt")) == sorted(["a", "b%2Fc", "2", "A~3", "4", "a~5", "6"])
    assert {file.read_text(encoding="utf-8") for file in part.glob("*.txt")} == {note(number) for number in range(7)}
    seen = 0
    for file in part.glob("*.ann"):
        text = file.with_suffix(".txt").read_text(encoding="utf-8")
        for line in file.read_text(encoding="utf-8").splitlines():
            _, where, shown = line.split("\t")
            pieces = [piece.split(" ") for piece in where.partition(" ")[2].split(";")]
            assert " ".join(" ".join(text[int(start) : int(end)].split()) for start, end in pieces) == shown
            seen += 1
    assert seen > 7


def test_a_mention_across_the_end_of_a_line_is_written_in_pieces() -> None:
    entity = Entity(label="SYMPTOM", start=0, end=16, text="douleur du\ngenou", score=0.9)
    assert standoff("douleur du\ngenou", [entity]) == "T1\tSYMPTOM 0 10;11 16\tdouleur du genou\n"


def test_note_nlp_has_the_columns_of_omop_and_ids_that_count_on(tmp_path: Path) -> None:
    records = [{"note_id": 100 + number, "note_text": note(number)} for number in range(12)] + [
        {"note_id": "x", "note_text": "y"}
    ]
    path = jsonl(tmp_path / "note.jsonl", records)
    for form in ("note-nlp", "note-nlp-csv"):
        asked = ask("ner", Written(format=form, first_id=7))
        carried_out(orders(path, tmp_path / form, asked), house(tmp_path / f"at-{form}"))
    rows = read(tmp_path / "note-nlp").answers
    assert [row["note_nlp_id"] for row in rows] == list(range(7, 7 + len(rows)))
    assert list(rows[0])[:6] == ["note_nlp_id", "note_id", "section_concept_id", "snippet", "offset", "lexical_variant"]
    for row in rows:
        text = note(row["note_id"] - 100)
        assert text[int(row["offset"]) :].startswith(row["lexical_variant"])
        assert row["snippet"] in text
        assert row["nlp_date"] is not None
    assert read(tmp_path / "note-nlp").errors[0]["reason"] == (
        "NOTE_NLP needs an id that is a whole number (note_id), and this is none"
    )
    tables = [pyarrow.csv.read_csv(file) for file in sorted((tmp_path / "note-nlp-csv" / "answers").iterdir())]
    assert [row for table in tables for row in table["note_nlp_id"].to_pylist()] == [row["note_nlp_id"] for row in rows]


@pytest.mark.parametrize(
    ("task", "written", "own", "sentence"),
    [
        ("embed", Written(text=False), {}, "--no-text is for entities"),
        ("ner", Written(numbers="float16"), {}, "--float16 is for embeddings"),
        ("ner", Written(), {"top_k": 3, "labels": ("X",)}, "ner knows no --top-k"),
        ("embed", Written(), {"targets": ("x",), "labels": ("X",)}, "embed knows no --label, --target"),
    ],
)
def test_flags_of_another_task_are_refused(task: str, written: Written, own: dict[str, object], sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        ask(task, written, **own)
