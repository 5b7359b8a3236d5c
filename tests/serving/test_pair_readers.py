"""Pairs and questions as windows: whole where they must be, cut where they may be, global where the head was trained so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drlongformer.errors import DocumentTooLong
from drlongformer.serving.models import ServedModel
from drlongformer.serving.pair_readers import multiple_choice, similarity
from drlongformer.serving.reading import Limits, Reading
from drlongformer.serving.requests import ChoiceOptions, RequestOptions, Similarity
from drlongformer.tasks.multiple_choice import Choice
from drlongformer.types import Document, IntArray, Pair, Question, WindowInput, WindowOutput
from tests.serving import bundles
from tests.serving.bundles import MAX_TOKENS
from tests.text import tiny

QUESTION = "Que donner ?"
OPTIONS = {"a": "du paracétamol", "b": "rien"}
LIMITS = Limits(max_windows=10_000)
BOS, EOS = tiny.spec("bytes").bos_id, tiny.spec("bytes").eos_id


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    [served] = bundles.models(Path(tmp_path_factory.mktemp("store")))
    return served


def ids(text: str) -> IntArray:
    return tiny.tokenizer("bytes").encode_batch([text])[0].ids


def asked(model: ServedModel, head: str, *, context: str | None = None, **common: Any) -> Reading[Choice]:
    reader = multiple_choice(model, ChoiceOptions(common=RequestOptions(head=head, **common)), LIMITS)
    return reader(Question(index=0, question=QUESTION, options=OPTIONS, context=context))


def texts(window: WindowInput) -> tuple[list[int], list[int]]:
    """The two texts of a pair's window."""
    inside = window.ids.tolist()
    middle = inside.index(EOS)
    assert (inside[0], inside[middle : middle + 2], inside[-1]) == (BOS, [EOS, EOS], EOS)
    return inside[1:middle], inside[middle + 2 : -1]


def compared(model: ServedModel, first: str, second: str, **common: Any) -> Reading[Similarity]:
    head = model.bundle.head("similarity")
    documents = [Document(index=index, text=text) for index, text in enumerate((first, second))]
    reader = similarity(model, head, RequestOptions(**common), LIMITS)
    return reader(Pair(index=0, first=documents[0], second=documents[1]))


def test_each_option_stands_beside_the_question_and_is_global(model: ServedModel) -> None:
    reading = asked(model, "one")
    assert [texts(window) for window in reading.passes] == [
        (ids(QUESTION).tolist(), ids(option).tolist()) for option in OPTIONS.values()
    ]
    for window, option in zip(reading.passes, OPTIONS.values(), strict=True):
        assert window.global_slots == tuple(range(len(ids(QUESTION)) + 3, len(window)))
        assert window.ids[list(window.global_slots)].tolist() == [*ids(option), EOS]
        assert {name: rows.tolist() for name, rows in window.rows.items()} == {"right": [0]}


def test_joint_options_stand_together_and_the_first_token_is_global(model: ServedModel) -> None:
    [window] = asked(model, "several").passes
    assert texts(window) == (ids(QUESTION).tolist(), ids("a) du paracétamol\nb) rien").tolist())
    assert window.global_slots == (0,)


