"""The page's own logic, module by module, in the browser; where Python has the same function, against that."""

from __future__ import annotations

import base64
import json
import math
import random
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from drlongformer.api import problems
from tests.playground.looking import ASTRAL, NOTE, Opened

ALPHABET = "ab é\n𝛼🫁̈-’<0"


def texts(count: int = 60) -> list[str]:
    draw = random.Random(8)
    return ["", ASTRAL, *("".join(draw.choices(ALPHABET, k=draw.randrange(1, 40))) for _ in range(count))]


def units(text: str) -> int:
    """Its length as JavaScript counts it."""
    return len(text.encode("utf-16-le")) // 2


def test_places_are_translated_between_code_points_and_units_as_python_counts_them(page: Opened) -> None:
    written = texts()
    expression = "x.map((text) => {{ const p = new m.Places(text); return {}; }})"
    there = page.module("text", expression.format("[...text, ''].map((_, point) => p.unit(point))"), written)
    assert there == [[units(text[:point]) for point in range(len(text) + 1)] for text in written]
    back = page.module("text", expression.format("[...text, ''].map((_, point) => p.point(p.unit(point)))"), written)
    assert back == [list(range(len(text) + 1)) for text in written]
    assert page.module("text", "x.map((text) => new m.Places(text).length)", written) == [len(text) for text in written]
    assert sum(units(text) > len(text) for text in written) > 10


def test_runs_cover_a_text_and_cut_no_span(page: Opened) -> None:
    draw = random.Random(3)
    for text in texts(25):
        length = units(text)
        edges = sorted(draw.sample(range(length + 1), k=min(length + 1, 6)))
        spans = [{"start": start, "end": end} for start, end in list(pairwise(edges))[::2]]
        found = page.module("text", "m.runs(x.text, x.spans, 5)", {"text": text, "spans": spans})
        assert [start for start, _ in found] == ([0, *(end for _, end in found[:-1])] if text else [])
        assert not text or found[-1][1] == length
        for span in spans:
            assert sum(start <= span["start"] and span["end"] <= end for start, end in found) == 1


def test_pieces_put_a_text_together_again_and_leave_overlapping_spans_out(page: Opened) -> None:
    spans = [{"start": 2, "end": 5}, {"start": 4, "end": 8}, {"start": 6, "end": 7}]
    found = page.module("text", "m.pieces(x, 0, 10)", spans)
    assert [(piece["start"], piece["end"], "span" in piece) for piece in found] == [
        (0, 2, False),
        (2, 5, True),
        (5, 6, False),
        (6, 7, True),
        (7, 10, False),
    ]


def test_words_are_found_and_masks_are_words_whatever_they_are_made_of(page: Opened) -> None:
    text = "L’hôpital 🫁 Le-Goas, <mask> mg."
    found = page.module("text", "m.words(x, '<mask>').map((w) => [x.slice(w.start, w.end), Boolean(w.mask)])", text)
    assert found == [["L", False], ["hôpital", False], ["Le-Goas", False], ["<mask>", True], ["mg", False]]
    place = (
        "[3, 10, 11, text.length].map((at) => {const w = m.wordAt(text, at, ''); return w ? text.slice(w.start, w.end) : null})"
    )
    assert page.module("text", f"((text) => {place})(x)", text) == ["hôpital", None, None, None]


def test_sections_begin_with_titles_and_without_any_paragraphs_are_sections(page: Opened) -> None:
    cut = "m.sections(x).map((s) => [s.title, x.slice(s.start, s.end)])"
    text = "Dr Inventé\n\nURGENCES\n\nMOTIF DE RECOURS\nToux 🫁 sèche.\n\nTraitement :\nParacétamol.\n"
    assert page.module("text", cut, text) == [
        ["Dr Inventé", "Dr Inventé"],
        ["URGENCES", "URGENCES\n\nMOTIF DE RECOURS\nToux 🫁 sèche."],
        ["Traitement :", "Traitement :\nParacétamol."],
    ]
    plain = "Toux sèche.\n\n \nPas de fièvre.\nRepos."
    assert page.module("text", cut, plain) == [["Toux sèche.", "Toux sèche."], ["Pas de fièvre.", "Pas de fièvre.\nRepos."]]
    assert page.module("text", cut, " \n ") == []


