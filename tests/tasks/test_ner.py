from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast
from transformers.pipelines.token_classification import AggregationStrategy, TokenClassificationPipeline

from drlongformer.errors import UnknownLabel
from drlongformer.tasks import ner
from drlongformer.text.windows import kept_tokens, plan, truncate
from drlongformer.text.words import ZERO_WIDTH_BLANKS
from drlongformer.types import Encoded, FloatArray, WindowOutput
from tests.text.tiny import KINDS, Kind, hard_texts, library_tokenizer, tokenizer

TAGS = ("O", "B-DIS", "I-DIS", "B-DRUG", "I-DRUG")
BLANKS = "".join(sign for sign in map(chr, range(0x10000)) if sign.isspace() or ord(sign) in ZERO_WIDTH_BLANKS)
AGGREGATIONS: tuple[ner.Aggregation, ...] = ("bio", "none", "simple", "first", "average", "max")


def encode(text: str, kind: Kind = "bytes") -> Encoded:
    (encoded,) = tokenizer(kind).encode_batch([text])
    return encoded


def random_logits(encoded: Encoded, seed: int, tags: tuple[str, ...] = TAGS) -> FloatArray:
    return np.random.default_rng(seed).normal(scale=2, size=(len(encoded), len(tags))).astype(np.float32)


def tagged(text: str, *mentions: tuple[str, str], kind: Kind = "bytes") -> FloatArray:
    """Logits that tag the tokens of some mentions, `(label, words)`, without doubt."""
    encoded = encode(text, kind)
    logits = np.zeros((len(encoded), len(TAGS)), dtype=np.float32)
    logits[:, 0] = 5
    for label, words in mentions:
        start = text.index(words)
        inside = (encoded.offsets[:, 0] < start + len(words)) & (encoded.offsets[:, 1] > start)
        logits[inside, TAGS.index(f"I-{label}")] = 10
        logits[np.flatnonzero(inside)[0], TAGS.index(f"B-{label}")] = 20
    return logits


def strip(text: str) -> str:
    return text.strip(BLANKS)


def hugging_faces(text: str, logits: FloatArray, aggregation: str, tags: tuple[str, ...]) -> list[dict[str, Any]]:
    """The entities of transformers' own pipeline."""
    pipeline: Any = object.__new__(TokenClassificationPipeline)
    pipeline.tokenizer = PreTrainedTokenizerFast(tokenizer_object=library_tokenizer("bytes"), unk_token="<unk>")
    pipeline.framework = "pt"
    pipeline.model = SimpleNamespace(config=SimpleNamespace(id2label=dict(enumerate(tags))))
    coded = pipeline.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    outputs = {
        "logits": torch.from_numpy(logits[None]),
        "sentence": text,
        "input_ids": torch.tensor([coded["input_ids"]]),
        "offset_mapping": torch.tensor([coded["offset_mapping"]]),
        "special_tokens_mask": torch.zeros(1, len(logits)),
    }
    entities: list[dict[str, Any]] = pipeline.postprocess([outputs], AggregationStrategy[aggregation.upper()])
    return entities


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("tags", [TAGS, ("O", "E-DIS", "DRUG", "B-X-RAY", "I-X-RAY")])
@pytest.mark.parametrize("aggregation", [one for one in AGGREGATIONS if one != "bio"])
@settings(max_examples=60)
@given(text=hard_texts(without="<"), seed=st.integers(0, 999))
def test_strategies_have_hugging_faces_meanings(
    aggregation: ner.Aggregation, tags: tuple[str, ...], text: str, seed: int
) -> None:
    encoded = encode(text)
    if not len(encoded):
        return
    logits = random_logits(encoded, seed, tags)
    expected: list[Any] = []
    for one in hugging_faces(text, logits, aggregation, tags):
        mention = text[one["start"] : one["end"]]
        if strip(mention):
            start = one["start"] + mention.index(strip(mention))
            label = one["entity"] if aggregation == "none" else one["entity_group"]
            expected.append((label, start, start + len(strip(mention)), pytest.approx(float(one["score"]), abs=1e-5)))
    found = ner.decode(logits, encoded, text, tags=tags, decoding=ner.Decoding(aggregation=aggregation))
    assert [(one.label, one.start, one.end, one.score) for one in found] == expected
    event(f"entities: {min(len(expected), 3)}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@settings(max_examples=25)
@given(data=st.data(), seed=st.integers(0, 999))
def test_an_entity_is_its_span_of_the_text_and_never_blank_at_its_ends(
    aggregation: ner.Aggregation, kind: Kind, data: st.DataObject, seed: int
) -> None:
    text = data.draw(hard_texts(max_size=15))
    encoded = encode(text, kind)
    found = ner.decode(random_logits(encoded, seed), encoded, text, tags=TAGS, decoding=ner.Decoding(aggregation=aggregation))
    for one in found:
        assert 0 <= one.start < one.end <= len(text)
        assert one.text == text[one.start : one.end] == strip(one.text)
    assert list(found) == sorted(found, key=lambda one: (one.start, one.end))
    if aggregation == "bio":
        assert all(before.end <= after.start for before, after in pairwise(found))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("text", "label", "mention"),
    [
        ("Il souffre d'une fièvre aphteuse.", "DIS", "fièvre aphteuse"),
        ("Hospitalisé à l'hôpital, traité.", "DIS", "hôpital"),
        ("Température : 38,5\u202f°C\r\nToux", "DIS", "38,5\u202f°C"),
        ("Un œde\u0300me, puis rien", "DIS", "œde\u0300me"),
        ("| fièvre |\r\n| toux |", "DIS", "fièvre |\r\n| toux"),
        ("Prise de paracétamol 500 mg/j", "DRUG", "paracétamol 500 mg"),
        ("avant 👩‍⚕️ après", "DIS", "👩‍⚕️"),
        ("עברית כאב ראש סוף", "DIS", "כאב ראש"),
        ("(toux)", "DIS", "toux"),
    ],
)
def test_a_tagged_mention_is_cut_exactly(kind: Kind, text: str, label: str, mention: str) -> None:
    (one,) = ner.decode(tagged(text, (label, mention), kind=kind), encode(text, kind), text, tags=TAGS, decoding=ner.Decoding())
    assert (one.label, one.text) == (label, mention)


