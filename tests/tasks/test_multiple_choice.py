"""Multiple choice: the texts of its windows, which of their tokens are the context's, and from logits to answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drlongformer.errors import InvalidRequest
from drlongformer.tasks.multiple_choice import (
    Choice,
    context_tokens,
    decide,
    joint_text,
    letters_of,
    merge,
    option_texts,
)
from drlongformer.types import Window, WindowOutput
from tests.text import tiny

QUESTION = "Que donner ?"
OPTIONS = {"a": "du paracétamol", "b": "rien"}


def test_each_option_has_a_pair_of_its_own() -> None:
    assert option_texts(QUESTION, OPTIONS, None) == ((QUESTION, "du paracétamol"), (QUESTION, "rien"))
    assert option_texts(QUESTION, OPTIONS, "Fièvre.")[1] == ("Fièvre.\nQue donner ?", "rien")


def test_joint_options_stand_on_a_line_each_behind_their_letters() -> None:
    assert joint_text(QUESTION, OPTIONS, "Fièvre.") == ("Fièvre.\nQue donner ?", "a) du paracétamol\nb) rien")


@pytest.mark.parametrize("context", [None, "", " \n"])
def test_a_blank_context_is_none(context: str | None) -> None:
    pair = joint_text(QUESTION, OPTIONS, context)
    assert pair.first == QUESTION
    [encoded] = tiny.tokenizer("bytes").encode_batch([pair.first])
    assert context_tokens(encoded, context) == 0


@given(kind=st.sampled_from(tiny.KINDS), context=tiny.hard_texts(), question=tiny.hard_texts())
def test_the_tokens_of_a_context_are_those_that_begin_in_it(kind: tiny.Kind, context: str, question: str) -> None:
    pair = joint_text(question, OPTIONS, context)
    [encoded] = tiny.tokenizer(kind).encode_batch([pair.first])
    count = context_tokens(encoded, context)
    starts = encoded.offsets[:, 0]
    if pair.first == question:
        assert count == 0
    else:
        assert (starts[:count] < len(context)).all()
        assert (starts[count:] >= len(context)).all()


def answered(*logits: float) -> WindowOutput:
    return WindowOutput(rows={"right": np.array([logits], dtype=np.float32)})


def decided(logits: Sequence[float], **told: Any) -> Choice:
    options = "abcdef"[: len(logits)]
    settings: dict[str, Any] = {"function": "sigmoid", "multiple": True} | told
    return decide(np.array(logits, dtype=np.float32), options=options, **settings)


def test_one_answer_is_the_best_option_and_the_first_of_equal_ones() -> None:
    assert decided([1, 3, 3], multiple=False).answer == ("b",)
    softmax = decided([0, np.log(3)], multiple=False, function="softmax")
    assert [round(each.score, 6) for each in softmax.choices] == [0.25, 0.75]
    assert [each.score for each in decided([1.5, -2], multiple=False, function="none").choices] == [1.5, -2]


def test_several_answers_are_those_that_reach_their_thresholds_and_never_none() -> None:
    assert decided([1, -1, 0]).answer == ("a", "c")
    assert decided([1, -1, 0], thresholds={"answer": 0.6}).answer == ("a",)
    assert decided([1, -1, 0], thresholds={"b": 0.2, "c": 0.9}, letters="abc").answer == ("a", "b")
    assert decided([-5, -4, -6]).answer == ("b",)


def test_several_answers_need_scores_that_are_given_one_by_one() -> None:
    with pytest.raises(ValueError, match="several right answers of a head with softmax"):
        decided([1, 2], function="softmax")


def test_a_logit_for_each_option_is_demanded() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\) for 3 options"):
        decide(np.zeros(2, dtype=np.float32), options="abc", function="softmax", multiple=False)


WINDOWS = (Window(start=0, stop=6, keep_start=0, keep_stop=5), Window(start=4, stop=10, keep_start=5, keep_stop=6))


def test_windows_are_merged_option_by_option_and_weighted_by_the_tokens_they_keep() -> None:
    outputs = [answered(6), answered(0), answered(-6), answered(12)]
    told: dict[str, Any] = {"output": "right", "labels": (), "letters": None}
    assert merge(outputs, WINDOWS, window_merge="mean", **told).tolist() == [5, -3]
    assert merge(outputs, WINDOWS, window_merge="max", **told).tolist() == [6, 12]
    with pytest.raises(ValueError, match="3 answers"):
        merge(outputs[:3], WINDOWS, window_merge="mean", **told)


def test_joint_logits_are_those_of_the_options_that_were_given() -> None:
    outputs = [answered(6, 1, 0), answered(0, 1, 12)]
    told: dict[str, Any] = {"output": "right", "window_merge": "mean", "labels": ("a", "b", "c")}
    assert merge(outputs, WINDOWS, letters=("a", "c"), **told).tolist() == [5, 2]
    assert merge(outputs, WINDOWS, letters=("c", "a"), **told).tolist() == [2, 5]


def test_options_are_known_by_their_letters_else_by_their_place() -> None:
    assert letters_of(("c", "a"), ("a", "b", "c")) == ("c", "a")
    assert letters_of(("oui", "a"), ("a", "b", "c")) == ("a", "b")
    with pytest.raises(InvalidRequest, match="3 options, this head has letters for 2"):
        letters_of(("a", "b", "c"), ("a", "b"))
