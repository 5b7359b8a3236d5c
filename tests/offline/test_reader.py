"""Every form of input gives the same records with their places, and one bad record never costs another."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drlongformer.errors import RunError
from drlongformer.offline import sources
from drlongformer.offline.columns import Columns
from drlongformer.offline.encodings import check
from drlongformer.offline.reader import Manner, Reader
from drlongformer.offline.records import BadRecord, Content, Found, Place, Record
from tests.offline.houses import SENTENCES, jsonl

TEXTS = [
    "Toux sèche ; « à surveiller ».",
    'Deux lignes,\nun "guillemet"\r\net une fin.',
    " Œdème, 38,5 °C ",
    "é\u0301 👩\u200d⚕️ \u202f",
]


def read(*paths: Path, form: Any = None, **told: Any) -> list[Found]:
    told = {"encoding": "auto"} | told
    return list(Reader(sources.find([str(path) for path in paths], form), Manner(**told)))


def texts(found: Sequence[Found]) -> list[Content | None]:
    return [one.text if isinstance(one, Record) else None for one in found]


def table(path: Path, rows: Sequence[Sequence[str]], *, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def test_json_lines_are_read_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text("\n".join(json.dumps({"text": text, "id": 7}) for text in TEXTS) + "\n\n", encoding="utf-8")
    found = read(path)
    assert texts(found) == TEXTS
    assert found[2] == Record(place=Place(file=str(path), unit="line", at=3), id="7", text=TEXTS[2])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_tables_are_read_whatever_separates_them(tmp_path: Path, delimiter: str) -> None:
    rows = [["id", "date, heure", "text"], *([str(number), "x;y", text] for number, text in enumerate(TEXTS))]
    found = read(table(tmp_path / "notes.csv", rows, delimiter=delimiter))
    assert texts(found) == TEXTS
    assert [one.id for one in found if isinstance(one, Record)] == ["0", "1", "2", "3"]
    assert [one.place.at for one in found] == [2, 3, 6, 7]  # the second text takes three lines


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.text(st.characters(codec="utf-8"), max_size=30), st.sampled_from(SENTENCES)), min_size=1, max_size=8
    )
)
def test_any_text_comes_back_from_every_form(rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, wanted = tmp_path_factory.mktemp("forms"), [before + after for before, after in rows]
    written = table(folder / "a.csv", [["text"], *([text] for text in wanted)], delimiter=";")
    pq.write_table(pa.table({"text": wanted}), folder / "a.parquet")
    for path in (written, folder / "a.parquet", jsonl(folder / "a.jsonl", [{"text": text} for text in wanted])):
        assert texts(read(path)) == wanted


def test_parquet_is_read_by_rows_and_an_absent_text_is_a_bad_record(tmp_path: Path) -> None:
    path = tmp_path / "notes.parquet"
    pq.write_table(pa.table({"text": [*TEXTS, None], "id": [1.0, 2.0, 3.0, 4.0, 5.0]}), path, row_group_size=2)
    found = read(path)
    assert texts(found) == [*TEXTS, None]
    assert [one.id for one in found if isinstance(one, Record)] == ["1", "2", "3", "4"]
    assert found[-1] == BadRecord(place=Place(file=str(path), unit="row", at=5), reason="the text is missing (null)")


def test_omop_tables_are_known_by_their_names(tmp_path: Path) -> None:
    names, rows = ["NOTE_ID", "PERSON_ID", "NOTE_TEXT"], [["12", "1", "Toux."], ["13", "1", "Fièvre."]]
    written = table(tmp_path / "note.csv", [names, *rows])
    pq.write_table(pa.table({"note_id": [12, 13], "note_text": ["Toux.", "Fièvre."]}), tmp_path / "note.parquet")
    for path in (written, tmp_path / "note.parquet"):
        found = read(path)
        assert texts(found) == ["Toux.", "Fièvre."]
        assert [one.id for one in found if isinstance(one, Record)] == ["12", "13"]


def test_folders_of_texts_are_read_in_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "notes" / "b").mkdir(parents=True)
    for name in ("b/2.txt", "a.txt", "c.txt"):
        (tmp_path / "notes" / name).write_bytes(f"{name}\r\nToux.".encode())
    (tmp_path / "notes" / "other.md").write_text("no", encoding="utf-8")
    (tmp_path / "notes" / "link.txt").symlink_to(tmp_path / "notes" / "a.txt")
    found = read(tmp_path / "notes")
    assert [one.id for one in found if isinstance(one, Record)] == ["a", "b/2", "c"]
    assert texts(found) == ["a.txt\r\nToux.", "b/2.txt\r\nToux.", "c.txt\r\nToux."]
    assert [str(one.place) for one in found] == [f"{tmp_path}/notes/{name}" for name in ("a.txt", "b/2.txt", "c.txt")]


def test_the_parts_of_a_table_are_read_as_one_and_two_kinds_are_not_mixed(tmp_path: Path) -> None:
    for number in (1, 0):
        pq.write_table(pa.table({"text": [f"Note {number}."]}), tmp_path / f"part-{number}.parquet")
    (tmp_path / "_SUCCESS").touch()
    assert texts(read(tmp_path)) == ["Note 0.", "Note 1."]
    jsonl(tmp_path / "more.jsonl", [{"text": "x"}])
    with pytest.raises(RunError, match="holds jsonl and parquet"):
        read(tmp_path)
    assert texts(read(tmp_path, form="jsonl")) == ["x"]


def test_packed_files_are_unpacked_and_a_torn_one_is_told(tmp_path: Path) -> None:
    content = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS * 50).encode()
    path = tmp_path / "notes.jsonl.gz"
    path.write_bytes(gzip.compress(content))
    assert texts(read(path)) == TEXTS * 50
    path.write_bytes(gzip.compress(content)[:-20])
    with pytest.raises(RunError, match="cannot be unpacked to its end"):
        read(path)


def test_standard_input_is_read_as_lines_or_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    for form, content in (("jsonl", '{"text": "Toux sèche."}\n'), ("csv", "text;x\nToux sèche.;1\n")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
        [found] = Reader(sources.find(["-"], form), Manner())  # type: ignore[arg-type]
        assert found == Record(
            place=Place(file="standard input", unit="line", at=1 if form == "jsonl" else 2), id=None, text="Toux sèche."
        )
    with pytest.raises(RunError, match="once"):
        sources.find(["-", "-"])


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac_roman", "cp850", "utf-16", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("form", ["jsonl", "csv", "text"])
def test_the_encoding_of_a_file_is_found_out(tmp_path: Path, encoding: str, form: str) -> None:
    wanted = [f"{text} L'état général est conservé, élevé à l'hôpital de jour." for text in ("Fièvre.", "Fatigue.", "Dyspnée.")]
    if form == "text":
        for number, text in enumerate(wanted):
            (tmp_path / f"{number}.txt").write_bytes(text.encode(encoding))
        reader = Reader(sources.find([str(tmp_path)]), Manner())
    else:
        lines = [json.dumps({"text": text}, ensure_ascii=False) for text in wanted]
        content = "\n".join(lines if form == "jsonl" else ["text", *wanted])
        if form == "csv":
            content = "\r\n".join(["id;text", *(f"{number};{text}" for number, text in enumerate(wanted))])
        (tmp_path / f"a.{form}").write_bytes(content.encode(encoding))
        reader = Reader(sources.find([str(tmp_path / f"a.{form}")]), Manner())
    assert texts(list(reader)) == wanted
    known = {"latin-1": "cp1252", "utf-8-sig": "utf-8"}.get(encoding, encoding)
    assert set(reader.encodings) == {known}


def test_a_few_bytes_that_are_no_utf_8_are_bad_records_of_a_file_that_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    good = json.dumps({"text": "L'état est stable, élevé à l'hôpital."}, ensure_ascii=False).encode()
    path.write_bytes(b"\n".join([good, '{"text": "fièvre"}'.encode("cp1252"), good]))
    found = read(path)
    assert [isinstance(one, Record) for one in found] == [True, False, True]
    assert isinstance(found[1], BadRecord)
    assert found[1].reason == "a byte that the file's encoding does not have, at character 12"
    table_path = tmp_path / "notes.csv"
    table_path.write_bytes(b"text\r\n" + "élevé à l'hôpital\r\nfièvre".encode() + b"\r\nfi\xe8vre\r\n")
    assert texts(read(table_path)) == ["élevé à l'hôpital", "fièvre", None]


@pytest.mark.parametrize(
    "lines",
    [
        ['{"text": "Toux."}', '{"text": "fi\xe8vre"}', '{"text": "élevé"}'],
        ['{"text": "é"}', '{"text": "fi\xe8vre \xe9lev\xe9e"}'],
        ['{"text": "fi\xe8vre"}', *[json.dumps({"text": "Toux. " * 1000})] * 300, '{"text": "à"}'],
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_json_lines_are_utf_8_as_long_as_one_letter_is(tmp_path: Path, lines: list[str], suffix: str) -> None:
    path = tmp_path / f"notes.{suffix}"
    content = b"\n".join(line.encode("cp1252" if "\xe8" in line else "utf-8") for line in lines)
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    reader = Reader(sources.find([str(path)]), Manner())
    found = list(reader)
    assert [isinstance(one, Record) for one in found] == ["\xe8" not in line for line in lines]
    assert texts(found)[-1] == (json.loads(lines[-1])["text"] if "\xe8" not in lines[-1] else None)
    assert dict(reader.encodings) == {"utf-8": 1}


def test_an_encoding_that_was_named_is_not_second_guessed(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "notes.jsonl", [{"text": "fièvre"}])
    assert texts(read(path, encoding=check("latin-1"))) == ["fiÃ¨vre"]
    with pytest.raises(RunError, match="no encoding"):
        check("nope")
    with pytest.raises(RunError, match="no encoding"):
        check("base64")


def test_a_table_without_the_column_is_refused_without_telling_what_stands_there(tmp_path: Path) -> None:
    path = table(tmp_path / "notes.csv", [["Madame Canari", "née en 1931"], ["x", "y"]])
    with pytest.raises(RunError, match="there is no 'text' or 'note_text' among 2 fields") as refused:
        read(path)
    assert "Canari" not in str(refused.value)
    with pytest.raises(RunError, match="there is no 'corps' among"):
        read(path, columns=Columns(text="corps"))
    with pytest.raises(RunError, match="is empty"):
        read(table(tmp_path / "empty.csv", []))


def test_columns_are_found_by_the_names_that_were_given(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "n.jsonl", [{"text": "no", "corps": "Toux.", "ipp": "A1"}, {"corps": "Fièvre."}])
    found = read(path, columns=Columns(text="corps", id="ipp"))
    assert texts(found) == ["Toux.", None]
    assert isinstance(found[1], BadRecord)
    assert found[1].reason == "there is no 'ipp' among 1 fields"


def test_rows_of_another_length_are_bad_records(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_text("id,text\n1,a\n2\n3,b,c\n\n4,d\n", encoding="utf-8")
    found = read(path)
    assert texts(found) == ["a", None, None, "d"]
    assert [one.place.at for one in found] == [2, 3, 4, 6]
    assert [one.reason for one in found if isinstance(one, BadRecord)] == [
        "1 fields where the first line has 2",
        "3 fields where the first line has 2",
    ]


def test_ids_that_no_answer_can_carry_are_bad_records(tmp_path: Path) -> None:
    records = [
        {"id": "x" * 257, "text": "a"},
        {"id": True, "text": "a"},
        {"id": "", "text": "a"},
        '{"id": "\\ud800", "text": "a"}',
    ]
    found = read(jsonl(tmp_path / "n.jsonl", records))
    assert texts(found) == [None, None, "a", None]
    assert isinstance(found[0], BadRecord)
    assert found[0].reason == "the id has 257 characters, the limit is 256"


def test_what_is_no_parquet_and_what_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "n.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(RunError, match="is no Parquet file"):
        read(tmp_path / "n.parquet")
    with pytest.raises(RunError, match="there is no file or folder"):
        read(tmp_path / "nobody.csv")
    (tmp_path / "notes.doc").touch()
    with pytest.raises(RunError, match="--input-format"):
        read(tmp_path / "notes.doc")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="holds no file"):
        read(tmp_path / "empty")


def test_what_was_read_is_counted_in_bytes(tmp_path: Path) -> None:
    first = jsonl(tmp_path / "a.jsonl", [{"text": text} for text in TEXTS])
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "b.parquet")
    reader = Reader(sources.find([str(first), str(tmp_path / "b.parquet")]), Manner())
    assert len(list(reader)) == 2 * len(TEXTS)
    assert reader.consumed == reader.total == first.stat().st_size + (tmp_path / "b.parquet").stat().st_size


def test_a_quotation_that_is_never_closed_is_a_bad_record_and_not_a_long_text(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text('id;text\n1;Toux.\n2;"Fièvre\n3;Toux.', encoding="utf-8")
    found = read(path)
    assert texts(found) == ["Toux.", None]
    assert found[1] == BadRecord(
        place=Place(file=str(path), unit="line", at=3),
        reason="a quotation mark that is never closed takes everything behind it",
    )


def test_names_of_fields_may_have_blanks_around_them_and_may_not_come_twice(tmp_path: Path) -> None:
    assert texts(read(table(tmp_path / "a.csv", [["id", " Text "], ["1", "Toux."]]))) == ["Toux."]
    with pytest.raises(RunError, match="2 fields are called 'text'"):
        read(table(tmp_path / "b.csv", [["text", "text"], ["Toux.", "Fièvre."]]))
    pq.write_table(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"]), tmp_path / "c.parquet")
    with pytest.raises(RunError, match="2 fields are called 'text'"):
        read(tmp_path / "c.parquet")


def test_whole_numbers_in_decimals_are_ids_as_databases_write_them(tmp_path: Path) -> None:
    ids = pa.array([Decimal("12.00"), Decimal("2.50")], pa.decimal128(8, 2))
    pq.write_table(pa.table({"NOTE_ID": ids, "NOTE_TEXT": ["Toux.", "Fièvre."]}), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert [one.id if isinstance(one, Record) else one.reason for one in found] == ["12", "the id is a number"]


def test_files_with_names_that_are_no_utf8_are_read_and_told(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for name in (b"caf\xe9.txt", b"NOTE.TXT", b"z.txt.gz"):
        content = gzip.compress(b"Toux.") if name.endswith(b".gz") else b"Toux."
        Path(os.fsdecode(os.fsencode(tmp_path / "notes") + b"/" + name)).write_bytes(content)
    found = read(tmp_path / "notes")
    assert [one.id for one in found if isinstance(one, Record)] == ["NOTE", "caf\\xe9", "z"]
    assert str(found[1].place) == f"{tmp_path}/notes/caf\\xe9.txt"
