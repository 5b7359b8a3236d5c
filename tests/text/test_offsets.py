from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drlongformer.text.offsets import utf16_places
from tests.text.tiny import hard_texts


def test_the_documented_example_holds() -> None:
    assert utf16_places("a👩b").tolist() == [0, 1, 3, 4]


@given(text=hard_texts() | st.text())
def test_utf16_offsets_cut_the_utf16_text_as_code_points_cut_the_text(text: str) -> None:
    places, encoded = utf16_places(text), text.encode("utf-16-le")
    assert len(places) == len(text) + 1
    for start, character in enumerate(text):
        assert encoded[2 * places[start] : 2 * places[start + 1]].decode("utf-16-le") == character
