from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drlongformer.tasks import ner
from drlongformer.text.tokenizer import Tokenizer
from drlongformer.training.spans import Span, bio_labels, spans_of, tags
from drlongformer.types import FloatArray, IntArray
from tests.text.tiny import hard_texts
from tests.training import served

LABELS = bio_labels(("X", "Y"))


@cache
def tokenizer() -> Tokenizer:
    return served.tokenizer()


def test_labels_are_outside_first_then_pairs_in_order() -> None:
    assert bio_labels(("B", "A", "B")) == ("O", "B-A", "I-A", "B-B", "I-B")


def test_only_the_span_of_the_drawing_is_tagged() -> None:
    text = "l'hôpital de Brest"
    (encoded,) = tokenizer().encode_batch([text])
    found = tags(encoded, (Span(start=2, end=9, label="X"),), LABELS)
    inside = (encoded.offsets[:, 0] >= 2) & (encoded.offsets[:, 1] <= 9)
    assert found[inside].tolist() == [1] + [2] * (int(inside.sum()) - 1)
    assert not found[~inside].any()


def test_the_flat_spans_are_read_where_there_are_any() -> None:
    nested = {"entities": [{"start": 0, "end": 9, "label": "X"}, {"start": 2, "end": 4, "label": "Y"}]}
    assert [span.label for span in spans_of(nested)] == ["X", "Y"]
    assert [span.label for span in spans_of(nested | {"entities_flat": nested["entities"][:1]})] == ["X"]


@given(text=hard_texts(), seed=st.integers(0, 99))
def test_tags_of_whole_words_decode_to_the_same_spans(text: str, seed: int) -> None:
    (encoded,) = tokenizer().encode_batch([text])
    spans = _spans_of_words(encoded.words, encoded.offsets, np.random.default_rng(seed))
    found = tags(encoded, spans, LABELS)
    if not len(encoded):
        return
    entities = ner.decode(_certain(found), encoded, text, tags=LABELS, decoding=ner.Decoding())
    assert [Span(start=one.start, end=one.end, label=one.label) for one in entities] == list(spans)


def _certain(found: IntArray) -> FloatArray:
    return (20.0 * np.eye(len(LABELS))[found]).astype(np.float32)


def _spans_of_words(words: IntArray, offsets: IntArray, random: np.random.Generator) -> tuple[Span, ...]:
    """Random runs of words with visible characters, none of them overlapping."""
    spans: list[Span] = []
    for word in np.unique(words):
        visible = offsets[(words == word) & (offsets[:, 0] < offsets[:, 1])]
        if not len(visible) or random.random() < 0.5:
            continue
        start, end = int(visible[:, 0].min()), int(visible[:, 1].max())
        if not spans or spans[-1].end <= start:
            spans.append(Span(start=start, end=end, label=str(random.choice(["X", "Y"]))))
    return tuple(spans)
