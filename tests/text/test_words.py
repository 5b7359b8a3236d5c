from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drlongformer.errors import MalformedBody
from drlongformer.text.words import ZERO_WIDTH_BLANKS, characters, has_visible, spans
from tests.text.tiny import hard_texts


def words(text: str) -> list[str]:
    return [text[start:stop] for start, stop in spans(characters(text)).tolist()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("l'hôpital, 37,5 °C", ["l'", "hôpital", ",", "37,5", "°", "C"]),
        ("pT2N0 (5 mm³)", ["pT2N0", "(", "5", "mm³", ")"]),
        ("d’e\u0301te\u0301.", ["d’", "e\u0301te\u0301", "."]),
        ("aujourd'hui 12.03.2021, 'x'", ["aujourd'", "hui", "12.03.2021", ",", "'", "x", "'"]),
        ("👩‍⚕️🧑🏽 ho\u00adpital", ["👩‍⚕️", "🧑🏽", "ho\u00adpital"]),
        ("a\u200bb\ufeffc\u202fd\r\ne", ["a", "b", "c", "d", "e"]),
        ("3, 4 et 5.", ["3", ",", "4", "et", "5", "."]),
        ("\u0301a", ["\u0301", "a"]),
        ("", []),
        (" \n\u200b", []),
    ],
)
def test_words_follow_the_documented_rule(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(text=hard_texts())
def test_words_cover_what_is_visible_and_hold_no_blank(text: str) -> None:
    visible = [c for c in text if not c.isspace() and ord(c) not in ZERO_WIDTH_BLANKS]
    assert "".join(words(text)) == "".join(visible)


@given(text=hard_texts())
def test_no_word_begins_with_a_mark_that_sits_on_a_character(text: str) -> None:
    for start in spans(characters(text))[:, 0].tolist():
        if start and unicodedata.category(text[start])[0] == "M":
            assert text[start - 1].isspace() or ord(text[start - 1]) in ZERO_WIDTH_BLANKS


def test_a_lone_surrogate_is_refused_without_an_echo() -> None:
    with pytest.raises(MalformedBody, match="at character 3") as caught:
        characters("abc\ud800def")
    assert "abc" not in str(caught.value)


@given(st.text(max_size=5))
def test_a_text_of_blanks_is_never_visible_and_a_visible_character_is_enough(text: str) -> None:
    if not text.strip():
        assert not has_visible(text)
    assert has_visible(f"{text}a")
