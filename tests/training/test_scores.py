from __future__ import annotations

import pytest

from drlongformer.training.scores import label_scores, span_scores, spearman
from drlongformer.training.spans import Span


def test_micro_f1_of_single_labels_is_the_accuracy_and_macro_the_mean_of_classes() -> None:
    scores = label_scores([{"A"}, {"A"}, {"A"}, {"B"}], [{"A"}, {"A"}, {"B"}, {"B"}])
    assert scores.micro.f1 == pytest.approx(0.75)
    assert scores.by_label["A"].recall == pytest.approx(2 / 3)
    assert scores.by_label["B"].precision == pytest.approx(0.5)
    assert scores.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)


def test_several_labels_a_document_are_counted_one_by_one() -> None:
    micro = label_scores([{"A", "B"}, set()], [{"A"}, {"C"}]).micro
    assert (micro.precision, micro.recall, micro.f1) == pytest.approx((0.5, 0.5, 0.5))


def test_an_entity_counts_only_with_its_exact_ends_and_label() -> None:
    wanted = [{Span(start=0, end=4, label="X"), Span(start=6, end=9, label="Y")}]
    found = [{Span(start=0, end=4, label="X"), Span(start=6, end=8, label="Y"), Span(start=0, end=4, label="Y")}]
    scores = span_scores(wanted, found)
    assert scores.micro.precision == pytest.approx(1 / 3)
    assert scores.micro.recall == pytest.approx(1 / 2)
    assert scores.by_label["Y"].f1 == 0.0


def test_the_same_entity_in_another_document_does_not_count() -> None:
    span = Span(start=0, end=4, label="X")
    assert span_scores([{span}, set()], [set(), {span}]).micro.f1 == 0.0


def test_nothing_wanted_and_nothing_found_scores_zero() -> None:
    assert span_scores([set()], [set()]).micro.f1 == 0.0


def test_spearman_compares_ranks() -> None:
    assert spearman([0.0, 1.0, 2.0, 3.0], [0.1, 0.2, 0.5, 0.9]) == pytest.approx(1.0)
    assert spearman([0.0, 1.0, 2.0], [3.0, 2.0, 1.0]) == pytest.approx(-1.0)
