"""Invented documents: the same for one seed, of the lengths that were asked for."""

from __future__ import annotations

import itertools

import numpy as np

from loadtests import documents


def test_the_same_seed_gives_the_same_documents_within_the_bounds() -> None:
    first, second = [documents.lengths(1000, np.random.default_rng(0)) for _ in range(2)]
    assert first == second
    assert min(first) >= documents.SHORTEST
    assert max(first) == documents.LONGEST
    assert 450 < np.median(first) < 650


def test_a_document_has_as_many_words_as_asked_for_even_past_the_end_of_the_text() -> None:
    texts = list(documents.documents(["un", "deux", "trois"], [2, 7], np.random.default_rng(0)))
    assert [len(text.split(" ")) for text in texts] == [2, 7]


def test_every_document_of_fill_mask_has_a_mask() -> None:
    words = list(itertools.islice(documents.clinical_words(np.random.default_rng(0)), 1000))
    for count in (1, 2, 199, 200, 201, 1000):
        masked = documents.with_masks(" ".join(words[:count]), "<mask>").split(" ")
        assert len(masked) == count
        assert masked.count("<mask>") == -(-count // documents.MASK_EVERY)
