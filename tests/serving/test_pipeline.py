"""One request's story, with a fake engine whose answers are known, and with a real graph."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from drlongformer.errors import (
    Cancelled,
    DeadlineExceeded,
    DocumentTooLong,
    DrLongformerError,
    EmptyText,
    EngineFailed,
    InvalidRequest,
    MalformedBody,
    MaskError,
    NotReady,
    Overloaded,
    UnknownLabel,
    UnknownModel,
    UnsupportedTask,
)
from drlongformer.packing import EngineOutput, PackedBatch, pack
from drlongformer.serving.engine import Engine, FakeEngine, OnnxEngine, Stop
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models
from drlongformer.serving.pipeline import Pipeline
from drlongformer.serving.reading import Limits
from drlongformer.serving.requests import (
    Answer,
    ClassifyOptions,
    EmbedOptions,
    FillMaskOptions,
    NerOptions,
    RequestOptions,
)
from drlongformer.serving.steps import OBSERVED_TOGETHER
from drlongformer.types import HIDDEN, Document, FloatArray, WindowInput
from tests.serving import bundles
from tests.serving.bundles import MAX_TOKENS, SIZE
from tests.serving.factories import count
from tests.text import tiny

A = TypeVar("A")

TASKS = ("embed", "ner", "classify", "fill-mask", "tokenize")
SHORT = "Le patient a de la fièvre."
LONG = " ".join(tiny.SENTENCES * 4)
CAPACITY = MAX_TOKENS - 2
CONTENT = {text: len(tiny.tokenizer("bytes").encode_batch([text])[0]) for text in (SHORT, LONG)}


def documents(*texts: str) -> tuple[Document, ...]:
    return tuple(Document(index=index, text=text, id=f"id-{index}") for index, text in enumerate(texts))


class House:
    """A pipeline at work, with what stands behind it."""

    def __init__(self, store: Path, *, limits: Limits | None = None, **told: Any) -> None:
        self.metrics = Metrics.create()
        self.engine = bundles.fake_engine(**told)
        self.models: Models = bundles.models(store, metrics=self.metrics, engine=self.engine, max_queue_tokens=1024)
        self.pipeline = Pipeline(self.models, self.metrics, limits=limits, tokenizer_threads=1)

    @property
    def seen(self) -> list[int]:
        """Windows in each batch that the engine was given."""
        return [len(batch.shares) for batch in self.engine.batches]


@asynccontextmanager
async def house(store: Path, **told: Any) -> AsyncIterator[House]:
    it = House(store, **told)
    await it.pipeline.start()
    try:
        yield it
    finally:
        await it.pipeline.stop()
        assert count(it.metrics, "inflight_documents") == 0


async def ask(pipeline: Pipeline, task: str, *texts: str, **common: Any) -> Answer[Any]:
    """Any task with nothing but common options."""
    options = RequestOptions(**common)
    if task == "embed":
        return await pipeline.embed(documents(*texts), EmbedOptions(common=options))
    if task == "ner":
        return await pipeline.ner(documents(*texts), NerOptions(common=options))
    if task == "classify":
        return await pipeline.classify(documents(*texts), ClassifyOptions(common=options))
    if task == "fill-mask":
        return await pipeline.fill_mask(documents(*texts), FillMaskOptions(common=options))
    return await pipeline.tokenize(documents(*texts), options)


def given(answer: Answer[A], place: int = 0) -> A:
    """The answer about one document."""
    found = answer.results[place].answer
    assert found is not None
    return found


def rejections(metrics: Metrics) -> float:
    """Everything in rejected_total, whatever the reason."""
    [family] = metrics.rejected_total.collect()
    return sum(sample.value for sample in family.samples if sample.name.endswith("_total"))


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until a condition holds, which no event announces."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


# Answers and counts


@pytest.mark.parametrize("task", TASKS)
async def test_every_task_answers_documents_in_their_order_with_their_ids(tmp_path: Path, task: str) -> None:
    texts = [f"{SHORT} <mask>", f"{LONG} <mask>", f"<mask> {SHORT}"]
    async with house(tmp_path) as it:
        answer = await ask(it.pipeline, task, *texts)
    assert [(result.index, result.id) for result in answer.results] == [(0, "id-0"), (1, "id-1"), (2, "id-2")]
    assert all(result.answer is not None and not result.truncated for result in answer.results)
    assert answer.model == next(iter(it.models)).identity
    assert answer.tokens == sum(result.tokens for result in answer.results)


@pytest.mark.parametrize("task", ["embed", "ner", "classify", "tokenize"])
async def test_tokens_are_counted_once_plus_the_specials_of_one_window(tmp_path: Path, task: str) -> None:
    async with house(tmp_path) as it:
        answer = await ask(it.pipeline, task, SHORT, LONG)
    short, long = answer.results
    assert (short.tokens, short.windows) == (CONTENT[SHORT] + 2, 1)
    assert long.tokens == CONTENT[LONG] + 2 > 2 * MAX_TOKENS
    assert long.windows > 2


@pytest.mark.parametrize("task", TASKS)
async def test_a_document_is_answered_the_same_alone_and_beside_others(tmp_path: Path, task: str) -> None:
    texts = [f"{text} <mask>" for text in (SHORT, LONG, "Toux.")]
    async with house(tmp_path) as it:
        together = await ask(it.pipeline, task, *texts)
        for place, text in enumerate(texts):
            if task == "embed":
                np.testing.assert_array_equal(given(together, place).vector, given(await ask(it.pipeline, task, text)).vector)
            else:
                assert given(together, place) == given(await ask(it.pipeline, task, text))


async def test_a_mean_is_over_every_token_of_the_document(tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer("bytes")
    async with house(tmp_path) as it:
        answer = await it.pipeline.embed(documents(SHORT), EmbedOptions(normalize=False))
        batch = it.engine.batches[0]
    [encoded] = tokenizer.encode_batch([SHORT])
    assert batch.input_ids.reshape(-1)[: batch.tokens].tolist() == tokenizer.with_specials(encoded.ids).tolist()
    assert (batch.global_slot == -1).all()
    expected = it.engine.run(batch).segment_sums.sum(axis=(0, 1)) / batch.tokens
    np.testing.assert_allclose(given(answer).vector, expected, atol=1e-6)


async def test_embedding_options_reach_the_vector(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        whole = await it.pipeline.embed(documents(SHORT), EmbedOptions(pooling="cls", normalize=False))
        part = await it.pipeline.embed(documents(SHORT), EmbedOptions(pooling="cls", dimensions=3))
        hidden = it.engine.run(it.engine.batches[0]).rows[HIDDEN][0]
        with pytest.raises(InvalidRequest, match=f"{SIZE + 1} dimensions were asked for, the vectors have {SIZE}"):
            await it.pipeline.embed(documents(SHORT), EmbedOptions(dimensions=SIZE + 1))
    np.testing.assert_array_equal(given(whole).vector, hidden)
    np.testing.assert_allclose(given(part).vector, hidden[:3] / np.linalg.norm(hidden[:3]), rtol=1e-6)
    assert given(whole).space != given(part).space


async def test_entities_cut_the_text_exactly_and_can_be_redacted(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        answer = await it.pipeline.ner(documents(LONG), NerOptions(redact=True))
        none = await it.pipeline.ner(documents(LONG), NerOptions(min_score=1.0))
        with pytest.raises(UnknownLabel):
            await it.pipeline.ner(documents(LONG), NerOptions(labels=("DRUG",)))
        assert (it.engine.batches[0].global_slot[:, 0] == 0).all()
    found = given(answer)
    assert found.entities
    assert all(LONG[entity.start : entity.end] == entity.text and entity.label == "SYMPTOM" for entity in found.entities)
    assert found.redacted is not None
    assert found.redacted.count("[SYMPTOM]") == len(found.entities)
    assert (given(none).entities, given(none).redacted) == ((), None)


async def test_labels_come_best_first_as_many_as_asked(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        answer = await it.pipeline.classify(documents(LONG), ClassifyOptions())
        best = await it.pipeline.classify(documents(LONG), ClassifyOptions(top_k=1))
    labels = given(answer)
    assert sorted(each.label for each in labels) == ["C", "N", "R"]
    assert sum(each.score for each in labels) == pytest.approx(1.0)
    assert given(best) == labels[:1]


async def test_every_mask_is_answered_in_its_place_and_windows_without_one_are_not_read(tmp_path: Path) -> None:
    text = f"<mask> {LONG} la <mask> ."
    async with house(tmp_path) as it:
        answer = await it.pipeline.fill_mask(documents(text), FillMaskOptions(top_k=2))
        assert sum(it.seen) == 2 < answer.results[0].windows
        with pytest.raises(MaskError, match="target 1 is not a single token"):
            await it.pipeline.fill_mask(documents(text), FillMaskOptions(targets=("a", "anticonstitutionnel")))
    masks = given(answer)
    assert [text[mask.start : mask.end] for mask in masks] == ["<mask>", "<mask>"]
    assert [len(mask.predictions) for mask in masks] == [2, 2]


async def test_many_masks_take_several_passes_of_a_bounded_size(tmp_path: Path) -> None:
    text = " <mask>" * 300
    async with house(tmp_path) as it:
        answer = await it.pipeline.fill_mask(documents(text), FillMaskOptions(top_k=1))
        assert all(len(batch.rows["words"]) <= 2 * 128 for batch in it.engine.batches)
    assert len(given(answer)) == 300


async def test_of_each_pass_only_the_best_words_outlive_it(tmp_path: Path) -> None:
    """The logits of 8 passes would be held until the last one otherwise."""
    alive: list[weakref.ref[FloatArray]] = []
    most = 0

    class Watched(FakeEngine):
        def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
            nonlocal most
            most = max(most, sum(logits() is not None for logits in alive))
            answered = super().run(batch, stop)
            alive.append(weakref.ref(answered.rows["words"]))
            return answered

    text = " <mask>" * 1000
    engine = Watched(bundles.WIDTHS, block=bundles.BLOCK)
    metrics = Metrics.create()
    pipeline = Pipeline(bundles.models(tmp_path, metrics=metrics, engine=engine, max_batch_tokens=64), metrics)
    await pipeline.start()
    answer = await pipeline.fill_mask(documents(text), FillMaskOptions(top_k=1))
    await pipeline.stop()
    assert len(given(answer)) == 1000
    assert len(alive) > 8
    assert most <= 1


async def test_tokens_tell_their_spans_and_cost_the_engine_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        answer = await it.pipeline.tokenize(documents(SHORT), RequestOptions())
        assert not it.engine.batches
    spans = given(answer)
    assert len(spans) == CONTENT[SHORT]
    assert "".join(dict.fromkeys(SHORT[span.start : span.end] for span in spans if span.end > span.start)).startswith("Le")
    assert all(tiny.tokenizer("bytes").token(span.id) == span.token for span in spans)


# Past the model's length


async def test_refuse_names_the_document_its_tokens_and_the_limit(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        with pytest.raises(DocumentTooLong) as refused:
            await ask(it.pipeline, "classify", SHORT, LONG, overflow="refuse")
        assert not it.engine.batches
    assert str(refused.value) == f"document 1 has {CONTENT[LONG] + 2} tokens, the limit is {MAX_TOKENS}"
    assert refused.value.location == ("inputs", 1)


@pytest.mark.parametrize("side", ["head", "tail"])
async def test_truncating_reads_one_side_says_so_and_still_counts_the_document(tmp_path: Path, side: str) -> None:
    async with house(tmp_path) as it:
        answer = await ask(it.pipeline, "tokenize", SHORT, LONG, overflow="truncate", truncate_side=side)
        ner = await ask(it.pipeline, "ner", LONG, overflow="truncate", truncate_side=side)
        assert it.seen == [1]
    short, long = answer.results
    assert (short.truncated, long.truncated) == (False, True)
    spans = given(answer, 1)
    assert (long.windows, long.tokens, long.tokens_read) == (1, CONTENT[LONG] + 2, len(spans) + 2)
    assert short.tokens_read == short.tokens
    assert CAPACITY - 20 < len(spans) <= CAPACITY  # the word at the border is left out
    read = slice(0, spans[-1].end) if side == "head" else slice(spans[0].start, len(LONG))
    for entity in given(ner).entities:
        assert LONG[entity.start : entity.end] == entity.text
        assert read.start <= entity.start < entity.end <= read.stop


@pytest.mark.parametrize("overflow", ["windows", "refuse"])
def test_the_tail_of_what_is_not_cut_cannot_be_asked_for(overflow: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"overflow '{overflow}' cuts nothing") as refused:
        RequestOptions(overflow=overflow, truncate_side="tail")
    assert refused.value.location == ("truncate_side",)


@pytest.mark.parametrize("side", ["head", "tail"])
async def test_truncating_leaves_no_piece_of_a_word(tmp_path: Path, side: str) -> None:
    words = set(LONG.replace("’", "'").replace("'", " ").split())
    async with house(tmp_path) as it:
        for start in range(0, 60, 3):
            answer = await ask(it.pipeline, "tokenize", LONG[LONG.index(" ", start) :], overflow="truncate", truncate_side=side)
            spans = given(answer)
            read = LONG[LONG.index(" ", start) :][spans[0].start : spans[-1].end].replace("’", "'").replace("'", " ").split()
            assert read[0] in words
            assert read[-1] in words or any(word.rstrip(".,;:") == read[-1] for word in words)


async def test_a_hopelessly_long_document_is_refused_before_it_is_read_to_its_end(tmp_path: Path) -> None:
    texts = [f"{LONG} " * 100, SHORT, f"{LONG} " * 100]
    async with house(tmp_path, limits=Limits(max_windows=2)) as it:
        with pytest.raises(DocumentTooLong, match=r"document 0 takes more than 2 windows, .* its first 8\d\d\d of") as refused:
            await ask(it.pipeline, "ner", *texts)
        answer = await ask(it.pipeline, "ner", *texts, on_error="report")
    assert refused.value.location == ("inputs", 0)
    assert [type(result.error) for result in answer.results] == [DocumentTooLong, type(None), DocumentTooLong]


async def test_all_documents_that_are_bad_at_first_sight_are_named_by_one_refusal(tmp_path: Path) -> None:
    async with house(tmp_path, limits=Limits(max_characters=len(LONG) - 1)) as it:
        with pytest.raises(EmptyText) as refused:
            await ask(it.pipeline, "ner", SHORT, "", LONG, *[" "] * 40)
        assert rejections(it.metrics) == 1
    assert [error.location for error in refused.value.others][:2] == [("inputs", 2), ("inputs", 3)]
    assert len(refused.value.others) == 19


async def test_a_short_text_is_tokenized_while_long_ones_are(tmp_path: Path) -> None:
    async with house(tmp_path, limits=Limits(max_windows=10_000, max_answer_items=10**9)) as it:  # with one thread
        long = asyncio.create_task(ask(it.pipeline, "tokenize", *[f"{LONG} " * 100] * 6))
        await asyncio.sleep(0.05)
        answer = await ask(it.pipeline, "tokenize", SHORT)
        assert not long.done()
        assert given(answer)
        long.cancel()
        await asyncio.wait([long])
        assert count(it.metrics, "cancelled_total", stage="tokenize") == 6


async def test_a_deadline_ends_tokenizing(tmp_path: Path) -> None:
    async with house(tmp_path, limits=Limits(max_windows=10_000, max_answer_items=10**9)) as it:
        with pytest.raises(DeadlineExceeded):
            await ask(it.pipeline, "tokenize", *[f"{LONG} " * 100] * 6, deadline_seconds=0.05)
        assert given(await asyncio.wait_for(ask(it.pipeline, "tokenize", SHORT), 1))
        assert count(it.metrics, "deadline_exceeded_total", stage="tokenize") == 6


async def test_a_queue_without_room_refuses_before_the_rest_of_the_request_is_tokenized(tmp_path: Path) -> None:
    async with house(tmp_path, hang=True) as it:
        first = asyncio.create_task(ask(it.pipeline, "ner", LONG, LONG))
        await until(lambda: it.engine.batches)
        with pytest.raises(Overloaded):  # document 1 alone would be too long, but is never looked at
            await ask(it.pipeline, "ner", f"{LONG} {LONG}", f"{LONG} " * 900)
        first.cancel()
        await asyncio.wait([first])


async def test_documents_over_the_limits_of_the_service_are_refused(tmp_path: Path) -> None:
    async with house(tmp_path, limits=Limits(max_characters=len(LONG) - 1)) as it:
        with pytest.raises(DocumentTooLong, match=f"document 0 has {len(LONG)} characters, the limit is {len(LONG) - 1}"):
            await ask(it.pipeline, "ner", LONG)
    async with house(tmp_path / "other", limits=Limits(max_windows=2)) as it:
        with pytest.raises(DocumentTooLong, match=r"document 0 takes \d+ windows \(\d+ tokens\), the limit is 2"):
            await ask(it.pipeline, "ner", LONG)


@pytest.mark.parametrize(("task", "text", "items"), [("tokenize", SHORT, CONTENT[SHORT]), ("fill-mask", "<mask>" * 3, 15)])
async def test_answers_far_larger_than_their_question_are_refused_before_anything_is_computed(
    tmp_path: Path, task: str, text: str, items: int
) -> None:
    async with house(tmp_path, limits=Limits(max_answer_items=items - 1)) as it:
        with pytest.raises(DocumentTooLong, match=f"document 0 would hold {items} items, the limit is {items - 1}"):
            await ask(it.pipeline, task, text)
        assert not it.engine.batches
    async with house(tmp_path / "other", limits=Limits(max_answer_items=items)) as it:
        assert given(await ask(it.pipeline, task, text))
        computed = len(it.engine.batches)
        with pytest.raises(DocumentTooLong, match=f"the request would hold {2 * items} items, the limit is {items}"):
            await ask(it.pipeline, task, text, text)
        assert len(it.engine.batches) == computed


async def test_the_items_of_masks_are_the_words_that_will_be_told(tmp_path: Path) -> None:
    async with house(tmp_path, limits=Limits(max_answer_items=2)) as it:
        answer = await it.pipeline.fill_mask(documents("<mask> <mask>"), FillMaskOptions(top_k=1000, targets=("toux",)))
        with pytest.raises(DocumentTooLong, match=f"{tiny.tokenizer('bytes').vocab_size} items, the limit is 2"):
            await it.pipeline.fill_mask(documents("<mask>"), FillMaskOptions(top_k=1_000_000))
    assert [len(mask.predictions) for mask in given(answer)] == [1, 1]


# Bad documents


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", EmptyText),
        (" \n\u00a0", EmptyText),
        ("\u200b", EmptyText),
        ("\x00", EmptyText),
        ("\u00ad \u2060\ufeff\x1f", EmptyText),
        ("\ud800", MalformedBody),
    ],
)
async def test_a_bad_document_refuses_the_request_and_is_named_by_its_place(
    tmp_path: Path, task: str, text: str, error: type[DrLongformerError]
) -> None:
    async with house(tmp_path) as it:
        with pytest.raises(error) as refused:
            await ask(it.pipeline, task, "la <mask>", text)
        assert not it.engine.batches
        assert count(it.metrics, "rejected_total", reason="empty_text" if error is EmptyText else "malformed_body") == 1
    assert vars(refused.value)["location"] == ("inputs", 1)


@pytest.mark.parametrize("text", ["\u200b👩\u200d⚕️", "\x00.", " é"])
async def test_one_visible_character_is_a_text(tmp_path: Path, text: str) -> None:
    async with house(tmp_path) as it:
        assert given(await ask(it.pipeline, "tokenize", text))
        assert given(await ask(it.pipeline, "ner", text))


async def test_a_mask_alone_is_a_text(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        assert len(given(await ask(it.pipeline, "fill-mask", "<mask>"))) == 1


async def test_labels_that_no_entity_can_have_are_refused(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        for label in ("I-SYMPTOM", "O"):
            with pytest.raises(UnknownLabel):
                await it.pipeline.ner(documents(SHORT), NerOptions(labels=(label,)))
        answer = await it.pipeline.ner(documents(LONG), NerOptions(labels=("I-SYMPTOM",), aggregation="none"))
    assert {entity.label for entity in given(answer).entities} == {"I-SYMPTOM"}


@pytest.mark.parametrize("aggregation", [None, "simple", "none"])
async def test_no_entity_is_without_characters_also_between_invisible_ones(tmp_path: Path, aggregation: Any) -> None:
    text = " \u200b\x00 ".join(LONG)[:400]
    async with house(tmp_path) as it:
        found = given(await it.pipeline.ner(documents(text), NerOptions(aggregation=aggregation))).entities
    assert found
    assert all(entity.start < entity.end for entity in found)


@pytest.mark.parametrize("task", TASKS)
async def test_with_report_a_bad_document_is_told_of_in_its_result_and_the_others_are_answered(
    tmp_path: Path, task: str
) -> None:
    async with house(tmp_path) as it:
        answer = await ask(it.pipeline, task, "la <mask>", "", "\ud800", "le <mask>", on_error="report")
        assert count(it.metrics, "rejected_total", reason="empty_text") == 1
        assert count(it.metrics, "rejected_total", reason="malformed_body") == 1
    assert [type(result.error) for result in answer.results] == [type(None), EmptyText, MalformedBody, type(None)]
    assert [result.answer is not None for result in answer.results] == [True, False, False, True]
    assert answer.tokens == answer.results[0].tokens + answer.results[3].tokens


async def test_a_text_without_a_mask_is_a_mask_error(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        with pytest.raises(MaskError, match="a mask is written <mask>") as refused:
            await ask(it.pipeline, "fill-mask", "la <mask>", SHORT)
    assert refused.value.location == ("inputs", 1)


async def test_a_document_that_breaks_the_engine_fails_or_is_reported(tmp_path: Path) -> None:
    [encoded] = tiny.tokenizer("bytes").encode_batch(["toux"])
    poison = int(encoded.ids[-1])
    async with house(tmp_path, fail_on=poison) as it:
        with pytest.raises(EngineFailed):
            await ask(it.pipeline, "embed", "b", "toux")
        assert count(it.metrics, "rejected_total", reason="engine_failed") == 1
        answer = await ask(it.pipeline, "embed", "b", "toux", on_error="report")
        assert count(it.metrics, "rejected_total", reason="engine_failed") == 2
    assert [type(result.error) for result in answer.results] == [type(None), EngineFailed]
    assert answer.results[1].tokens == len(encoded) + 2


# Requests that cannot be answered


async def test_unknown_models_tasks_and_heads_are_refused(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        with pytest.raises(UnknownModel):
            await ask(it.pipeline, "ner", SHORT, model="other")
        with pytest.raises(UnsupportedTask):
            await ask(it.pipeline, "ner", SHORT, head="chapter")
        assert count(it.metrics, "rejected_total", reason="unknown_model") == 1


async def test_before_the_start_and_after_the_drain_requests_are_refused(tmp_path: Path) -> None:
    it = House(tmp_path)
    with pytest.raises(NotReady):
        await ask(it.pipeline, "tokenize", SHORT)
    await it.pipeline.start()
    await it.pipeline.drain()
    with pytest.raises(NotReady):
        await ask(it.pipeline, "ner", SHORT)
    await it.pipeline.stop()


async def test_a_drain_answers_what_was_admitted(tmp_path: Path) -> None:
    async with house(tmp_path, delay_seconds=0.01) as it:
        task = asyncio.create_task(ask(it.pipeline, "ner", LONG))
        await until(lambda: it.engine.batches)
        await it.pipeline.drain()
        assert given(await task)


async def test_a_request_is_admitted_whole_or_refused_whole(tmp_path: Path) -> None:
    async with house(tmp_path, hang=True) as it:
        texts = [LONG] * 2
        first = asyncio.create_task(ask(it.pipeline, "ner", *texts))
        await until(lambda: it.engine.batches)
        waiting = count(it.metrics, "queue_tokens", priority="interactive")
        with pytest.raises(Overloaded) as refused:
            await ask(it.pipeline, "ner", *texts)
        assert refused.value.retry_after_seconds is not None
        assert count(it.metrics, "queue_tokens", priority="interactive") == waiting
        first.cancel()
        await asyncio.wait([first])


async def test_a_deadline_ends_the_request_even_with_report(tmp_path: Path) -> None:
    async with house(tmp_path, hang=True) as it:
        with pytest.raises(DeadlineExceeded):
            await ask(it.pipeline, "ner", SHORT, deadline_seconds=0.3, on_error="report")
        with pytest.raises(DeadlineExceeded):
            await ask(it.pipeline, "ner", *[LONG] * 3, deadline_seconds=1e-6)
        assert count(it.metrics, "deadline_exceeded_total", stage="compute") == 1
        assert count(it.metrics, "deadline_exceeded_total", stage="tokenize") == 3
        assert count(it.metrics, "rejected_total", reason="deadline_exceeded") == 2


def test_a_deadline_that_is_no_time_is_refused() -> None:
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(InvalidRequest):
            RequestOptions(deadline_seconds=seconds)


async def test_a_caller_that_leaves_takes_its_documents_along(tmp_path: Path) -> None:
    async with house(tmp_path, hang=True) as it:
        task = asyncio.create_task(ask(it.pipeline, "ner", SHORT, LONG))
        await until(lambda: it.engine.batches)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert count(it.metrics, "queue_tokens", priority="interactive") == 0
        assert sum(count(it.metrics, "cancelled_total", stage=stage) for stage in ("queue", "compute")) == 2
        assert rejections(it.metrics) == 0


async def test_a_departure_that_the_engine_tells_of_is_no_rejection(tmp_path: Path) -> None:
    class Stopped(FakeEngine):
        def run(self, batch: PackedBatch, stop: Stop | None = None) -> EngineOutput:
            stop = stop or Stop()
            stop.set()
            return super().run(batch, stop)

    metrics = Metrics.create()
    engine = Stopped(bundles.WIDTHS, block=bundles.BLOCK)
    pipeline = Pipeline(bundles.models(tmp_path, metrics=metrics, engine=engine), metrics)
    await pipeline.start()
    with pytest.raises(Cancelled):
        await ask(pipeline, "ner", SHORT, on_error="report")
    await pipeline.stop()
    assert sum(count(metrics, "cancelled_total", stage=stage) for stage in ("queue", "compute")) == 1
    assert rejections(metrics) == 0


# Figures


async def test_timings_and_stages_add_up(tmp_path: Path) -> None:
    async with house(tmp_path, delay_seconds=0.01) as it:
        answer = await ask(it.pipeline, "ner", SHORT, LONG, priority="bulk")
        timings = answer.timings
        stages = {
            stage: count(it.metrics, "stage_duration_seconds_count", stage=stage, length="le512", priority="bulk")
            for stage in ("tokenize", "queue", "compute", "postprocess")
        }
        labels = {"task": "ner", "length": "le512", "priority": "bulk", "model": "by-hand", "version": "1"}
        assert count(it.metrics, "document_duration_seconds_count", **labels) == 2
        assert count(it.metrics, "document_tokens_sum", task="ner") == answer.tokens
    assert set(stages.values()) == {2.0}
    assert timings.compute_seconds >= 0.01
    assert timings.tokenize_seconds + timings.queue_seconds + timings.compute_seconds <= timings.total_seconds


# The real engine


async def test_a_real_graph_answers_every_task(tmp_path: Path) -> None:
    engine = OnnxEngine(bundles.write(tmp_path / "graph"), "cpu", 1)
    metrics = Metrics.create()
    pipeline = Pipeline(bundles.models(tmp_path, metrics=metrics, engine=engine), metrics, tokenizer_threads=1)
    await pipeline.start()
    for task in TASKS:
        answer = await ask(pipeline, task, f"{LONG} <mask>", f"{SHORT} <mask>")
        assert [result.error for result in answer.results] == [None, None]
    await pipeline.stop()


async def test_a_long_document_through_windows_equals_its_tokens_read_one_by_one(tmp_path: Path) -> None:
    """The hand-made graph looks at nothing but the token itself, so windows must not change a mean."""
    engine = OnnxEngine(bundles.write(tmp_path / "graph"), "cpu", 1)
    metrics = Metrics.create()
    pipeline = Pipeline(bundles.models(tmp_path, metrics=metrics, engine=engine), metrics, tokenizer_threads=1)
    await pipeline.start()
    answer = await pipeline.embed(documents(LONG), EmbedOptions(normalize=False))
    await pipeline.stop()
    [encoded] = tiny.tokenizer("bytes").encode_batch([LONG])
    vectors = _vectors_of(engine, sorted(set(encoded.ids.tolist())))
    expected = np.mean([vectors[token] for token in encoded.ids.tolist()], axis=0)
    np.testing.assert_allclose(given(answer).vector, expected, rtol=1e-5, atol=1e-6)


def _vectors_of(engine: Engine, ids: list[int]) -> dict[int, FloatArray]:
    window = WindowInput(ids=np.array(ids), rows={HIDDEN: np.arange(len(ids))})
    output = engine.run(pack([window], block=engine.block, heads=engine.heads))
    return dict(zip(ids, output.rows[HIDDEN], strict=True))


@pytest.mark.parametrize("texts", [OBSERVED_TOGETHER - 1, OBSERVED_TOGETHER, 3 * OBSERVED_TOGETHER + 1])
async def test_every_document_of_a_large_request_is_in_the_figures_when_it_is_answered(texts: int, tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        answer = await ask(it.pipeline, "tokenize", *[SHORT] * texts)
        assert len(answer.results) == texts
        assert count(it.metrics, "document_tokens_count", task="tokenize") == texts
