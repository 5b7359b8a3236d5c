"""Where a document's windows fall changes no answer, with a model that looks at each token alone: read in many, or in one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from drlongformer.serving.engine import OnnxEngine
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models, serve
from drlongformer.serving.pipeline import Pipeline
from drlongformer.serving.requests import (
    AnalyzeOptions,
    ClassifyOptions,
    EmbedOptions,
    FillMaskOptions,
    NerOptions,
    RequestOptions,
)
from drlongformer.text.windows import SPECIALS, plan
from drlongformer.types import Document
from tests.serving import bundles
from tests.serving.bundles import MAX_TOKENS, OVERLAP
from tests.text import tiny

NOTE = " ".join(tiny.SENTENCES)
SHIFTS = range(MAX_TOKENS)
"""A text with so many words before it has every entity on every place beside a cut, and one token before and behind it."""


@asynccontextmanager
async def both(store: Path) -> AsyncIterator[Pipeline]:
    """The same model under two names: `windows` reads few tokens at a time, `whole` reads all."""
    metrics = Metrics.create()
    served = []
    for name, length in (("windows", MAX_TOKENS), ("whole", 8192)):
        bundle = bundles.write(store, name=name, max_tokens=length)
        served.append(serve(bundle, OnnxEngine(bundle, "cpu", 1), metrics=metrics))
    pipeline = Pipeline(Models(served), metrics, tokenizer_threads=1)
    await pipeline.start()
    try:
        yield pipeline
    finally:
        await pipeline.stop()


def shifted(text: str) -> tuple[Document, ...]:
    return tuple(Document(index=shift, text="a " * shift + text) for shift in SHIFTS)


def cuts_of(document: Document) -> tuple[list[int], list[tuple[int, int]]]:
    """The tokens at which another window keeps on, and every token's characters."""
    [encoded] = tiny.tokenizer("bytes").encode_batch([document.text])
    windows = plan(len(encoded), capacity=MAX_TOKENS - SPECIALS, overlap=OVERLAP)
    return [window.keep_start for window in windows[1:]], [tuple(span) for span in encoded.offsets.tolist()]


async def test_entities_on_every_side_of_every_cut_are_found_whole(tmp_path: Path) -> None:
    documents = shifted(NOTE)
    found = {}
    async with both(tmp_path) as pipeline:
        for name in ("windows", "whole"):
            answer = await pipeline.ner(documents, NerOptions(common=RequestOptions(model=name)))
            found[name] = [result.answer for result in answer.results]
            assert all(result.windows == 1 for result in answer.results) == (name == "whole")
    met = set()
    for document, in_windows, whole in zip(documents, found["windows"], found["whole"], strict=True):
        assert in_windows is not None
        assert whole is not None
        assert [(each.label, each.start, each.end) for each in in_windows.entities] == [
            (each.label, each.start, each.end) for each in whole.entities
        ]
        assert [each.score for each in in_windows.entities] == pytest.approx([each.score for each in whole.entities])
        cuts, spans = cuts_of(document)
        for entity in whole.entities:
            first = next(place for place, (_, end) in enumerate(spans) if end > entity.start)
            last = max(place for place, (start, _) in enumerate(spans) if start < entity.end)
            met |= {("begins", first - cut) for cut in cuts} | {("ends", last - cut) for cut in cuts}
            met |= {("crosses", 0) for cut in cuts if first < cut <= last}
    assert met >= {(what, step) for what in ("begins", "ends") for step in (-1, 0, 1)} | {("crosses", 0)}


async def test_masks_and_chunks_do_not_depend_on_the_windows(tmp_path: Path) -> None:
    masked, plain = shifted(f"{NOTE} <mask> {NOTE} <mask>")[::7], shifted(NOTE)[::7]
    predicted, vectors = {}, {}
    async with both(tmp_path) as pipeline:
        for name in ("windows", "whole"):
            common = RequestOptions(model=name)
            words = await pipeline.fill_mask(masked, FillMaskOptions(common=common, top_k=3))
            predicted[name] = [
                (mask.start, mask.end, [each.token_id for each in mask.predictions])
                for result in words.results
                for mask in result.answer or ()
            ]
            embedded = await pipeline.embed(plain, EmbedOptions(common=common, chunks="sentences"))
            vectors[name] = [chunk for result in embedded.results if result.answer for chunk in result.answer.chunks or ()]
    assert predicted["windows"] == predicted["whole"]
    assert len(predicted["whole"]) == 2 * len(masked)
    for one, other in zip(vectors["windows"], vectors["whole"], strict=True):
        assert (one.start, one.end) == (other.start, other.end)
        np.testing.assert_allclose(one.vector, other.vector, atol=1e-5)


async def test_one_pass_for_several_tasks_answers_as_each_alone_through_windows(tmp_path: Path) -> None:
    documents = shifted(NOTE)[:3]
    common = RequestOptions(model="windows")
    embed = EmbedOptions(common=common, chunks="sentences")
    async with both(tmp_path) as pipeline:
        together = await pipeline.analyze(
            documents,
            AnalyzeOptions(common=common, embed=embed, ner=NerOptions(common=common), classify=ClassifyOptions(common=common)),
        )
        alone = (
            await pipeline.embed(documents, embed),
            await pipeline.ner(documents, NerOptions(common=common)),
            await pipeline.classify(documents, ClassifyOptions(common=common)),
        )
    for place, result in enumerate(together.results):
        assert result.answer is not None
        vector, entities, labels = (each.results[place].answer for each in alone)
        assert result.answer.ner == entities
        assert result.answer.classify == labels
        assert result.answer.embed is not None
        np.testing.assert_array_equal(result.answer.embed.vector, vector.vector)  # type: ignore[union-attr]
        assert result.windows == alone[1].results[place].windows > 1
