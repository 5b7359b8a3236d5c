from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from drlongformer.tasks import bio
from drlongformer.types import Encoded, FloatArray

TAGS = ("O", "B-DIS", "I-DIS", "B-DRUG", "I-DRUG")


def legal(states: tuple[int, ...], kinds: int) -> bool:
    before = (0, *states)
    return all(now <= kinds or past in (now, now - kinds) for past, now in zip(before, states, strict=False))


def words(*lengths: int) -> Encoded:
    """Words of so many one-letter tokens, a space after each word."""
    offsets, numbers, place = [], [], 0
    for number, length in enumerate(lengths):
        offsets += [(place + i, place + i + 1) for i in range(length)]
        numbers += [number] * length
        place += length + 1
    where = np.array(offsets, dtype=np.int64).reshape(-1, 2)
    return Encoded(
        ids=np.zeros(len(numbers), dtype=np.int64),
        offsets=where,
        words=np.array(numbers, dtype=np.int64),
    )


def likely(*tags: str, certainty: float = 0.9) -> FloatArray:
    """One row per tag, which gets `certainty`."""
    rows = np.full((len(tags), len(TAGS)), (1 - certainty) / (len(TAGS) - 1), dtype=np.float32)
    rows[range(len(tags)), [TAGS.index(tag) for tag in tags]] = certainty
    return rows


def found(encoded: Encoded, rows: FloatArray, tags: tuple[str, ...] = TAGS) -> list[tuple[str, int, int]]:
    return [(one.label, one.start, one.end) for one in bio.mentions(rows, encoded, tags=tags)]


@given(seed=st.integers(0, 10_000), count=st.integers(1, 6), kinds=st.integers(1, 2), scale=st.sampled_from([0.5, 2.0, 8.0]))
def test_no_legal_sequence_scores_higher(seed: int, count: int, kinds: int, scale: float) -> None:
    scores = np.random.default_rng(seed).normal(scale=scale, size=(count, 1 + 2 * kinds))
    best = max(
        sum(scores[range(count), states])
        for states in itertools.product(range(1 + 2 * kinds), repeat=count)
        if legal(states, kinds)
    )
    for states in (bio.best_states(scores), bio.viterbi(scores)):
        assert legal(tuple(states.tolist()), kinds)
        assert scores[range(count), states].sum() == pytest.approx(best)


@given(seed=st.integers(0, 1000), lean=st.sampled_from([0.0, 2.0, 5.0]))
def test_searching_between_safe_words_finds_what_the_full_search_finds(seed: int, lean: float) -> None:
    scores = np.random.default_rng(seed).normal(scale=2.0, size=(60, 7))
    scores[:, 0] += lean
    assert bio.best_states(scores).tolist() == bio.viterbi(scores).tolist()
    event(f"some searched: {bio._illegal(scores.argmax(axis=1), 3).any()}, some safe: {bio._safe(scores).any()}")


def test_the_documented_example_holds() -> None:
    rows = likely("O", "B-DIS", "I-DIS", "O", "I-DIS", "O")
    encoded = words(3, 6, 8, 4, 4, 1)
    rows = np.repeat(rows, [3, 6, 8, 4, 4, 1], axis=0)
    rows[[4, 5, 6, 7, 8]] = likely("I-DIS")  # a word's later letters go on
    assert [(label, end - start) for label, start, end in found(encoded, rows)] == [("DIS", 15), ("DIS", 4)]


def test_two_begins_are_two_entities_and_a_begin_of_another_type_ends_the_first() -> None:
    assert found(words(1, 1, 1, 1), likely("B-DIS", "B-DIS", "I-DIS", "B-DRUG")) == [
        ("DIS", 0, 1),
        ("DIS", 2, 5),
        ("DRUG", 6, 7),
    ]


def test_a_word_is_whole_whatever_its_tokens_say() -> None:
    assert found(words(4), likely("B-DIS", "O", "I-DIS", "I-DIS")) == [("DIS", 0, 4)]
    assert found(words(4), likely("B-DIS", "O", "O", "O")) == []


def test_the_score_is_the_mean_probability_of_the_type() -> None:
    (one,) = bio.mentions(likely("B-DIS", "I-DIS", "O"), words(1, 1, 1), tags=TAGS)
    assert one.score == pytest.approx(0.925)


def test_tokens_of_blank_space_neither_cut_nor_lengthen_an_entity() -> None:
    encoded = Encoded(
        ids=np.zeros(4, dtype=np.int64), offsets=np.array([(0, 1), (2, 2), (3, 4), (5, 5)]), words=np.array([0, 0, 1, 1])
    )
    assert found(encoded, likely("B-DIS", "O", "I-DIS", "B-DRUG")) == [("DIS", 0, 4)]


def test_types_without_a_begin_tag_merge_where_they_touch() -> None:
    tags = ("O", "DIS", "I-DRUG")
    rows = np.eye(3, dtype=np.float32)[[1, 1, 0, 2, 2, 1]]
    assert found(words(1, 1, 1, 1, 1, 1), rows, tags) == [("DIS", 0, 3), ("DRUG", 6, 9), ("DIS", 10, 11)]


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_is_found_where_there_is_nothing(count: int) -> None:
    assert found(words(*[1] * count), likely(*["O"] * count)) == []
    assert found(words(1), np.ones((1, 1), dtype=np.float32), ("O",)) == []


def test_what_is_surely_inside_but_follows_nothing_begins_an_entity() -> None:
    assert found(words(1, 1, 1), np.eye(5, dtype=np.float32)[[0, 2, 0]]) == [("DIS", 2, 3)]


def test_a_doubtful_word_inside_an_entity_does_not_cut_it() -> None:
    rows = likely("B-DIS", "O", "I-DIS")
    rows[1] = (0.5, 0.01, 0.47, 0.01, 0.01)
    assert found(words(1, 1, 1), rows) == [("DIS", 0, 5)]
