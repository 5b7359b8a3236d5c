from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from drlongformer.text.mojibake import FRENCH, misread


def mended(text: str) -> str:
    parts, place = [], 0
    for found in misread(text):
        parts += [text[place : found.start], found.sign]
        place = found.stop
    return "".join([*parts, text[place:]])


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@given(text=st.text(alphabet=st.sampled_from(sorted(FRENCH | set("aeT ,.\n"))), max_size=30))
def test_what_was_read_in_the_wrong_encoding_is_told_sign_by_sign(encoding: str, text: str) -> None:
    wrong = "".join(
        bytes([byte]).decode(encoding, "ignore") or bytes([byte]).decode("latin-1") for byte in text.encode("utf-8")
    )
    assert mended(wrong) == text
    event(f"something was wrong: {wrong != text}")


@given(text=st.text(alphabet=st.sampled_from([*"’‘“”…–—€œŒŸaé \n"]), max_size=20))
def test_signs_of_windows_1252_that_were_read_as_latin_1_are_told(text: str) -> None:
    wrong = text.encode("cp1252").decode("latin-1")
    assert mended(wrong) == text.replace("…", "\x85")
    assert mended(text) == text


@pytest.mark.parametrize("text", ["BLÂMÉ, ÂGE", "DÉCÉDÉ» EN", "É»", "naïve Århus", "pâté", "Ã", "â€", "\x81\x85\x8d", "São"])
def test_what_decodes_to_nothing_french_stays(text: str) -> None:
    assert list(misread(text)) == []
