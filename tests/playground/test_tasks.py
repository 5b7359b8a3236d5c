"""Every task of the page on the embedded model: what is sent, what is shown, what it cost, how it ends early."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx

from drlongformer.text.windows import plan
from tests.playground.looking import ASTRAL, NOTE, SETTLE_MILLISECONDS, Opened

REPORT = "MOTIF\nToux 🫁 sèche.\n\nANTÉCÉDENTS\nDiabète de type 2.\n\nCONCLUSION\nBronchite.\n"


def samples(page: Opened, route: str, status: str) -> float:
    """How many requests of a route ended with a status, as the service counts."""
    told = httpx.get(f"{page.address}/metrics", timeout=30).text
    found = re.findall(r"http_requests_total({.*}) (\S+)", told)
    wanted = (f'route="{route}"', f'status="{status}"')
    return sum(float(value) for labels, value in found if all(each in labels for each in wanted))


def at_work(page: Opened) -> bool:
    """Whether the service has a document in hand."""
    told = httpx.get(f"{page.address}/metrics", timeout=30).text
    return any(float(value) > 0 for value in re.findall(r"(?m)^\w+_inflight_documents(?:{.*})? (\S+)$", told))


def test_what_is_typed_is_counted_as_the_service_counts_it(page: Opened) -> None:
    page.type(NOTE)
    page.page.wait_for_selector('#tokens[data-exact="true"]')
    count = httpx.post(f"{page.address}/ner", json={"inputs": NOTE}, timeout=30).json()["usage"]["tokens"]
    assert page.ask("tokenize")[-1] == {"inputs": NOTE, "return_tokens": False}
    assert page.page.inner_text("#counts") == f"{len(NOTE)} caractères · {count} tokens · 1 fenêtre"
    typed = """(text) => {
      const area = document.getElementById('text');
      area.value = text;
      area.dispatchEvent(new Event('input'));
      return document.getElementById('counts').innerText;
    }"""
    assert page.page.evaluate(typed, ASTRAL).startswith(f"{len(ASTRAL)} caractères · environ ")  # before it can be counted
    page.type("")
    assert page.page.inner_text("#tokens") == "0 tokens"


def test_an_invented_stay_is_longer_than_one_window(page: Opened) -> None:
    page.page.select_option("#samples", "sejour")
    page.page.wait_for_selector('#tokens[data-exact="true"]')
    page.until("() => document.querySelector('#text').value.length > 10000")
    page.page.wait_for_selector('#tokens[data-exact="true"]')
    tokens = int(re.sub(r"\D", "", page.page.inner_text("#tokens")))
    assert tokens > 4096
    windows = len(plan(tokens - 2, capacity=4094, overlap=512))
    assert page.page.inner_text("#windows") == f"{windows} fenêtres"
    page.page.click("#clear")
    assert page.page.input_value("#text") == ""


def test_all_tasks_are_one_request(page: Opened) -> None:
    page.run("all", REPORT, shows='#answer[data-task="all"] #likeness')
    assert [page.page.is_visible(id_) for id_ in ("#entities", "#classes", "#likeness")] == [True] * 3
    (asked,) = page.ask("analyze")
    assert asked["tasks"] == ["ner", "classify", "embed"]
    assert page.ask("ner") == page.ask("classify") == page.ask("embed") == []


def test_classes_are_bars_and_what_it_cost_is_told(page: Opened) -> None:
    page.run("classify", NOTE, shows="#classes")
    labels = httpx.post(f"{page.address}/classify", json={"inputs": NOTE}, timeout=30).json()["results"][0]["labels"]
    shown = page.page.eval_on_selector_all("#classes li", "all => all.map(e => e.children[0].textContent)")
    assert shown == [each["label"] for each in labels]
    width = page.page.eval_on_selector("#classes .bar > span", "e => parseFloat(e.style.width) / 100")
    assert abs(width - labels[0]["score"]) < 0.01
    stages = page.page.eval_on_selector_all("#trace .bars li", "all => all.map(e => e.children[0].textContent)")
    assert stages == ["découpage en tokens", "attente", "calcul", "total"]
    assert page.address in page.page.inner_text("#snippet")
    page.page.click('button[data-language="python"]')
    assert page.page.inner_text("#snippet").startswith("import json")


def test_a_clicked_word_is_masked_and_a_clicked_candidate_stands_in_its_place(page: Opened) -> None:
    page.type(NOTE)
    page.choose("fill-mask")
    page.page.click("#run")
    page.reads("#announced", "Aucun mot n’est masqué : cliquez sur un mot")
    page.page.evaluate("document.getElementById('text').setSelectionRange(6, 6)")
    page.page.click("#mask-word")
    page.reads("#announced", "pas de mot à masquer sous le curseur")
    assert page.ask("fill-mask") == []
    page.page.click("#words .word >> text=fièvre")
    page.answered("#candidates")
    masked = NOTE.replace("fièvre", "<mask>")
    assert page.page.input_value("#text") == masked
    assert page.ask("fill-mask")[-1]["inputs"] == masked
    buttons = page.page.eval_on_selector_all("#candidates button", "all => all.map(e => e.textContent)")
    assert buttons[0] == "fièvre"
    assert len(buttons) == len(set(buttons)) >= 8
    page.page.click("#candidates button >> nth=2")
    assert page.page.input_value("#text") == NOTE.replace("fièvre", buttons[2])
    page.page.evaluate("document.getElementById('text').setSelectionRange(10, 10)")
    page.page.click("#mask-word")
    page.answered("#candidates")
    assert page.ask("fill-mask")[-1]["inputs"] == NOTE.replace("fièvre", buttons[2]).replace("toux", "<mask>")


def test_sections_of_one_document_are_compared_by_late_chunks(page: Opened) -> None:
    page.choose("embed")
    page.page.select_option("#unit", "sections")
    page.run("embed", REPORT, shows="#likeness .map svg")
    (asked,) = page.ask("embed")
    assert [REPORT[start:end].partition("\n")[0] for start, end in asked["chunks"]] == ["MOTIF", "ANTÉCÉDENTS", "CONCLUSION"]
    assert page.page.eval_on_selector_all("#likeness .cell", "all => all.length") == 9
    page.page.hover("#likeness .cell >> nth=1")
    page.reads("#map-told", "MOTIF · ANTÉCÉDENTS")
    assert page.page.eval_on_selector_all("#closest tbody tr", "all => all.length") == 3


def test_several_files_are_compared_as_documents(page: Opened, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + NOTE.encode())
    (tmp_path / "b.txt").write_bytes("Fièvre élevée, œdème.\r\nRepos.".encode("cp1252"))
    (tmp_path / "c.doc").write_bytes(b"no text")
    (tmp_path / "d.txt").write_bytes(b"")
    (tmp_path / "e.txt").write_bytes(bytes(range(256)))
    page.page.set_input_files("#files", [str(tmp_path / name) for name in ("a.txt", "b.txt", "c.doc", "d.txt", "e.txt")])
    page.page.wait_for_selector(".chips li >> nth=1")
    told = page.page.inner_text("#file-told")
    assert "b.txt n’est pas en UTF-8" in told
    assert "c.doc n’est pas un fichier .txt" in told
    assert "d.txt est vide" in told
    assert "e.txt n’est pas du texte" in told
    page.page.click("#run")
    page.answered("#likeness .map svg")
    assert page.ask("embed")[-1]["inputs"] == [NOTE, "Fièvre élevée, œdème.\nRepos."]
    page.page.click('.chips button[aria-label="Retirer b.txt"]')
    page.page.click('.chips button[aria-label="Retirer a.txt"]')
    page.type(NOTE)
    page.page.click("#collect")
    page.page.click("#run")
    page.reads("#announced", "Il faut au moins deux éléments à comparer.")
    page.page.select_option("#unit", "sections")


def test_a_dropped_file_is_read(page: Opened) -> None:
    drop = """(text) => {
      const carried = new DataTransfer();
      carried.items.add(new File([text], 'note.txt', { type: 'text/plain' }));
      const area = document.getElementById('text');
      for (const kind of ['dragover', 'drop']) {
        area.dispatchEvent(new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
      }
    }"""
    page.page.evaluate(drop, ASTRAL)
    page.until("text => document.getElementById('text').value === text", ASTRAL)


def test_a_long_text_is_pasted_at_once_where_the_cursor_is(page: Opened) -> None:
    page.type("<>")
    paste = """(text) => {
      const area = document.getElementById('text');
      area.setSelectionRange(1, 1);
      const clipboardData = new DataTransfer();
      clipboardData.setData('text/plain', text);
      return area.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
    }"""
    long = (NOTE + "\r\n") * 1200
    assert page.page.evaluate(paste, long) is False
    assert page.page.input_value("#text") == f"<{long.replace(chr(13), '')}>"
    assert page.page.evaluate(paste, NOTE) is True
    page.page.click("#restore")
    assert page.page.input_value("#text") == "<>"
    page.page.click("#clear")


def test_a_refusal_is_a_sentence_in_the_page_s_language_with_the_figures_beside_it(page: Opened) -> None:
    page.type("   ")
    page.choose("ner")
    page.page.click("#run")
    page.page.wait_for_selector("#problem:not([hidden])")
    assert "le texte est vide" in page.page.inner_text("#problem")
    page.page.click("#speak-en")
    assert "the text is empty" in page.page.inner_text("#problem")
    assert page.page.get_attribute("html", "lang") == "en"
    page.page.click("#speak-fr")
    assert page.page.title() == "DrLongformer, la page d’essai"


def test_a_long_document_s_progress_is_an_estimate_and_cancelling_stops_the_work(page: Opened) -> None:
    before = samples(page, "/ner", "499")
    httpx.post(f"{page.address}/ner", json={"inputs": NOTE}, timeout=30)  # now the service knows how fast its engine is
    page.page.evaluate("text => { document.getElementById('text').value = text; }", NOTE * 2000)
    page.choose("ner")
    page.page.click("#run")
    page.reads("#progress-told", "environ")
    assert "estimation" in page.page.inner_text("#progress-told")
    assert page.page.eval_on_selector("#progress", "e => e.max === 1 && e.value < 1")
    wait_for(page, lambda: at_work(page))
    page.page.click("#cancel")
    page.page.wait_for_selector("#run:not([disabled])")
    page.reads("#announced", "annulée")
    page.page.wait_for_selector("#going", state="hidden")
    wait_for(page, lambda: samples(page, "/ner", "499") > before)
    assert samples(page, "/ner", "499") == before + 1


def wait_for(page: Opened, holds: Callable[[], bool]) -> None:
    """Wait for something of the service to hold."""
    for _ in range(SETTLE_MILLISECONDS // 100):
        if holds():
            return
        page.page.wait_for_timeout(100)
    raise AssertionError("it never came true")
