"""Entities in the page: drawn where they are, filtered, judged by pointer and keyboard, and exported for training."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from drlongformer.training.records.reader import read
from tests.playground.looking import ASTRAL, NOTE, Opened

MARK = ".entity:not(.off)"


@pytest.fixture
def found(page: Opened) -> list[dict[str, Any]]:
    """What the service says of the astral text; at least two entities stand behind a character of two units."""
    answer = httpx.post(f"{page.address}/ner", json={"inputs": ASTRAL}, timeout=30).json()
    entities: list[dict[str, Any]] = answer["results"][0]["entities"]
    assert len(entities) > 1
    assert entities[-1]["start"] > ASTRAL.index("🫁")
    return entities


def marks(page: Opened) -> list[list[str]]:
    """Text and label of each entity that is shown."""
    shown: list[list[str]] = page.page.eval_on_selector_all(MARK, "all => all.map(e => [e.textContent, e.dataset.label])")
    return shown


def test_entities_stand_where_the_service_found_them_beside_astral_characters(
    page: Opened, found: list[dict[str, Any]]
) -> None:
    page.run("ner", ASTRAL, shows='#document[data-drawn="whole"]')
    assert marks(page) == [[entity["text"], entity["label"]] for entity in found]
    assert page.page.text_content("#document") == ASTRAL
    assert page.ask("ner") == [{"inputs": ASTRAL}]
    page.page.check('input[name="entity-view"][value="table"]')
    rows = page.page.eval_on_selector_all("#entity-table tbody tr", "all => all.map(r => [...r.cells].map(c => c.textContent))")
    assert [(row[0], int(row[3]), int(row[4])) for row in rows] == [(e["text"], e["start"], e["end"]) for e in found]
    page.page.check('input[name="entity-view"][value="json"]')
    assert json.loads(page.page.text_content("#json") or "")["results"][0]["entities"] == found


def test_each_type_has_a_colour_of_its_own_that_the_legend_shows(page: Opened, found: list[dict[str, Any]]) -> None:
    page.run("ner", ASTRAL, shows='#document[data-drawn="whole"]')
    ground = "getComputedStyle(e).backgroundColor"
    marked = page.page.eval_on_selector_all(MARK, f"all => all.map(e => [e.dataset.label, {ground}])")
    swatches = f"all => all.map(e => [e.parentElement.querySelector('input').value, {ground}])"
    legend = dict(page.page.eval_on_selector_all(".legend .swatch", swatches))
    assert dict(marked) == legend
    assert legend.keys() == {entity["label"] for entity in found}
    assert len(set(legend.values())) == len(legend) > 1


def test_a_type_has_one_colour_in_every_answer_and_no_sign_of_the_text_turns_its_badge(page: Opened) -> None:
    heads = httpx.get(f"{page.address}/models/drlongformer-mini", timeout=30).json()["heads"]
    types = page.module("models", "m.types({ heads: x })", heads)
    assert types[:3] == ["ACTOR", "BODYPART", "CLINENTITY"]
    assert len(types) == len(set(types)) > 6
    seen: set[frozenset[str]] = set()
    for text in (ASTRAL, f"\u202e{NOTE}"):
        page.run("ner", text, shows='#document[data-drawn="whole"]')
        hues = page.page.eval_on_selector_all(MARK, "all => all.map(e => [e.dataset.label, e.classList[1]])")
        assert hues == [[label, f"hue-{types.index(label)}"] for label, _ in hues]
        seen.add(frozenset(label for label, _ in hues))
        turned = "e => [e, '::after'].map((part) => getComputedStyle(e, part === e ? null : part).unicodeBidi)"
        assert page.page.eval_on_selector(MARK, turned) == ["isolate", "isolate"]
    assert len(seen) == 2


def test_legend_and_slider_hide_entities(page: Opened, found: list[dict[str, Any]]) -> None:
    page.run("ner", ASTRAL, shows='#document[data-drawn="whole"]')
    label = found[0]["label"]
    page.page.uncheck(f'.legend input[value="{label}"]')
    assert marks(page) == [[e["text"], e["label"]] for e in found if e["label"] != label]
    page.page.check(f'.legend input[value="{label}"]')
    scores = sorted(entity["score"] for entity in found)
    least = round((scores[0] + scores[-1]) / 2, 2)
    page.page.fill("#least", str(least))
    kept = [[e["text"], e["label"]] for e in found if e["score"] >= least]
    assert marks(page) == kept
    assert 0 < len(kept) < len(found)
    assert (page.page.text_content("#entity-count") or "").startswith(f"{len(kept)} entité")


def test_a_bubble_tells_score_and_offsets_to_pointer_and_keyboard(page: Opened, found: list[dict[str, Any]]) -> None:
    page.run("ner", ASTRAL, shows='#document[data-drawn="whole"]')
    page.page.hover(f"{MARK} >> nth=0")
    page.reads("#bubble", f"caractères {found[0]['start']} à {found[0]['end']}")
    page.reads("#bubble", f"{found[0]['score']:.3f}".replace(".", ","))
    page.page.focus("#document")
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("ArrowRight")
    page.reads("#bubble", f"caractères {found[1]['start']} à {found[1]['end']}")
    page.page.keyboard.press("x")
    page.page.wait_for_selector(f"{MARK}.wrong")
    assert page.page.eval_on_selector_all(MARK, "all => all.map(e => e.classList.contains('wrong'))").index(True) == 1
    page.page.keyboard.press("x")
    page.page.wait_for_selector(f"{MARK}.wrong", state="detached")
    page.page.keyboard.press("Escape")
    page.page.wait_for_selector("#bubble", state="hidden")


def shown(page: Opened, text: str) -> None:
    """Ask for the entities of a text, and wait until they are drawn."""
    page.run("ner", text, shows='#document[data-drawn="whole"]')
    page.until("text => document.querySelector('#document').textContent === text", text)


def test_every_judged_document_is_exported_once_for_each_head_and_training_reads_it(
    page: Opened, found: list[dict[str, Any]], tmp_path: Path
) -> None:
    shown(page, ASTRAL)
    page.page.hover(f"{MARK} >> nth=0")
    page.page.click('#bubble button[data-correct="false"]')
    page.page.click("#export")
    page.reads("#export-told", f"{len(found) - 1} entité")
    shown(page, NOTE)
    page.page.click("#rest-wrong")
    assert page.asks_to_stay()
    shown(page, ASTRAL)
    assert page.page.eval_on_selector_all(MARK, "all => all.map(e => e.classList.contains('wrong'))").index(True) == 0
    page.page.click("#rest-correct")
    page.page.select_option("#head", "clinical")
    shown(page, ASTRAL)
    page.page.click("#rest-correct")
    exported = page.saved(lambda: page.page.click("#export"))
    page.page.select_option("#head", index=0)
    assert not page.asks_to_stay()
    assert [json.loads(line)["head"] for line in exported.splitlines()] == ["temporal", "temporal", "clinical"]
    file = tmp_path / "annotations.jsonl"
    file.write_bytes(exported.encode())
    records = read(file, task="ner")
    sessions = [re.fullmatch(r"document-([0-9a-f]{12})-(\d)", record.id) for record in records]
    assert [each and each[2] for each in sessions] == ["1", "2", "3"]
    assert len({each and each[1] for each in sessions}) == 1
    assert [record.text for record in records] == [ASTRAL, NOTE, ASTRAL]
    assert [(span.start, span.end, span.label) for span in records[0].spans] == [
        (entity["start"], entity["end"], entity["label"]) for entity in found[1:]
    ]
    assert records[1].spans == ()


def test_what_is_judged_in_part_is_told_and_opened_again(page: Opened) -> None:
    half = f"{ASTRAL} Repos."
    shown(page, half)
    page.page.hover(f"{MARK} >> nth=0")
    page.page.click('#bubble button[data-correct="false"]')
    shown(page, NOTE)
    page.page.check('input[name="entity-view"][value="table"]')
    page.page.click("#rest-wrong")
    before = page.saved(lambda: page.page.click("#export")).splitlines()
    assert half not in [json.loads(line)["text"] for line in before]
    assert page.asks_to_stay()
    page.page.click("#halves button")
    page.page.wait_for_selector(f"{MARK}.wrong")
    assert page.page.input_value("#text") == half
    page.page.click("#rest-correct")
    after = page.saved(lambda: page.page.click("#export")).splitlines()
    assert not page.asks_to_stay()
    assert page.page.locator("#halves").count() == 0
    assert {*after} > {*before}
    added = [json.loads(line) for line in {*after} - {*before}]
    assert [(line["text"], line["entities"][0]["correct"]) for line in added] == [(half, False)]


def test_a_hundred_thousand_characters_are_drawn_in_runs_and_stay_whole(page: Opened) -> None:
    text = ("Toux sèche et fièvre 🤒 depuis trois jours, sans dyspnée.\n" * 2000)[:100_000]
    entities: list[dict[str, Any]] = [
        {"label": f"L{place % 14}", "start": at, "end": at + 6, "text": text[at : at + 6], "score": place % 100 / 100}
        for place, at in enumerate(range(0, len(text) - 6, 25))
    ]
    page.page.evaluate(
        """async ([text, entities]) => {
          const { Entities } = await import('/playground/entities.js');
          const { Kept } = await import('/playground/annotations.js');
          const view = new Entities({ text, entities, answer: {}, kept: new Kept() });
          document.getElementById('answer').replaceChildren(view.element());
        }""",
        [text, entities],
    )
    page.page.wait_for_selector('#document[data-drawn="whole"]')
    assert page.page.text_content("#document") == text
    assert page.page.eval_on_selector_all("#document > div", "all => all.length") > 40
    assert page.page.eval_on_selector("#document > div", "e => getComputedStyle(e).contentVisibility") == "auto"
    page.page.fill("#least", "0.5")
    assert len(marks(page)) == sum(entity["score"] >= 0.5 for entity in entities)
