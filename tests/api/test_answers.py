"""Answers are written as pieces of bounded size that together are the documented JSON, and are made beside the event loop."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drlongformer.api import answers, results
from drlongformer.api.answers import SLICE
from drlongformer.api.pieces import SEND_BYTES, joined
from drlongformer.api.requests import EmbedRequest, FillMaskRequest, NerRequest, TokenizeRequest
from drlongformer.api.schemas import read
from drlongformer.errors import EmptyText
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models
from drlongformer.serving.pipeline import Pipeline
from drlongformer.serving.reading import finished
from drlongformer.serving.requests import (
    Answer,
    DocumentResult,
    Embedding,
    Entities,
    ModelIdentity,
    RequestOptions,
    Timings,
    TokenSpan,
)
from drlongformer.serving.turns import Turns
from drlongformer.tasks.fill_mask import MaskPredictions, Prediction
from drlongformer.tasks.ner import Entity
from drlongformer.types import Document
from tests.api import services

MODEL = ModelIdentity(name="m", version=1, sha256="0" * 12, precision="fp32")
TIMINGS = Timings(tokenize_seconds=0, queue_seconds=0, compute_seconds=0, total_seconds=0)
MANY = 3 * SLICE + 7


def answer(*found: Any) -> Answer[Any]:
    """One result per thing found; None is a document in error."""
    results = tuple(
        DocumentResult(
            index=index,
            id=None,
            tokens=7,
            tokens_read=5,
            windows=1,
            answer=each,
            error=EmptyText("nothing") if each is None else None,
        )
        for index, each in enumerate(found)
    )
    return Answer(model=MODEL, results=results, timings=TIMINGS)


def inputs(texts: int) -> dict[str, Any]:
    return {"inputs": ["a" * 10] * texts}


def spans(number: int) -> tuple[TokenSpan, ...]:
    return tuple(TokenSpan(id=index, token="a", start=0, end=1) for index in range(number))


def masks(number: int, words: int) -> tuple[MaskPredictions, ...]:
    predictions = tuple(Prediction(token="a", token_id=index, score=0.5) for index in range(words))
    return tuple(MaskPredictions(start=0, end=1, predictions=predictions) for _ in range(number))


def entities(number: int) -> Entities:
    return Entities(entities=tuple(Entity(label="X", start=0, end=1, text="a", score=0.5) for _ in range(number)))


@pytest.mark.parametrize("number", [0, 1, SLICE, SLICE + 1, MANY])
def test_tokens_are_written_in_slices_that_lose_none(number: int) -> None:
    pieces = list(answers.tokenize(read(TokenizeRequest, inputs(2), max_documents=2), answer(spans(number), spans(1)), "r"))
    assert max(piece.count(b'"id":') for piece in pieces) <= SLICE
    body = results.TokenizeAnswer.model_validate_json(b"".join(pieces))
    assert [each.id for each in body.results[0].tokens or ()] == list(range(number))
    assert [each.count for each in body.results] == [number, 1]


def test_tokens_that_nobody_wants_are_counted_and_not_written() -> None:
    request = read(TokenizeRequest, inputs(2) | {"return_tokens": False}, max_documents=2)
    body = results.TokenizeAnswer.model_validate_json(b"".join(answers.tokenize(request, answer(spans(MANY), spans(1)), "r")))
    assert [(each.count, each.tokens) for each in body.results] == [(MANY, None), (1, None)]


@pytest.mark.parametrize(("number", "words"), [(1, 1), (3000, 5), (40, 1000), (1, 1000)])
def test_words_for_masks_are_written_in_slices_that_lose_none(number: int, words: int) -> None:
    request = read(FillMaskRequest, inputs(1), max_documents=2)
    pieces = list(answers.fill_mask(request, answer(masks(number, words)), "r"))
    assert max(piece.count(b'"token_id":') for piece in pieces) <= SLICE
    [result] = results.FillMaskAnswer.model_validate_json(b"".join(pieces)).results
    assert [len(mask.predictions) for mask in result.masks or ()] == [words] * number


def test_entities_are_written_in_slices_that_lose_none() -> None:
    pieces = list(answers.ner(read(NerRequest, inputs(1), max_documents=2), answer(entities(MANY)), "r"))
    assert max(piece.count(b'"score":') for piece in pieces) <= SLICE
    [result] = results.NerAnswer.model_validate_json(b"".join(pieces)).results
    assert len(result.entities or ()) == MANY


def test_vectors_are_written_document_by_document() -> None:
    vector = Embedding(vector=np.ones(768, dtype=np.float32), space="s")
    pieces = list(answers.embed(read(EmbedRequest, inputs(9), max_documents=9), answer(*[vector] * 9), "r"))
    assert max(piece.count(b"1.0") for piece in pieces) == 768
    assert len(results.EmbedAnswer.model_validate_json(b"".join(pieces)).results) == 9


def test_usage_counts_what_was_answered() -> None:
    pieces = answers.ner(read(NerRequest, inputs(3), max_documents=3), answer(entities(1), None, entities(0)), "r")
    body = json.loads(b"".join(pieces))
    assert body["usage"] == {"documents": 2, "tokens": 10}
    assert [sorted(each) for each in body["results"]][1] == ["error", "index"]


async def test_the_event_loop_goes_on_while_an_answer_is_made() -> None:
    loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"["
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(10)
        yield b"]"

    turns = Turns(1)
    making = asyncio.create_task(turns.run(joined(pieces())))
    await asyncio.wait_for(begun.wait(), 10)  # the loop turns although the answer is not complete
    assert not making.done()
    go_on.set()
    assert await making == [b"[]"]
    turns.close()


class Held(tuple[TokenSpan, ...]):  # noqa: SLOT001 - a tuple's subclass cannot have slots of its own
    """Tokens that are told of only once `go_on` is set."""

    begun: threading.Event
    go_on: threading.Event

    def __iter__(self) -> Iterator[TokenSpan]:
        self.begun.set()
        assert self.go_on.wait(10)
        return super().__iter__()


class Telling(Pipeline):
    """A pipeline whose tokens are given."""

    def __init__(self, models: Models, metrics: Metrics, told: Answer[Sequence[TokenSpan]]) -> None:
        super().__init__(models, metrics)
        self._told = told

    async def tokenize(
        self,
        documents: Sequence[Document],  # noqa: ARG002 - the answer is given
        options: RequestOptions,  # noqa: ARG002
    ) -> Answer[Sequence[TokenSpan]]:
        return self._told


async def test_the_service_is_alive_while_a_large_answer_is_made(tmp_path: Path) -> None:
    tokens = Held(spans(MANY))
    tokens.begun, tokens.go_on = threading.Event(), threading.Event()
    served = services.service(tmp_path)
    served = replace(served, pipeline=Telling(served.models, served.metrics, answer(tokens)))
    async with services.client(served) as client:
        large = asyncio.create_task(client.post("/tokenize", json={"inputs": "a"}))
        assert await asyncio.to_thread(tokens.begun.wait, 10)
        assert (await client.get("/livez")).status_code == 200
        assert not large.done()
        tokens.go_on.set()
        body = (await large).json()
    assert body["results"][0]["count"] == len(body["results"][0]["tokens"]) == MANY


def test_pieces_are_joined_up_to_a_bound_and_in_order() -> None:
    made = finished(joined(b"%09d" % number for number in range(50_000)))
    assert b"".join(made) == b"".join(b"%09d" % number for number in range(50_000))
    assert {len(piece) for piece in made[:-1]} <= set(range(SEND_BYTES, SEND_BYTES + 9))
    assert len(made) > 5


@pytest.mark.parametrize(
    ("path", "body", "items"),
    [
        ("/tokenize", {"inputs": "a " * 60}, 120),
        ("/tokenize", {"inputs": ["a " * 30] * 2}, 120),
        ("/fill-mask", {"inputs": "<mask> " * 12, "top_k": 10}, 120),
    ],
)
async def test_an_answer_over_the_limit_is_refused_with_both_figures(
    path: str, body: dict[str, Any], items: int, tmp_path: Path
) -> None:
    fits = services.service(tmp_path / "fits", tree=services.settings(max_answer_items=items))
    over = services.service(tmp_path / "over", tree=services.settings(max_answer_items=items - 1))
    async with services.client(fits) as client:
        assert (await client.post(path, json=body)).status_code == 200
    async with services.client(over) as client:
        refused = await client.post(path, json=body)
    assert refused.status_code == 413
    assert f"{items} items, the limit is {items - 1}" in refused.json()["detail"]
    assert services.samples(over, "rejected_total") == {("answer_too_large",): 1}