@given(words=st.integers(1, 90), head=st.sampled_from(["one", "several"]))
def test_every_token_of_a_context_is_read_beside_the_whole_question_and_the_whole_options(
    words: int, head: str, model: ServedModel
) -> None:
    context = " ".join(f"{place} fièvre" for place in range(words))
    reading = asked(model, head, context=context)
    joined = ids(f"{context}\n{QUESTION}").tolist()
    rest = joined[len(ids(context)) :]
    seconds = list(OPTIONS.values()) if head == "one" else ["a) du paracétamol\nb) rien"]
    per_second = len(reading.passes) // len(seconds)
    for number, window in enumerate(reading.passes):
        first, second = texts(window)
        assert len(window) <= MAX_TOKENS
        assert first[-len(rest) :] == rest
        assert second == ids(seconds[number // per_second]).tolist()
    parts = [texts(window)[0][: -len(rest)] for window in reading.passes[:per_second]]
    assert overlaid(parts) == joined[: -len(rest)]
    assert reading.windows == len(reading.passes)
    assert not reading.truncated


def overlaid(parts: list[list[int]]) -> list[int]:
    """Parts of equal length put together again, where each begins inside of the one before; every place holds a number."""
    whole = parts[0]
    for part in parts[1:]:
        overlap = next(size for size in range(len(part), -1, -1) if whole[len(whole) - size :] == part[:size])
        assert overlap
        whole = whole + part[overlap:]
    return whole


@pytest.mark.parametrize("side", ["head", "tail"])
def test_a_context_that_may_be_cut_keeps_the_side_that_was_asked_for(side: str, model: ServedModel) -> None:
    context = " ".join(f"{place} fièvre" for place in range(90))
    reading = asked(model, "several", context=context, overflow="truncate", truncate_side=side)
    [window] = reading.passes
    kept = texts(window)[0]
    part = kept[: len(kept) - len(ids(f"\n{QUESTION}"))]
    whole = ids(context).tolist()
    assert part == (whole[: len(part)] if side == "head" else whole[-len(part) :])
    assert MAX_TOKENS - 10 < len(window) <= MAX_TOKENS  # the word at the border is left out
    assert reading.truncated
    assert reading.tokens - reading.tokens_read == len(whole) - len(part)


def test_windows_weigh_as_much_as_the_context_they_keep(model: ServedModel) -> None:
    reading = asked(model, "one", context=" ".join(["fièvre"] * 70))
    windows = len(reading.passes) // 2
    assert windows == 2
    logits = [3.0, 1.0, 1.5, 2.5]
    answer = reading.finish([WindowOutput(rows={"right": np.array([[logit]], dtype=np.float32)}) for logit in logits])
    means = np.array([2.0, 2.0])  # windows over an even context keep equally much
    np.testing.assert_allclose([each.score for each in answer.choices], np.exp(means) / np.exp(means).sum(), atol=0.02)


def test_a_pair_is_one_window_and_its_score_lies_in_the_heads_range(model: ServedModel) -> None:
    reading = compared(model, "Toux.", "Fièvre.")
    [window] = reading.passes
    assert texts(window) == (ids("Toux.").tolist(), ids("Fièvre.").tolist())
    assert window.global_slots == (0,)
    assert reading.finish([WindowOutput(rows={"near": np.zeros((1, 1), dtype=np.float32)})]) == Similarity(
        score=2.5, method="head"
    )


@given(first=st.integers(1, 60), second=st.integers(1, 60), side=st.sampled_from(["head", "tail"]))
def test_a_pair_fits_or_is_refused_or_is_cut_as_asked(first: int, second: int, side: str, model: ServedModel) -> None:
    one, other = (" ".join(f"{place} toux" for place in range(size)) for size in (first, second))
    tokens = len(ids(one)) + len(ids(other)) + 4
    cut = compared(model, one, other, overflow="truncate", truncate_side=side)
    longest = max(len(ids(f" {word}")) for word in f"{one} {other}".split())
    whole = min(tokens, MAX_TOKENS)
    assert whole - (2 * (longest - 1) if tokens > MAX_TOKENS else 0) <= len(cut.passes[0]) <= whole  # words stay whole
    assert (cut.tokens, cut.truncated) == (tokens, tokens > MAX_TOKENS)
    if tokens <= MAX_TOKENS:
        assert compared(model, one, other).passes[0].ids.tolist() == cut.passes[0].ids.tolist()
    else:
        with pytest.raises(DocumentTooLong, match=f"pair 0 has {tokens} tokens, the limit is {MAX_TOKENS}"):
            compared(model, one, other)


def test_a_head_without_global_tokens_gets_none(model: ServedModel) -> None:
    head = model.bundle.head("similarity").model_copy(update={"global_attention": "none"})
    documents = [Document(index=index, text="Toux.") for index in range(2)]
    reader = similarity(model, head, RequestOptions(), LIMITS)
    reading = reader(Pair(index=0, first=documents[0], second=replace(documents[1], text="Fièvre.")))
    assert reading.passes[0].global_slots == ()
