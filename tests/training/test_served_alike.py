"""What is evaluated is what is served: the same passes through the model, and the same answers of the same outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drlongformer.serving import pair_readers, readers
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import ServedModel, serve
from drlongformer.serving.reading import Limits, Reading
from drlongformer.serving.requests import ChoiceOptions, ClassifyOptions, EmbedOptions, NerOptions, RequestOptions
from drlongformer.text.normalisation import normalise
from drlongformer.training import pair_predictions, predictions
from drlongformer.training.predictions import Prepared
from drlongformer.training.records.record import ChoiceRecord, PairRecord
from drlongformer.training.subject import Subject
from drlongformer.types import RULES, Document, Pair, Question, WindowInput
from tests.serving import bundles
from tests.text.tiny import spec as bytes_spec
from tests.training import subjects, tiny

TEXTS = (tiny.CASE, subjects.LONG, *tiny.LEAFLETS.values())
DOCUMENTS = [Document(index=place, text=text) for place, text in enumerate(TEXTS)]


@pytest.fixture
def model(tmp_path: Path) -> ServedModel:
    return next(iter(bundles.models(tmp_path)))


def same(prepared: Prepared[Any], reading: Reading[Any], subject: Subject) -> tuple[Any, Any]:
    """Both answers from the outputs of passes that are the same."""
    assert prepared.tokens == reading.tokens or len(reading.passes) > 1
    assert len(prepared.passes) == len(reading.passes)
    for ours, theirs in zip(prepared.passes, reading.passes, strict=True):
        assert asked(ours) == asked(theirs)
    outputs = subject.answer(prepared.passes)
    return prepared.finish(outputs), reading.finish(outputs)


def asked(window: WindowInput) -> tuple[Any, ...]:
    rows = {head: at.tolist() for head, at in window.rows.items()}
    segments = None if window.segments is None else window.segments.tolist()
    return window.ids.tolist(), window.global_slots, rows, segments


def subject_of(model: ServedModel) -> Subject:
    return Subject.of_bundle(model.bundle, model.engine)


@pytest.fixture
def normalising(tmp_path: Path) -> ServedModel:
    written = bundles.write(tmp_path, tokenizer=bytes_spec("bytes", normalisation=RULES))
    return serve(written, bundles.fake_engine(), metrics=Metrics.create())


def test_documents_are_normalised_as_they_are_served(normalising: ServedModel) -> None:
    text = "Le patient prÃ©sente une pneu-\nmonie\nfranche, avec dysp-\nnÃ©e.\n" * 9
    subject, limits = subject_of(normalising), Limits()
    document = Document(index=0, text=text)
    (ours,) = predictions.entities(subject, subject.head("ner"), [text])
    found, served = same(ours, readers.ner(normalising, NerOptions(), limits)(document), subject)
    assert found == served.entities
    assert all(entity.text == text[entity.start : entity.end] for entity in found)
    (vector,) = predictions.vectors(subject, subject.head("embed"), [text])
    pooled, answer = same(vector, readers.embed(normalising, EmbedOptions(normalize=True), limits)(document), subject)
    assert np.array_equal(pooled, answer.vector)
    plain = normalise(text, RULES).text
    (alike,) = normalising.tokenizer.encode_batch([plain])
    assert normalising.tokenizer.encode_batch([text])[0].ids.tolist() == alike.ids.tolist()


def test_documents_are_read_as_they_are_served(model: ServedModel) -> None:
    subject, limits = subject_of(model), Limits()
    windows = 0
    ours: Sequence[Prepared[Any]] = list(predictions.entities(subject, subject.head("ner"), TEXTS))
    for document, prepared in zip(DOCUMENTS, ours, strict=True):
        found, served = same(prepared, readers.ner(model, NerOptions(), limits)(document), subject)
        assert found == served.entities
        windows = max(windows, len(prepared.passes))
    assert windows > 1
    ours = list(predictions.labels(subject, subject.head("classify"), TEXTS))
    for document, prepared in zip(DOCUMENTS, ours, strict=True):
        found, served = same(prepared, readers.classify(model, ClassifyOptions(), limits)(document), subject)
        assert found.labels == {served[0].label}
        assert list(found.scores.items()) == [(one.label, one.score) for one in served]
    ours = list(predictions.vectors(subject, subject.head("embed"), TEXTS))
    for document, prepared in zip(DOCUMENTS, ours, strict=True):
        found, served = same(prepared, readers.embed(model, EmbedOptions(normalize=True), limits)(document), subject)
        assert np.array_equal(found, served.vector)


def test_pairs_are_read_as_they_are_served(model: ServedModel) -> None:
    subject = subject_of(model)
    head = subject.head("similarity")
    first, second = tiny.CASE[:40], TEXTS[2][:40]
    (prepared,) = pair_predictions.pair_scores(subject, head, [PairRecord(id="p", first=first, second=second, score=1.0)])
    pair = Pair(index=0, first=Document(index=0, text=first), second=Document(index=0, text=second))
    found, served = same(prepared, pair_readers.similarity(model, head, RequestOptions(), Limits())(pair), subject)
    assert found == served.score


@pytest.mark.parametrize("name", ["one", "several"])
@pytest.mark.parametrize("context", [None, tiny.CASE, subjects.LONG])
def test_questions_are_read_as_they_are_served(model: ServedModel, name: str, context: str | None) -> None:
    subject = subject_of(model)
    options = {"premier": "La toux", "second": "La fièvre"}
    record = ChoiceRecord(id="q", question="Quoi ?", options=options, answers=("premier",), context=context)
    several = name == "several"
    (prepared,) = pair_predictions.choices(subject, subject.heads[name], [record], several=several)
    wanted = ChoiceOptions(common=RequestOptions(head=name), multiple=several)
    question = Question(index=0, question=record.question, options=options, context=context)
    found, served = same(prepared, pair_readers.multiple_choice(model, wanted, Limits())(question), subject)
    assert found == served
    assert (len(prepared.passes) > 2) == (context == subjects.LONG)