@pytest.mark.parametrize(
    ("before", "token", "fitted"),
    [("du ", " paracétamol", "paracétamol"), ("l’", " eau", "eau"), ("re", "pas", "pas"), ("du", " lait", " lait")],
)
def test_a_word_is_fitted_into_the_text_without_a_second_space(page: Opened, before: str, token: str, fitted: str) -> None:
    assert page.module("text", "m.fitted(x[0], x[0].length, x[1])", [before, token]) == fitted


def test_a_page_of_metrics_is_read_as_prometheus_reads_it(page: Opened) -> None:
    told = httpx.get(f"{page.address}/metrics").text + 'odd{a="x\\"y\\\\z",b="1,2"} +Inf 12\nodd{a="n\\nl"} NaN\n'
    expected = sorted(
        [sample.name, sorted(sample.labels.items()), str(float(sample.value))]
        for family in text_string_to_metric_families(told)
        for sample in family.samples
    )
    read = "[...m.parse(x)].flatMap(([n, all]) => all.map((s) => [n, Object.entries(s.labels), String(s.value)]))"
    found = page.module("prometheus", read, told)
    names = {"Infinity": "inf", "NaN": "nan"}
    assert expected == sorted(
        [name, sorted(map(tuple, labels)), names.get(value) or str(float(value))] for name, labels, value in found
    )
    assert len(found) > 100
    assert page.module(
        "prometheus", "(() => {try {m.parse('ok 1\\nno number x y z'); return 0} catch (e) {return e.message}})()"
    ) == ("line 2 is no sample")


def test_quantiles_lie_between_the_bounds_of_their_buckets(page: Opened) -> None:
    counted = "[{le: 1, count: 10}, {le: 2, count: 30}, {le: Infinity, count: 40}]"
    shares = "[0.125, 0.5, 0.75, 0.95]"
    found = page.module("prometheus", f"{shares}.map((share) => m.between(share, {counted}))")
    assert [(each["low"], each["high"]) for each in found] == [(0, 1), (1, 2), (1, 2), (2, math.inf)]
    assert page.module("prometheus", "m.between(0.5, [{le: 1, count: 0}])") is None
    grown = "[[5, 3], [2, 3]].map(([now, before]) => m.since([{le: 1, count: now}], [{le: 1, count: before}])[0].count)"
    assert page.module("prometheus", grown) == [2, 2]
    assert page.module("prometheus", "[m.rate(6, 2, 2), m.rate(1, 9, 1), m.rate(5, 1, 0)]") == [2, 1, 0]


@pytest.mark.parametrize(
    ("content", "text", "told"),
    [
        (b"\xef\xbb\xbf" + ASTRAL.encode(), ASTRAL, None),
        (b"\xff\xfe" + ASTRAL.encode("utf-16-le"), ASTRAL, None),
        (b"\xfe\xff" + ASTRAL.encode("utf-16-be"), ASTRAL, None),
        ("Fièvre, œdème.".encode("cp1252"), "Fièvre, œdème.", "file_cp1252"),
        (b"Toux.\r\nRepos.\r" * 60 + b"\x1e", "Toux.\nRepos.\n" * 60 + "\x1e", None),
        (b"", None, "file_empty"),
        (b"\xef\xbb\xbf \r\n", None, "file_empty"),
        (b"Toux\x00", None, "file_binary"),
        (random.Random(4).randbytes(4000).replace(b"\0", b""), None, "file_binary"),
        (b"\xff\xfe\x00\xd8", None, "file_binary"),
    ],
    ids=["utf-8", "utf-16-le", "utf-16-be", "cp1252", "a stray sign", "empty", "blank", "zero", "noise", "half a pair"],
)
def test_a_file_is_read_in_its_encoding_or_refused(page: Opened, content: bytes, text: str | None, told: str | None) -> None:
    found = page.module("files", "m.textOf(Uint8Array.from(x))", list(content))
    assert (found.get("text"), found.get("told")) == (text, told)