def test_a_long_documents_logits_come_from_the_windows_that_keep_each_token() -> None:
    text = "Le patient tousse. " * 30 + "Une fièvre aphteuse. " + "Le patient tousse. " * 30
    encoded, logits = encode(text), tagged(text, ("DIS", "fièvre aphteuse"))
    windows = plan(len(encoded), capacity=50, overlap=10)
    outputs = []
    for window in windows:
        padded = np.full((len(window) + 2, len(TAGS)), np.nan, dtype=np.float32)
        padded[1:-1] = logits[window.start : window.stop]
        outputs.append(WindowOutput(rows={"ner": padded[ner.ask(window, output="ner").rows["ner"]]}))
    joined = ner.merge(outputs, windows, output="ner")
    assert np.array_equal(joined, logits)
    (one,) = ner.decode(joined, encoded, text, tags=TAGS, decoding=ner.Decoding())
    assert one.text == "fièvre aphteuse"


@pytest.mark.parametrize(("side", "mention"), [("head", "fièvre"), ("tail", "paracétamol")])
def test_a_truncated_document_is_decoded_where_it_was_read(side: str, mention: str) -> None:
    text = "Une fièvre, " + "puis rien, " * 20 + "enfin du paracétamol"
    logits, encoded = tagged(text, ("DIS", "fièvre"), ("DRUG", "paracétamol")), encode(text)
    window = truncate(len(encoded), capacity=30, side="tail" if side == "tail" else "head")
    part, rows = kept_tokens(encoded, (window,)), logits[window.start : window.stop]
    (one,) = ner.decode(rows, part, text, tags=TAGS, decoding=ner.Decoding())
    assert one.text == mention


TEXT = "Une fièvre sous paracétamol"
LOGITS = tagged(TEXT, ("DIS", "fièvre"), ("DRUG", "paracétamol"))


def labels_found(decoding: ner.Decoding) -> list[str]:
    return [one.label for one in ner.decode(LOGITS, encode(TEXT), TEXT, tags=TAGS, decoding=decoding)]


@pytest.mark.parametrize("aggregation", ["bio", "simple", "first", "average", "max"])
def test_wanted_labels_are_kept(aggregation: ner.Aggregation) -> None:
    assert labels_found(ner.Decoding(aggregation=aggregation)) == ["DIS", "DRUG"]
    assert labels_found(ner.Decoding(aggregation=aggregation, labels=("DRUG",))) == ["DRUG"]


def test_without_aggregation_labels_are_tags_and_wanted_by_type() -> None:
    logits = tagged(TEXT, ("DRUG", "sous paracétamol"))
    for wanted, answered in (("DRUG", ["B-DRUG", "I-DRUG"]), ("I-DRUG", ["I-DRUG"]), ("DIS", [])):
        decoding = ner.Decoding(aggregation="none", labels=(wanted,))
        found = ner.decode(logits, encode(TEXT), TEXT, tags=TAGS, decoding=decoding)
        assert sorted({one.label for one in found}) == answered


