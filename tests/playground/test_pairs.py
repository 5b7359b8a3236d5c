"""Texts compared with the document, and a question with options: what is sent, what is shown, what stands beside it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.playground.looking import NOTE, Opened

OTHERS = ["Le malade tousse.", "Fracture du poignet 🫁."]
QUESTION = "Que prescrire pour la fièvre ?"
OPTIONS = {"a": "du paracétamol", "b": "un plâtre"}

BARS = "all => all.map(e => [e.children[0].innerText, parseFloat(e.querySelector('.bar > span').style.width) / 100])"


def answered(page: Opened, route: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """What the service itself says."""
    results: list[dict[str, Any]] = httpx.post(f"{page.address}/{route}", json=body, timeout=60).json()["results"]
    return results


def folded(page: Opened) -> dict[str, Any]:
    """The answer that opens below it."""
    page.page.click("#folded-json summary")
    page.page.wait_for_selector("#json")
    answer: dict[str, Any] = json.loads(page.page.text_content("#json") or "")
    return answer


def fewest(page: Opened, fields: str, least: int) -> None:
    """Take fields away until the least number is left, which none can be taken from."""
    while (count := page.page.locator(f"#{fields} textarea").count()) > least:
        page.page.click(f"#{fields} li:nth-child({count}) button")
    assert page.page.locator(f"#{fields} button:not(.add)").count() == 0


def test_texts_are_compared_with_the_document_and_each_has_its_bar(page: Opened) -> None:
    page.type(NOTE)
    page.choose("similarity")
    fewest(page, "compared", 1)
    page.page.fill("#compared-0", OTHERS[0])
    page.page.click("#compared .add")
    assert page.page.evaluate("document.activeElement.id") == "compared-1"
    page.page.keyboard.insert_text(OTHERS[1])
    page.page.keyboard.press("Control+Enter")
    page.answered("#comparisons")
    body = {"inputs": {"source": NOTE, "sentences": OTHERS}}
    assert page.ask("similarity") == [body]
    scores = [each["score"] for each in answered(page, "similarity", body)]
    shown = page.page.eval_on_selector_all("#comparisons li", BARS)
    assert [label for label, _ in shown] == [f"{place + 1}. {text}" for place, text in enumerate(OTHERS)]
    assert [share for _, share in shown] == pytest.approx(scores, abs=0.001)
    page.reads("#comparisons", "Cosinus")
    assert "/similarity" in page.page.inner_text("#snippet")
    assert [each["score"] for each in folded(page)["results"]] == pytest.approx(scores, abs=1e-5)


def test_the_score_of_a_head_for_pairs_is_drawn_on_its_own_scale(page: Opened) -> None:
    heads = [{"name": "embedding", "task": "embed"}, {"name": "sts", "task": "similarity", "score_range": [0, 5]}]
    given = {"texts": ["a", "b"], "results": [{"score": 4, "method": "head"}, {"score": 0, "method": "head"}]}
    drawn = "[...m.comparisons(x).querySelectorAll('.bar > span')].map((e) => e.style.width)"
    assert page.module("scores", drawn, given | {"model": {"heads": heads}, "head": None}) == ["80%", "0%"]


def test_a_question_has_its_options_as_bars_and_the_right_one_is_named(page: Opened) -> None:
    page.type(NOTE)
    page.choose("multiple-choice")
    fewest(page, "choices", 2)
    page.page.fill("#question", QUESTION)
    for place, text in enumerate(OPTIONS.values()):
        page.page.fill(f"#choices-{place}", text)
    page.page.click("#run")
    page.answered("#choice")
    body = {"inputs": {"question": QUESTION, "options": OPTIONS, "context": NOTE}}
    assert page.ask("multiple-choice") == [body]
    [found] = answered(page, "multiple-choice", body)
    shown = page.page.eval_on_selector_all("#choice li", BARS)
    assert [share for _, share in shown] == pytest.approx([each["score"] for each in found["choices"]], abs=0.001)
    held = [each["option"] in found["answer"] for each in found["choices"]]
    assert [label for label, _ in shown] == [
        f"{name}) {text}{' ✓ retenue' if right else ''}" for (name, text), right in zip(OPTIONS.items(), held, strict=True)
    ]
    page.reads("#choice h3", f"Réponse : {', '.join(found['answer'])}")
    assert folded(page)["results"][0]["answer"] == found["answer"]
    page.page.click("#speak-en")
    page.reads("#choice", "held right")
    page.page.click("#speak-fr")
    page.type("")
    page.page.check("#several")
    page.page.click("#run")
    page.page.wait_for_selector("#results:not([aria-busy])")
    assert page.ask("multiple-choice")[-1] == {"inputs": {"question": QUESTION, "options": OPTIONS}, "multiple": True}
    page.page.uncheck("#several")


def test_an_invented_example_fills_the_fields_can_be_taken_back_and_what_is_missing_is_told(page: Opened) -> None:
    page.type(NOTE)
    page.choose("multiple-choice")
    page.page.fill("#question", " ")
    page.page.click("#run")
    page.reads("#announced", "Écrivez une question et au moins deux propositions.")
    page.page.fill("#choices-0", "du repos")
    page.page.click("#example")
    assert page.page.input_value("#question").strip()
    assert page.page.locator("#choices textarea").count() == 4
    page.page.click("#restore")
    written = [page.page.input_value(field) for field in ("#text", "#question", "#choices-0")]
    assert written == [NOTE, " ", "du repos"]
    page.choose("similarity")
    page.page.click("#example")
    assert page.page.input_value("#text") != NOTE
    page.page.click("#clear")
    for _ in range(2):
        assert page.page.input_value("#text") != NOTE
        page.page.click("#restore")
    assert page.page.input_value("#text") == NOTE
    page.page.click("#compared li:nth-child(2) button")
    assert page.page.evaluate("document.activeElement.id") == "compared-0"
    page.page.fill("#compared-0", "")
    page.page.click("#run")
    page.reads("#announced", "Écrivez au moins un texte à comparer au document.")
    assert page.ask("similarity") == page.ask("multiple-choice") == []


def test_only_tasks_that_a_model_has_are_offered(page: Opened) -> None:
    offered = "m.TASKS.filter((task) => m.asked(task, { tasks: x }).length)"
    assert page.module("asking", offered, ["embed"]) == ["embed", "similarity", "all"]
    assert page.module("asking", offered, ["similarity", "fill-mask"]) == ["fill-mask", "similarity"]
    assert page.module("asking", offered, ["multiple-choice", "ner"]) == ["ner", "multiple-choice", "all"]
    shown = page.page.eval_on_selector_all('input[name="task"]', "all => all.map(e => e.value)")
    assert shown == page.module("asking", "m.TASKS")
