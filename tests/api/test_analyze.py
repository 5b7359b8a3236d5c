"""`/analyze`: the same answers as the tasks' own routes, from one pass where the heads share it; and chunks of embeddings."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from drlongformer.serving.engine import FakeEngine
from tests.api import services
from tests.serving.bundles import WIDTHS

TEXT = "Le patient a de la fièvre. Il tousse 👩\u200d⚕ depuis hier.\n\nPas de douleur."
LONG = " ".join(["fièvre"] * 300)
TASKS = ("embed", "ner", "classify")


async def ask(client: httpx.AsyncClient, path: str, **body: Any) -> list[dict[str, Any]]:
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


async def problem(client: httpx.AsyncClient, path: str, **body: Any) -> tuple[int, list[Any], str]:
    response = await client.post(path, json=body)
    told = response.json()["errors"][0]
    return response.status_code, told["loc"], told["msg"]


async def test_the_answers_are_those_of_each_tasks_own_route(tmp_path: Path) -> None:
    options: dict[str, dict[str, Any]] = {
        "embed": {"dimensions": 3, "encoding": "base64"},
        "ner": {"redact": True},
        "classify": {"top_k": 2},
    }
    async with services.client(services.service(tmp_path)) as client:
        together = await ask(client, "/analyze", inputs=[TEXT, LONG], tasks=TASKS, **options)
        alone = [await ask(client, f"/{task}", inputs=[TEXT, LONG], **options[task]) for task in TASKS]
    for place, result in enumerate(together):
        wanted = {name: value for results in alone for name, value in results[place].items()}
        assert result == wanted
    assert together[1]["windows"] > 1


@pytest.mark.parametrize(("tasks", "passes"), [(TASKS, 2), (("ner", "classify"), 1), (("classify",), 1)])
async def test_heads_that_were_trained_alike_share_a_pass(tmp_path: Path, tasks: tuple[str, ...], passes: int) -> None:
    engine = FakeEngine(WIDTHS, block=16)
    async with services.client(services.service(tmp_path, engine=engine)) as client:
        await ask(client, "/analyze", inputs=TEXT, tasks=tasks)
    assert sum(len(batch.shares) for batch in engine.batches) == passes


async def test_what_is_not_asked_is_not_answered(tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path)) as client:
        [result] = await ask(client, "/analyze", inputs=TEXT, tasks=["ner"])
    assert "entities" in result
    assert not {"embedding", "labels", "redacted", "chunks"} & result.keys()


@pytest.mark.parametrize(
    ("body", "loc", "message"),
    [
        ({"tasks": []}, ["tasks"], "the least is 1"),
        ({"tasks": ["ner", "ner"]}, ["tasks"], "names a task twice"),
        ({"tasks": ["fill-mask"]}, ["tasks", 0], "must be"),
        ({"tasks": ["ner"], "classify": {"top_k": 1}}, ["classify"], "not among the tasks"),
        ({"tasks": ["ner"], "head": "symptoms"}, ["head"], "options of each task"),
        ({"tasks": ["ner"], "ner": {"redact": True}, "overflow": "truncate"}, ["ner", "redact"], "whole document"),
        ({"tasks": ["ner"], "ner": {"min_scor": 0.5}}, ["ner"], "did you mean 'min_score'"),
        ({"tasks": ["ner"], "ner": {"head": "chapter"}}, ["ner", "head"], "head"),
        ({"tasks": ["ner"], "ner": {"labels": ["SYMPTOM", "x"]}}, ["ner", "labels", 1], "label 1 is unknown"),
        ({"tasks": ["embed"], "embed": {"chunks": [[9, 9]]}}, ["embed", "chunks", 0, 0], "9:9"),
        ({"tasks": ["embed"], "embed": {"chunks": [[[0, 1]], [[0, 1]]]}}, ["embed", "chunks"], "2 lists of ranges"),
    ],
)
async def test_a_mistake_is_told_by_its_place(tmp_path: Path, body: dict[str, Any], loc: list[Any], message: str) -> None:
    async with services.client(services.service(tmp_path)) as client:
        status, place, told = await problem(client, "/analyze", inputs=TEXT, **body)
    assert (status, place) == (422, loc)
    assert message in told


async def test_sentences_and_paragraphs_have_vectors_and_exact_ranges(tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path)) as client:
        [by_sentence] = await ask(client, "/embed", inputs=TEXT, chunks="sentences")
        [by_paragraph] = await ask(client, "/embed", inputs=TEXT, chunks="paragraphs")
        [utf16] = await ask(client, "/embed", inputs=TEXT, chunks="sentences", offsets="utf16")
        [plain] = await ask(client, "/embed", inputs=TEXT)
    texts = [TEXT[each["start"] : each["end"]] for each in by_sentence["chunks"]]
    assert texts == ["Le patient a de la fièvre.", "Il tousse 👩\u200d⚕ depuis hier.", "Pas de douleur."]
    assert [TEXT[each["start"] : each["end"]] for each in by_paragraph["chunks"]] == TEXT.split("\n\n")
    units = TEXT.encode("utf-16-le")
    assert [units[2 * each["start"] : 2 * each["end"]].decode("utf-16-le") for each in utf16["chunks"]] == texts
    assert np.allclose(plain["embedding"], by_sentence["embedding"], atol=1e-6)
    assert all(np.isclose(np.linalg.norm(each["embedding"]), 1, atol=1e-6) for each in by_sentence["chunks"])


async def test_given_ranges_come_back_in_their_order_and_may_overlap(tmp_path: Path) -> None:
    ranges = [[27, 30], [0, 26], [3, 60]]
    async with services.client(services.service(tmp_path)) as client:
        [alone] = await ask(client, "/embed", inputs=TEXT, chunks=ranges, encoding="base64")
        [first, second] = await ask(client, "/embed", inputs=[TEXT, LONG], chunks=[ranges, [[0, 6]]])
    assert [[each["start"], each["end"]] for each in first["chunks"]] == ranges
    decoded = [np.frombuffer(base64.b64decode(each["embedding"]), dtype="<f4") for each in alone["chunks"]]
    assert np.allclose(decoded, [each["embedding"] for each in first["chunks"]], atol=1e-6)
    assert [(each["start"], each["end"]) for each in second["chunks"]] == [(0, 6)]


async def test_given_ranges_are_counted_as_offsets_say(tmp_path: Path) -> None:
    text = "👩 tousse"
    async with services.client(services.service(tmp_path)) as client:
        [units] = await ask(client, "/embed", inputs=text, chunks=[[3, 9]], offsets="utf16")
        [points] = await ask(client, "/embed", inputs=text, chunks=[[2, 8]])
        status, place, told = await problem(client, "/embed", inputs=text, chunks=[[0, 2], [1, 9]], offsets="utf16")
    assert [(each["start"], each["end"]) for each in units["chunks"]] == [(3, 9)]
    assert units["chunks"][0]["embedding"] == points["chunks"][0]["embedding"]
    assert (status, place) == (422, ["chunks", 0, 1])
    assert "within a character" in told


@pytest.mark.parametrize("path", ["/embed", "/analyze"])
async def test_a_range_that_is_none_is_reported_for_its_document_alone(tmp_path: Path, path: str) -> None:
    text, at = "👩 tousse", ["chunks"] if path == "/embed" else ["embed", "chunks"]
    body: dict[str, Any] = {"inputs": [{"text": text, "id": str(place)} for place in range(5)] + [None], "offsets": "utf16"}
    ranges: dict[str, Any] = {"chunks": [[[3, 9]], [[3, 9], [1, 9]], [[3, 9], [-1, 4], ["0", 2]], None, [[0, 99]], [[0, 1]]]}
    body |= ranges if path == "/embed" else {"tasks": ["embed"], "embed": ranges}
    async with services.client(services.service(tmp_path)) as client:
        good, *bad = await ask(client, path, **body, on_error="report")
        response = await client.post(path, json={**body, "inputs": body["inputs"][:3] + ["a"] * 3})
        mixed = await client.post(path, json={**body, "on_error": "report", "offsets": "bytes"})
    assert (good["id"], len(good["chunks"])) == ("0", 1)
    assert [each.get("id") for each in bad] == ["1", "2", "3", "4", None]
    places = [[told["loc"] for told in each["error"]["errors"]] for each in bad]
    assert places == [[[*at, 1, 1]], [[*at, 2, 1], [*at, 2, 2]], [[*at, 3]], [[*at, 4, 0]], [["inputs", 5]]]
    assert response.status_code == mixed.status_code == 422
    assert [*at, 2, 1] in [told["loc"] for told in response.json()["errors"]]


async def test_faults_of_the_only_document_are_reported_for_it(tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path)) as client:
        [told] = await ask(client, "/embed", inputs="👩 tousse", chunks=[[0, 2], [1, 9]], offsets="utf16", on_error="report")
        [worse] = await ask(client, "/embed", inputs="👩 tousse", chunks=[[0, 2, 3]], on_error="report")
    assert told["error"]["errors"] == [{"loc": ["chunks", 0, 1], "msg": "begins or ends within a character"}]
    assert worse["error"]["errors"][0]["loc"] == ["chunks", 0, 0]


@pytest.mark.parametrize(
    ("body", "loc", "message"),
    [
        ({"chunks": "words"}, ["chunks"], '"sentences"'),
        ({"chunks": [[0]]}, ["chunks", 0, 0], "a range [start, end]"),
        ({"chunks": [[0, 1.5]]}, ["chunks", 0, 0], "a range [start, end]"),
        ({"chunks": [[0, 1], [-1, 4]]}, ["chunks", 0, 1], "a range [start, end]"),
        ({"chunks": [[0, 1], ["0", 2]]}, ["chunks", 0, 1], "a range [start, end]"),
        ({"chunks": [[0, 2, 3]]}, ["chunks", 0, 0], "a range [start, end]"),
        ({"chunks": [[[0, 2]], None]}, ["chunks", 1], "a range [start, end]"),
        ({"chunks": [None]}, ["chunks", 0, 0], "a range [start, end]"),
        ({"chunks": [[[0, 5]], [[0, 5]]]}, ["chunks"], "2 lists of ranges for 1 documents"),
        ({"chunks": [[5, 5]]}, ["chunks", 0, 0], "chunk 0 of document 0 is 5:5"),
        ({"chunks": [[0, 5], [0, 10_000]]}, ["chunks", 0, 1], f"{len(TEXT)} characters"),
        ({"chunks": [[26, 27]]}, ["chunks", 0, 0], "no token"),
        ({"chunks": "sentences", "pooling": "cls"}, ["pooling"], "'mean'"),
    ],
)
async def test_chunks_that_cannot_be_had_are_refused(
    tmp_path: Path, body: dict[str, Any], loc: list[Any], message: str
) -> None:
    async with services.client(services.service(tmp_path)) as client:
        status, place, told = await problem(client, "/embed", inputs=TEXT, **body)
    assert (status, place) == (422, loc)
    assert message in told


async def test_sentences_beyond_what_is_read_are_left_out_and_given_ranges_there_refused(tmp_path: Path) -> None:
    text = "Toux. " * 300
    async with services.client(services.service(tmp_path)) as client:
        [cut] = await ask(client, "/embed", inputs=text, chunks="sentences", overflow="truncate")
        [whole] = await ask(client, "/embed", inputs=text, chunks="sentences")
        status, place, _ = await problem(client, "/embed", inputs=text, chunks=[[1790, 1795]], overflow="truncate")
    assert cut["truncated"]
    assert 0 < len(cut["chunks"]) < len(whole["chunks"]) == 300
    assert (status, place) == (422, ["chunks", 0, 0])


async def test_an_answer_of_too_many_chunks_is_refused_before_it_is_computed(tmp_path: Path) -> None:
    engine = FakeEngine(WIDTHS, block=16)
    tree = services.settings(max_answer_items=100)
    async with services.client(services.service(tmp_path, engine=engine, tree=tree)) as client:
        response = await client.post("/embed", json={"inputs": "Toux. " * 300, "chunks": "sentences"})
    assert response.status_code == 413
    assert "300" in response.json()["detail"]
    assert not engine.batches