def test_vectors_are_decoded_and_compared_as_numpy_does(page: Opened) -> None:
    vectors = np.random.default_rng(1).normal(size=(5, 7)).astype("<f4")
    sent = [base64.b64encode(vector.tobytes()).decode() for vector in vectors]
    found = page.module("vectors", "m.cosines(x.map(m.decoded)).map((row) => [...row])", sent)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.allclose(found, unit @ unit.T, atol=1e-6)
    pairs = page.module("vectors", "m.pairs([[1, 0.2, 0.9], [0.2, 1, 0.5], [0.9, 0.5, 1]])")
    assert [(pair["first"], pair["second"]) for pair in pairs] == [(0, 2), (1, 2), (0, 1)]


def test_every_sentence_is_there_in_both_languages(page: Opened) -> None:
    keys = page.module("wording", "['fr', 'en'].map((tag) => Object.keys(m.WORDING[tag]).sort())")
    assert keys[0] == keys[1]
    fixed = page.page.evaluate("[...document.querySelectorAll('[data-say]')].map((each) => each.dataset.say)")
    assert fixed
    assert set(fixed) <= set(keys[0])
    assert page.module("wording", "m.preferred(['de-DE', 'en-GB', 'fr'])") == "en"
    assert page.module("wording", "m.preferred(['de-DE'])") == "fr"


def test_every_refusal_of_the_service_has_its_sentence(page: Opened) -> None:
    kinds = {problems.named(error) for error in problems.STATUS} | {"internal-error"}
    for tag in ("fr", "en"):
        assert kinds <= set(page.module("problems", f"Object.keys(m.SENTENCES.{tag})"))


BODIES: list[dict[str, Any]] = [
    {
        "inputs": "L'état « stable »\n\t$HOME `id` \\ \"x\" 🫁 \u2028'''",
        "tasks": ["ner", "classify"],
        "ner": {"min_score": 0.5},
    },
    {"inputs": NOTE * 40, "tasks": ["ner"], "on_error": "report", "ner": {"return_text": False}},
]


@pytest.mark.parametrize("body", BODIES, ids=["short", "long"])
@pytest.mark.parametrize("language", ["curl", "python", "r"])
def test_a_snippet_sends_the_very_request_again(page: Opened, tmp_path: Path, language: str, body: dict[str, Any]) -> None:
    tools = {"curl": ["curl", *(["jq"] if len(body["inputs"]) > 1500 else [])], "python": [], "r": ["Rscript"]}[language]
    written = page.module(
        "snippets", "m.snippet(x[0], x[1])", [language, {"url": f"{page.address}/analyze", "body": body, "keyed": False}]
    )
    assert "DRLONGFORMER_KEY" not in written
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)}")
    (tmp_path / "document.txt").write_bytes(body["inputs"].encode())
    commands = {"curl": ["bash", "-c", written], "python": [sys.executable, "-c", written], "r": ["Rscript", "-e", written]}
    ran = subprocess.run(commands[language], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    if language == "r":
        return
    sent = httpx.post(f"{page.address}/analyze", json=body, timeout=30).json()
    assert json.loads(ran.stdout) == sent


def test_a_snippet_names_the_variable_of_a_key_where_one_was_asked_for(page: Opened) -> None:
    request = {"url": "http://h/ner", "body": {"inputs": "Toux."}, "keyed": True}
    for language in ("curl", "python", "r"):
        assert len(re.findall("DRLONGFORMER_KEY", page.module("snippets", "m.snippet(x[0], x[1])", [language, request]))) == 1
