"""Every task of the service is asked of files in its own shape: pairs, questions, chunks, redacted texts."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drlongformer.errors import InvalidRequest, RunError
from drlongformer.offline import sources
from drlongformer.offline.asked import Written, unit
from drlongformer.offline.columns import Columns
from drlongformer.offline.opening import only_name
from drlongformer.offline.reader import Manner, Reader
from drlongformer.offline.records import Content, Found, Kind, Posed, Record, TwoTexts
from drlongformer.serving.pipeline import Pipeline
from tests.offline.houses import SENTENCES, ask, carried_out, house, jsonl, note, notes, orders, read
from tests.serving import bundles

PAIRS = [{"id": f"p{number}", "text1": SENTENCES[number], "text2": SENTENCES[2 - number]} for number in range(3)]
CONTEXT = "Une patiente tousse depuis trois jours."
QUESTIONS: list[dict[str, Any]] = [
    {"id": "q0", "question": "Quel signe ?", "options": {"a": "la toux", "b": "la fièvre", "c": "l'œdème"}, "context": CONTEXT},
    {"id": "q1", "question": "Quel traitement ?", "options": {"b": "paracétamol", "c": "repos"}},
]


def manner(kind: Kind, **named: Any) -> Manner:
    return Manner(columns=Columns(kind=kind, **named))


def contents(path: Path, read_as: Manner) -> list[Content | str]:
    """What the records hold, or what is wrong with them."""
    found: list[Found] = list(Reader(sources.find([str(path)]), read_as))
    return [one.text if isinstance(one, Record) else one.reason for one in found]


def table(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    return path


async def _served(folder: Path, task: str, asked: Sequence[Content], **own: Any) -> list[Any]:
    """What the pipeline answers when each record is asked alone."""
    at, its = house(folder), ask(task, **own)
    pipeline = Pipeline(at.models, at.metrics)
    await pipeline.start()
    answers = [(await its(pipeline, [unit(number, one)])).results[0].answer for number, one in enumerate(asked)]
    await pipeline.stop()
    return answers


def served(folder: Path, task: str, asked: Sequence[Content], **own: Any) -> list[Any]:
    return asyncio.run(_served(folder, task, asked, **own))


def test_pairs_are_read_from_every_table_by_their_fields(tmp_path: Path) -> None:
    wanted = [TwoTexts(first=one["text1"], second=one["text2"]) for one in PAIRS]
    pq.write_table(pa.Table.from_pylist(PAIRS), tmp_path / "a.parquet")
    for path in (jsonl(tmp_path / "a.jsonl", PAIRS), table(tmp_path / "a.csv", PAIRS), tmp_path / "a.parquet"):
        assert contents(path, manner("pair")) == wanted
    renamed = jsonl(tmp_path / "b.jsonl", [{"left": "Toux.", "right": "Fièvre."}, {"left": "Toux."}, {"left": "x", "right": 3}])
    assert contents(renamed, manner("pair", text1="left", text2="right")) == [
        TwoTexts(first="Toux.", second="Fièvre."),
        "there is no 'right' among 1 fields; --text2-column names the field",
        "text2 is a number",
    ]


def test_questions_are_read_whether_options_share_a_field_or_have_their_own(tmp_path: Path) -> None:
    wanted = [Posed(question=one["question"], options=one["options"], context=one.get("context")) for one in QUESTIONS]
    whole = [one | {"options": json.dumps(one["options"]), "context": one.get("context", "")} for one in QUESTIONS]
    apart = [
        {"question": one["question"], "context": one.get("context", "")}
        | {f"option_{name}": one["options"].get(name, "") for name in "abc"}
        for one in QUESTIONS
    ]
    pq.write_table(pa.Table.from_pylist(QUESTIONS), tmp_path / "struct.parquet")
    maps = pa.array([list(one["options"].items()) for one in QUESTIONS], pa.map_(pa.string(), pa.string()))
    pq.write_table(
        pa.table({"question": [one["question"] for one in QUESTIONS], "options": maps, "context": [CONTEXT, None]}),
        tmp_path / "map.parquet",
    )
    paths = [jsonl(tmp_path / "a.jsonl", QUESTIONS), table(tmp_path / "whole.csv", whole), table(tmp_path / "apart.csv", apart)]
    for path in (*paths, tmp_path / "struct.parquet", tmp_path / "map.parquet"):
        assert contents(path, manner("question")) == wanted
    named = table(tmp_path / "named.csv", [{"q": "Quel signe ?", "toux": "la toux", "fièvre": "la fièvre"}])
    assert contents(named, manner("question", question="q", options=("fièvre", "toux"))) == [
        Posed(question="Quel signe ?", options={"fièvre": "la fièvre", "toux": "la toux"})
    ]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["a", "b"], "the options are a list and not an object of texts by their names"),
        ("Mme Canari", "the options are no JSON object"),
        ({"a": "x"}, "1 options, from 2 to 26 are accepted"),
        ({str(number): "x" for number in range(27)}, "27 options, from 2 to 26 are accepted"),
        ({"a": "x", "b": 3}, "option 1 is a number"),
        ({"a": "x", " ": "y"}, "option 1 has a name of 1 characters; 1 to 64 are accepted"),
        (None, "the options are missing (null) and not an object of texts by their names"),
    ],
)
def test_options_that_cannot_be_asked_are_told_without_a_word_of_them(tmp_path: Path, options: Any, reason: str) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"question": "Quel signe ?", "options": options}])
    assert contents(path, manner("question")) == [reason]


def test_fields_of_another_kind_are_refused_and_so_are_folders_of_texts(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a pair has no --text-column; it has --text1-column, --text2-column"):
        Columns(kind="pair", text="body")
    with pytest.raises(RunError, match="a document has no --question-column, --option-column"):
        Columns(question="q", options=("a", "b"))
    (tmp_path / "note.txt").write_text("Toux.", encoding="utf-8")
    with pytest.raises(RunError, match="a pair is read from JSON lines or a table"):
        contents(tmp_path, manner("pair"))


def test_pairs_are_scored_as_the_service_scores_them(tmp_path: Path) -> None:
    others = [{"text1": "Toux."}, {"text1": "Toux.", "text2": " "}, {"text1": note(6), "text2": note(6)}]
    path = jsonl(tmp_path / "pairs.jsonl", [*PAIRS, *others])
    for form in ("parquet", "jsonl"):
        asked = ask("similarity", Written(format=form))
        carried_out(orders(path, tmp_path / form, asked, manner=manner("pair")), house(tmp_path / f"at-{form}"))
    whole = read(tmp_path / "parquet")
    asked_alone = [TwoTexts(first=one["text1"], second=one["text2"]) for one in PAIRS]
    alone = served(tmp_path / "served", "similarity", asked_alone)
    assert [(row["score"], row["method"]) for row in whole.answers] == [(one.score, "head") for one in alone]
    assert len({row["score"] for row in whole.answers}) > 1
    lines = [{name: line[name] for name in ("record", "id", "score", "method")} for line in read(tmp_path / "jsonl").answers]
    assert lines == whole.answers
    assert whole.statuses == ["answered"] * 3 + ["failed"] * 3
    assert [row["error"] for row in whole.errors] == ["bad_record", "empty_text", "document_too_long"]
    assert "pair 5 has" in whole.errors[-1]["reason"]


def test_questions_are_answered_as_the_service_answers_them(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "q.jsonl", QUESTIONS)
    for form in ("parquet", "jsonl"):
        asked = ask("multiple-choice", Written(format=form), multiple=True)
        carried_out(orders(path, tmp_path / form, asked, manner=manner("question")), house(tmp_path / f"at-{form}"))
    posed = [Posed(question=one["question"], options=one["options"], context=one.get("context")) for one in QUESTIONS]
    alone = served(tmp_path / "served", "multiple-choice", posed, multiple=True)
    rows = read(tmp_path / "parquet").answers
    assert [row["answer"] for row in rows] == [list(one.answer) for one in alone]
    assert [[tuple(each.values()) for each in row["choices"]] for row in rows] == [
        [(each.option, each.score) for each in one.choices] for one in alone
    ]
    lines = [{name: line[name] for name in ("record", "id", "answer", "choices")} for line in read(tmp_path / "jsonl").answers]
    assert lines == rows


def test_chunks_are_rows_with_their_ranges_and_vectors_of_the_whole_context(tmp_path: Path) -> None:
    path = notes(tmp_path / "notes.jsonl", 6)
    for form in ("parquet", "jsonl"):
        asked = ask("embed", Written(format=form), chunks="sentences")
        carried_out(orders(path, tmp_path / form, asked), house(tmp_path / f"at-{form}"))
    rows, lines = read(tmp_path / "parquet").answers, read(tmp_path / "jsonl").answers
    alone = served(tmp_path / "served", "embed", [note(number) for number in range(6)], chunks="sentences")
    wanted = [
        (record, place, chunk.start, chunk.end, chunk.vector.tolist())
        for record, one in enumerate(alone)
        for place, chunk in enumerate(one.chunks)
    ]
    assert [(row["record"], row["chunk"], row["start"], row["end"], row["embedding"]) for row in rows] == wanted
    assert note(0)[rows[0]["start"] : rows[0]["end"]] == "Note 0."
    assert len(rows) > 30
    assert [chunk for line in lines for chunk in line["chunks"]] == [
        {name: row[name] for name in ("start", "end", "embedding")} for row in rows
    ]
    assert [line["embedding"] for line in lines] == [one.vector.tolist() for one in alone]
    schema = pq.read_schema(tmp_path / "parquet" / "answers" / "part-00000.parquet")
    assert schema.field("embedding").type == pa.list_(pa.float32(), bundles.SIZE)


def test_redacted_texts_are_rows_and_hold_no_entity(tmp_path: Path) -> None:
    path = notes(tmp_path / "notes.jsonl", 6)
    for form in ("parquet", "jsonl"):
        asked = ask("ner", Written(format=form, text=False), redact=True)
        carried_out(orders(path, tmp_path / form, asked), house(tmp_path / f"at-{form}"))
    rows, lines = read(tmp_path / "parquet").answers, read(tmp_path / "jsonl").answers
    assert [row["record"] for row in rows] == list(range(6))
    assert [(row["redacted"], row["entities"]) for row in rows] == [(line["redacted"], line["entities"]) for line in lines]
    taken = 0
    for row in rows:
        pieces, end = [], 0
        for entity in row["entities"]:
            pieces += [note(row["record"])[end : entity["start"]], f"[{entity['label']}]"]
            end, taken = entity["end"], taken + 1
        assert row["redacted"] == "".join([*pieces, note(row["record"])[end:]])
        assert all("text" not in entity for entity in row["entities"])
    assert taken > 5


def test_a_form_that_cannot_hold_the_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="brat is made of"):
        ask("ner", Written(format="brat"), redact=True)
    with pytest.raises(RunError, match="embed knows no --redact"):
        ask("embed", redact=True)
    given = orders(notes(tmp_path / "n.jsonl", 1), tmp_path / "out", ask("embed", chunks="sentences", pooling="cls"))
    with pytest.raises(InvalidRequest, match="cls"):
        carried_out(given, house(tmp_path))


def test_what_is_read_must_be_what_the_task_is_asked_of(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="similarity is asked of each pair, and each record is read as a document"):
        orders(notes(tmp_path / "n.jsonl", 1), tmp_path / "out", ask("similarity"))


def test_a_model_that_only_embeds_can_compare_pairs(tmp_path: Path) -> None:
    bundles.write(tmp_path / "store", name="vectors", heads=bundles.HEADS[:1])
    assert only_name(tmp_path / "store", "similarity") == "vectors"


def test_a_known_pair_is_known_by_both_of_its_texts(tmp_path: Path) -> None:
    first = jsonl(tmp_path / "a.jsonl", [{"id": "1", "text1": SENTENCES[0], "text2": SENTENCES[2]}])
    later = [
        {"id": "1", "text1": SENTENCES[0], "text2": SENTENCES[3]},
        {"id": "1", "text1": SENTENCES[0], "text2": SENTENCES[2]},
    ]
    carried_out(orders(first, tmp_path / "a", ask("similarity"), manner=manner("pair")), house(tmp_path / "1"))
    again = jsonl(tmp_path / "b.jsonl", later)
    told = {"manner": manner("pair"), "only_new": tmp_path / "a"}
    carried_out(orders(again, tmp_path / "b", ask("similarity"), **told), house(tmp_path / "2"))
    assert read(tmp_path / "b").statuses == ["answered", "known"]
