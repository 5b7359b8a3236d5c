"""A tokenizer that normalises reads the normalised text, and every offset is one of the untouched text."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Literal

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from pydantic import ValidationError

from drlongformer.bundle import TokenizerSpec
from drlongformer.errors import MalformedBody
from drlongformer.text.normalisation import normalise
from drlongformer.text.tokenizer import Progress
from drlongformer.types import RULES, Encoded
from tests.text.test_normalisation import TEXTS
from tests.text.tiny import KINDS, Kind, spec, tokenizer

kinds = pytest.mark.parametrize("kind", KINDS)


def told_of(steps: Generator[Progress, None, Encoded], told: list[Progress]) -> Encoded:
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            encoded: Encoded = end.value
            return encoded


def same(one: Encoded, other: Encoded) -> bool:
    return all(np.array_equal(getattr(one, field), getattr(other, field)) for field in ("ids", "offsets", "words"))


@kinds
@pytest.mark.parametrize("splitting", ["raw", "words"])
@given(text=TEXTS)
def test_tokens_are_those_of_the_normalised_text_and_offsets_of_the_untouched(
    kind: Kind, splitting: Literal["raw", "words"], text: str
) -> None:
    (encoded,) = tokenizer(kind, word_splitting=splitting, normalisation=RULES).encode_batch([text])
    made = normalise(text, RULES, keep="<mask>")
    (plain,) = tokenizer(kind, word_splitting=splitting).encode_batch([made.text])
    assert np.array_equal(encoded.ids, plain.ids)
    assert np.array_equal(encoded.words, plain.words)
    assert np.array_equal(encoded.offsets, made.restore(plain.offsets))
    assert np.all(np.diff(encoded.offsets[:, 0]) >= 0)
    assert np.all((encoded.offsets >= 0) & (encoded.offsets <= len(text)))
    event(f"changed: {made.text != text}")


@kinds
@given(text=TEXTS)
def test_masks_stand_where_they_are_written(kind: Kind, text: str) -> None:
    masked = tokenizer(kind, normalisation=RULES).encode_masked(text)
    assert [text[start:end] for start, end in masked.spans] == ["<mask>"] * text.count("<mask>")


@pytest.mark.parametrize("kind", ["bytes", "bytes-nfc"])
def test_a_parted_misread_word_is_one_word_of_the_untouched_text(kind: Kind) -> None:
    text = "L\x92hÃ´pi-\ntal reÃ§oit\nle patient."
    (encoded,) = tokenizer(kind, normalisation=RULES).encode_batch([text])
    words = [encoded.offsets[encoded.words == number] for number in range(int(encoded.words[-1]) + 1)]
    cut = [text[spans[:, 0].min() : spans[:, 1].max()] for spans in words]
    assert cut == ["L\x92", "hÃ´pi-\ntal", "reÃ§oit", "le", "patient", "."]


@pytest.mark.parametrize("kind", ["bytes", "bytes-nfc"])
def test_steps_tell_the_characters_of_the_untouched_text_and_end_as_one_batch(kind: Kind) -> None:
    text = "Le patient pré-\nsente une fiÃ¨vre\nmodérée, et tousse <mask>.\n\n" * 900
    made = tokenizer(kind, normalisation=RULES)
    told: list[Progress] = []
    encoded = told_of(made.steps(text), told)
    assert sum(step.characters for step in told) == len(text)
    assert len([step for step in told if step.characters]) > 3
    assert [step.tokens for step in told] == sorted(step.tokens for step in told)
    assert told[-1].tokens == len(encoded)
    assert same(encoded, made.encode_batch([text])[0])


@given(text=st.sampled_from(["a\ud800", "fiÃ¨vre\n\udfff"]))
def test_a_lone_surrogate_is_told_by_its_place_in_the_untouched_text(text: str) -> None:
    place = next(place for place, letter in enumerate(text) if "\ud800" <= letter <= "\udfff")
    with pytest.raises(MalformedBody, match=f"at character {place}"):
        tokenizer("bytes", normalisation=RULES).encode_batch([text])


def test_rules_of_normalisation_are_none_in_old_manifests_known_and_each_named_once() -> None:
    told = spec("bytes").model_dump(mode="json")
    del told["normalisation"]
    assert TokenizerSpec.model_validate_json(json.dumps(told)).normalisation == ()
    asked = TokenizerSpec.model_validate_json(json.dumps(told | {"normalisation": ["pages", "lines"]}))
    assert asked.normalisation == ("pages", "lines")
    for wrong in (["capitals"], ["lines", "lines"], "lines", [None]):
        with pytest.raises(ValidationError):
            TokenizerSpec.model_validate_json(json.dumps(told | {"normalisation": wrong}))
