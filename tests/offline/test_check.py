"""`drlongformer check` sees what is wrong with an archive, takes sound French texts for sound, and tells no word of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drlongformer.offline.symptoms import symptoms
from tests.api.logging_state import restored
from tests.offline.houses import SENTENCES, jsonl, note
from tests.serving import bundles
from tests.test_cli import run, told

FRENCH = "àâçéèêëîïôùûüÿœæÀÂÇÉÈÊËÎÏÔÙÛŒÆ«»’…–€° '.,;:!?()-"
PARAGRAPH = (
    "Le patient est adressé par son médecin traitant pour une dyspnée d'effort qui s'aggrave depuis trois semaines, sans "
    "douleur thoracique ni palpitations, avec des oedèmes des membres inférieurs et une prise de poids de quatre kilos. Il "
    "prend un comprimé de furosémide chaque matin, et dit avoir arrêté son traitement pendant les fêtes. "
) * 3


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    with restored():
        yield


def wrapped(text: str, width: int = 72) -> str:
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) >= width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


@given(st.text(st.sampled_from(FRENCH + "abcdeÉtÉ"), max_size=60))
def test_sound_french_is_no_mojibake_and_the_same_read_wrongly_is(text: str) -> None:
    accents = [letter for letter in text if letter in "àâçéèêëîïôùûü"]
    if "Â" not in text and "â" not in text:
        assert not symptoms(text).mojibake
    broken = text.encode().decode("latin-1")
    assert symptoms(broken).mojibake or not accents


@pytest.mark.parametrize("text", ["fiÃ¨vre", "lâ€™hÃ´pital", "Å“dÃ¨me", "37Â°C", "l\x92h\u00f4pital", "fi\ufffdvre"])
def test_mojibake_is_seen(text: str) -> None:
    assert symptoms(text).mojibake


@pytest.mark.parametrize("text", ["fièvre", "« À L'ÉTÉ »", "pâle, âgé", "HÔPITAL À ÂGE", "5 € – œdème…", "naïf", "ÉTÉ»", "Ã"])
def test_sound_texts_are_sound(text: str) -> None:
    found = symptoms(text)
    assert (found.mojibake, found.wrapped, found.repeated, found.hyphenated, found.empty) == (False,) * 5


def test_lines_broken_at_a_width_are_told_from_paragraphs_and_lists() -> None:
    assert symptoms(wrapped(PARAGRAPH)).wrapped
    assert not symptoms(PARAGRAPH).wrapped
    assert not symptoms("\n".join(f"- paracétamol {number} mg" for number in range(20))).wrapped
    assert not symptoms("\n\n".join(SENTENCES * 4)).wrapped
    assert symptoms("un traite-\nment au long cours").hyphenated
    assert not symptoms("- fièvre\n- toux").hyphenated


def test_headers_of_pages_are_lines_that_repeat_but_for_their_numbers() -> None:
    pages = [f"CENTRE HOSPITALIER DE VILLENEUVE\nPage {number}/3\n{SENTENCES[number]}" for number in (1, 2, 3)]
    assert symptoms("\f".join(pages)).repeated
    assert not symptoms("\f".join(pages[:2])).repeated
    assert not symptoms("Non.\nNon.\nNon.\nNon.").repeated


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive with something wrong of every kind."""
    header = "SERVICE DE CARDIOLOGIE, SECRÉTARIAT 01 02 03 04 05"
    records: list[object] = [{"id": str(number), "text": f"{header}\n{note(number)}"} for number in range(10)]
    records += [{"id": "0", "text": f"{header}\n{note(0)}"}, {"text": " "}, "{", '{"text": "\\ud800"}']
    records += [{"id": "x", "text": "fiÃ¨vre"}, {"id": "y", "text": wrapped(PARAGRAPH)}]
    return jsonl(tmp_path / "notes.jsonl", records)


def test_a_report_counts_what_is_wrong_and_where(archive: Path, tmp_path: Path) -> None:
    bundles.write(tmp_path / "store")
    result = run("check", "--input", str(archive), "--store", str(tmp_path / "store"), "--json")
    assert result.exit_code == 3, result.output
    report = json.loads(result.stdout)
    assert report["records"] == 16
    assert report["encodings"] == {"utf-8": 1}
    assert {name: one["records"] for name, one in report["bad"].items()} == {
        "not JSON: Expecting property name enclosed in double quotes at character 2": 1,
        "the text holds a lone surrogate": 1,
    }
    assert report["bad"]["the text holds a lone surrogate"]["places"] == [f"{archive}, line 14"]
    assert {name: one["records"] for name, one in report["troubles"].items()} == {
        "empty": 1,
        "mojibake": 1,
        "wrapped": 1,
        "repeated": 1,
    }
    assert (report["duplicates"], report["duplicate_ids"], report["without_id"], report["shared_edges"]) == (1, 1, 1, 11)
    assert report["characters"]["least"] == 1
    assert report["tokens"]["greatest"] > 64
    assert sum(report["windows"].values()) == sum(report["lengths"].values()) == 13
    assert len(report["windows"]) > 1
    assert report["readable"] is False


def test_reasons_that_differ_in_numbers_alone_are_told_together_with_those_of_the_first(tmp_path: Path) -> None:
    rows = ["note_id,note_text", "1,toux", "2", "3,toux,sèche", "4,toux,sèche,4", '5,"toux']
    path = tmp_path / "notes.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    result = run("check", "--input", str(path), "--no-tokens", "--json")
    bad = {name: one["records"] for name, one in json.loads(result.stdout)["bad"].items()}
    assert bad["1 fields where the first line has 2 (the first; numbers differ)"] == 3
    assert len(bad) == 2
    assert not [name for name in bad if "#" in name]


def test_the_tables_hold_figures_and_places_and_no_text(archive: Path, tmp_path: Path) -> None:
    bundles.write(tmp_path / "store")
    result = run("check", "--input", str(archive), "--store", str(tmp_path / "store"))
    assert result.exit_code == 3
    assert "mojibake" in result.stdout
    assert "notes.jsonl, line 12" in result.stdout
    for word in ("CARDIOLOGIE", "patient", "toux", "fi"):
        assert f" {word} " not in result.output
    assert "CARDIOLOGIE" not in result.output


def test_a_sound_archive_is_told_by_the_exit_code_and_needs_no_model_without_tokens(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "notes.jsonl", [{"id": str(number), "text": note(number)} for number in range(5)])
    result = run("check", "--input", str(path), "--no-tokens", "--json")
    assert (result.exit_code, json.loads(result.stdout)["readable"]) == (0, True)
    assert "there is no folder" in told(run("check", "--input", str(path), "--store", str(tmp_path / "nobody")))
    assert "holds no record" in told(run("check", "--input", str(jsonl(tmp_path / "e.jsonl", [])), "--no-tokens"))
