from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast
from transformers.pipelines.fill_mask import FillMaskPipeline

from drlongformer.errors import MaskError
from drlongformer.tasks import fill_mask
from drlongformer.text.windows import LEADING, plan, truncate
from drlongformer.types import FloatArray, IntArray
from tests.text.tiny import library_tokenizer, spec, tokenizer

MADE = tokenizer("bytes")


def logits(masks: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(scale=3, size=(masks, MADE.vocab_size)).astype(np.float32)


def predict(
    values: FloatArray, spans: Sequence[tuple[int, int]], *, top_k: int, targets: IntArray | None = None
) -> tuple[fill_mask.MaskPredictions, ...]:
    return fill_mask.predict(fill_mask.best(values, top_k=top_k, targets=targets), spans, tokenizer=MADE)


def spans(count: int) -> list[tuple[int, int]]:
    return [(7 * i, 7 * i + 6) for i in range(count)]


@given(before=st.integers(0, 40), masks=st.integers(1, 30), after=st.integers(0, 40))
def test_every_mask_is_read_once_in_order_where_it_is_nearest_the_centre(before: int, masks: int, after: int) -> None:
    masked = MADE.encode_masked("é " * before + "<mask> " * masks + " é" * after)
    windows = plan(len(masked.encoded), capacity=12, overlap=5)
    readings = fill_mask.ask(masked, windows, output="lm", mask_token="<mask>")
    assert [number for reading in readings for number in reading.masks] == list(range(masks))
    for reading in readings:
        window = windows[reading.window]
        ids = masked.encoded.ids[window.start : window.stop]
        asked = reading.ask.about(MADE.with_specials(ids))
        assert set(asked.ids[asked.rows["lm"]].tolist()) == {spec("bytes").mask_id}
        tokens = [masked.masks[number] for number in reading.masks]
        assert (asked.rows["lm"] + window.start - LEADING).tolist() == tokens
        assert all(window.keep_start <= token < window.keep_stop for token in tokens)


def test_a_window_with_many_masks_is_read_several_times() -> None:
    masked = MADE.encode_masked("<mask>" * 300)
    (window,) = plan(len(masked.encoded), capacity=400, overlap=5)
    readings = fill_mask.ask(masked, (window,), output="lm", mask_token="<mask>")
    assert [len(reading.masks) for reading in readings] == [128, 128, 44]


def test_a_text_without_mask_is_refused_saying_how_one_is_written() -> None:
    masked = MADE.encode_masked("une toux sèche")
    windows = plan(len(masked.encoded), capacity=99, overlap=5)
    with pytest.raises(MaskError, match="a mask is written <mask>") as caught:
        fill_mask.ask(masked, windows, output="lm", mask_token="<mask>")
    assert "toux" not in str(caught.value)


@given(words=st.lists(st.sampled_from(["é", "<mask>"]), min_size=1, max_size=40), capacity=st.integers(1, 50))
@pytest.mark.parametrize("side", ["head", "tail"])
def test_every_mask_of_a_truncated_text_is_either_read_or_told_to_be_unread(side: Any, words: list[str], capacity: int) -> None:
    masked = MADE.encode_masked(" ".join([*words, "<mask>"]))
    window = truncate(len(masked.encoded), capacity=capacity, side=side)
    unread = fill_mask.unread(masked, (window,))
    try:
        readings = fill_mask.ask(masked, (window,), output="lm", mask_token="<mask>")
    except MaskError:
        readings = ()
    read = [number for reading in readings for number in reading.masks]
    assert sorted([*read, *unread]) == list(range(len(masked.masks)))
    assert all(window.keep_start <= masked.masks[number] < window.keep_stop for number in read)


def test_a_text_whose_masks_were_all_truncated_is_refused() -> None:
    masked = MADE.encode_masked("é é é é <mask>")
    window = truncate(len(masked.encoded), capacity=3, side="head")
    with pytest.raises(MaskError, match="in the 3 tokens that are read"):
        fill_mask.ask(masked, (window,), output="lm", mask_token="<mask>")


@given(
    seed=st.integers(0, 99),
    top_k=st.integers(1, 9),
    words=st.lists(st.sampled_from(["toux", "fièvre", "patient", "a"]), max_size=4),
)
def test_answers_are_those_of_hugging_faces_pipeline(seed: int, top_k: int, words: list[str]) -> None:
    fast = PreTrainedTokenizerFast(tokenizer_object=library_tokenizer("bytes"), mask_token="<mask>", pad_token="<pad>")
    targets = fill_mask.target_ids(words, MADE) if words else None
    masked = MADE.encode_masked("une <mask> et un <mask>")
    values = logits(2, seed)
    full = np.zeros((1, len(masked.encoded), MADE.vocab_size), dtype=np.float32)
    full[0, list(masked.masks)] = values
    pipeline: Any = object.__new__(FillMaskPipeline)
    pipeline.tokenizer, pipeline.framework = fast, "pt"
    reference = pipeline.postprocess(
        {"input_ids": torch.from_numpy(masked.encoded.ids[None]), "logits": torch.from_numpy(full)},
        top_k=top_k,
        target_ids=targets,
    )
    found = predict(values, masked.spans, top_k=top_k, targets=targets)
    for one, its in zip(found, reference, strict=True):
        assert [p.token_id for p in one.predictions] == [p["token"] for p in its]
        assert [p.token for p in one.predictions] == [p["token_str"] for p in its]
        assert [p.score for p in one.predictions] == pytest.approx([p["score"] for p in its], rel=1e-4)


@given(values=st.lists(st.integers(0, 3), min_size=1, max_size=60), top_k=st.integers(1, 70))
def test_equal_scores_come_in_the_order_of_their_ids(values: list[int], top_k: int) -> None:
    row = np.full(MADE.vocab_size, -1.0, dtype=np.float32)
    row[: len(values)] = values
    (found,) = predict(row[None], spans(1), top_k=top_k)
    expected = sorted(range(MADE.vocab_size), key=lambda number: (-row[number], number))[:top_k]
    assert [one.token_id for one in found.predictions] == expected


def test_scores_of_targets_come_from_the_whole_vocabulary() -> None:
    values, targets = logits(1), fill_mask.target_ids(["toux", "fièvre"], MADE)
    (found,) = predict(values, spans(1), top_k=5, targets=targets)
    (everything,) = predict(values, spans(1), top_k=MADE.vocab_size)
    scores = {one.token_id: one.score for one in everything.predictions}
    assert sum(scores.values()) == pytest.approx(1.0)
    assert {one.token_id: one.score for one in found.predictions} == {number: scores[number] for number in targets.tolist()}


def test_a_target_of_several_tokens_is_named_by_its_place_alone() -> None:
    with pytest.raises(MaskError, match="target 1 is not a single token") as caught:
        fill_mask.target_ids(["toux", "anticonstitutionnellement"], MADE)
    assert caught.value.location == ("targets", 1)
    assert "anti" not in str(caught.value)


def test_repeated_targets_count_once() -> None:
    assert len(fill_mask.target_ids(["toux", "toux", " toux"], MADE)) == 1


def test_masks_keep_their_places() -> None:
    masked = MADE.encode_masked("une <mask> et un <mask>")
    found = predict(logits(2), masked.spans, top_k=1)
    assert [(one.start, one.end) for one in found] == [(4, 10), (17, 23)]


def test_what_is_kept_of_a_pass_holds_no_part_of_its_logits() -> None:
    values = logits(3)
    kept = fill_mask.best(values, top_k=4)
    assert (kept.ids.shape, kept.scores.shape) == ((3, 4), (3, 4))
    assert not np.shares_memory(kept.ids, values)
    assert not np.shares_memory(kept.scores, values)