@pytest.mark.parametrize("aggregation", ["bio", "simple", "first", "average", "max"])
@pytest.mark.parametrize("label", ["I-DIS", "B-DRUG", "O"])
def test_a_label_that_no_entity_can_have_is_unknown(aggregation: ner.Aggregation, label: str) -> None:
    with pytest.raises(UnknownLabel, match=r"label 0 is unknown; this head has DIS, DRUG$"):
        labels_found(ner.Decoding(aggregation=aggregation, labels=(label,)))


def test_without_aggregation_the_labels_are_types_and_tags() -> None:
    with pytest.raises(UnknownLabel, match=r"this head has DIS, DRUG, B-DIS, I-DIS, B-DRUG, I-DRUG$"):
        labels_found(ner.Decoding(aggregation="none", labels=("O",)))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(seed=st.integers(0, 99))
def test_every_label_that_is_answered_may_be_wanted(aggregation: ner.Aggregation, seed: int) -> None:
    tags = ("O", "E-DIS", "DRUG", "B-X-RAY", "I-X-RAY")
    logits = random_logits(encode(TEXT), seed, tags)
    everything = ner.decode(logits, encode(TEXT), TEXT, tags=tags, decoding=ner.Decoding(aggregation=aggregation))
    for label in {one.label for one in everything}:
        wanted = ner.Decoding(aggregation=aggregation, labels=(label,))
        found = ner.decode(logits, encode(TEXT), TEXT, tags=tags, decoding=wanted)
        assert found == tuple(one for one in everything if one.label == label)


def test_an_unknown_label_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UnknownLabel, match="label 1 is unknown; this head has DIS, DRUG") as caught:
        labels_found(ner.Decoding(labels=("DIS", "Dupont")))
    assert caught.value.location == ("labels", 1)
    assert "Dupont" not in str(caught.value)


def test_scores_below_a_labels_threshold_or_the_minimum_are_left_out() -> None:
    assert labels_found(ner.Decoding(thresholds={"DIS": 1.1})) == ["DRUG"]
    assert labels_found(ner.Decoding(thresholds={"B-DIS": 1.1})) == ["DRUG"]
    assert labels_found(ner.Decoding(thresholds={"DIS": 0.9})) == ["DIS", "DRUG"]
    assert labels_found(ner.Decoding(min_score=1.1)) == []


def entity(label: str, start: int, end: int) -> ner.Entity:
    return ner.Entity(label=label, start=start, end=end, text=TEXT[start:end], score=1.0)


@pytest.mark.parametrize(
    ("entities", "expected"),
    [
        ([], TEXT),
        ([entity("DIS", 4, 10)], "Une [DIS] sous paracétamol"),
        ([entity("DRUG", 16, 27), entity("DIS", 4, 10)], "Une [DIS] sous [DRUG]"),
        ([entity("A", 0, 3), entity("B", 3, 10)], "[A][B] sous paracétamol"),
        ([entity("A", 0, 6), entity("B", 4, 10)], "[A][B] sous paracétamol"),
        ([entity("A", 0, 10), entity("B", 4, 6)], "[A] sous paracétamol"),
        ([entity("A", 4, 10), entity("A", 4, 10)], "Une [A] sous paracétamol"),
    ],
)
def test_redaction_leaves_no_character_of_any_entity(entities: list[ner.Entity], expected: str) -> None:
    assert ner.redact(TEXT, entities) == expected


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_text_without_tokens_has_no_entities(aggregation: ner.Aggregation) -> None:
    empty = np.zeros((0, len(TAGS)), dtype=np.float32)
    assert ner.decode(empty, encode(""), "", tags=TAGS, decoding=ner.Decoding(aggregation=aggregation)) == ()


def test_logits_of_another_document_are_refused() -> None:
    with pytest.raises(ValueError, match="and 5 tags"):
        ner.decode(LOGITS[1:], encode(TEXT), TEXT, tags=TAGS, decoding=ner.Decoding())


def test_an_unknown_token_begins_a_word_for_hugging_faces_strategies() -> None:
    text, made = "et a漢", tokenizer("metaspace")
    encoded = encode(text, "metaspace")
    logits = np.zeros((len(encoded), len(TAGS)), dtype=np.float32)
    logits[:, 1] = 9
    decoding = ner.Decoding(aggregation="first")
    assert made.unknown_id in encoded.ids
    joined = ner.decode(logits, encoded, text, tags=TAGS, decoding=decoding)
    apart = ner.decode(logits, encoded, text, tags=TAGS, decoding=decoding, unknown_id=made.unknown_id)
    assert [joined[-1].text, apart[-1].text] == ["a漢", "漢"]
