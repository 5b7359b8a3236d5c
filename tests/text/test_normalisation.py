from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from drlongformer.text import normalisation
from drlongformer.text.normalisation import normalise, normalising
from drlongformer.text.sentences import sentences, wraps
from drlongformer.types import RULES, Rule
from tests.text.tiny import hard_texts

FRAGMENTS = [
    "fiÃ¨vre", "Ã\xa0", "l\x92hÃ´pi-\ntal", "pneu-\r\n  monie", "sous-\ncutané", "le patient\n", "tousse depuis\nhier", "\n",
    "\r\n", "\f", "CHU de Brest, cardiologie\n", "Page 1/3\n", "Page 2/3\n", "Page 3/3\n", "Fin. ", "\n\n", "-\n", "a", " ",
    "<mask>", "é", "Le patient va bien.\n" * 16, "\U0001f469\u200d\u2695\ufe0f", "e\u0301",
]  # fmt: skip
TEXTS = st.one_of(hard_texts(), st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join))
SOME_RULES = st.sampled_from([rules for count in range(5) for rules in combinations(RULES, count)])


def read(text: str, *rules: Rule) -> str:
    return normalise(text, rules or RULES).text


def test_the_documented_ruler_holds() -> None:
    made = normalise("le cÃ´-\nlon", RULES)
    rows = {line.split()[0]: line for line in (normalisation.__doc__ or "").splitlines() if line.startswith("    ")}
    assert made.text == "le côlon" == "le " + "".join(rows["normalised"].split()[3:])
    assert made.starts.tolist() == [int(place) for place in rows["starts"].split()[1:]]
    assert made.stops.tolist() == [int(place) for place in rows["stops"].split()[1:]]
    assert made.restore(np.array([[3, 8]])).tolist() == [[3, 11]]


@given(text=TEXTS, rules=SOME_RULES)
def test_every_character_leads_back_to_those_it_came_from(text: str, rules: tuple[Rule, ...]) -> None:
    made = normalise(text, rules)
    spans = list(zip(made.starts.tolist(), made.stops.tolist(), strict=True))
    assert len(spans) == len(made.text)
    place = 0
    for letter, (start, stop) in zip(made.text, spans, strict=True):
        assert place <= start < stop <= len(text)
        place = stop
        came_from = text[start:stop]
        known = came_from == letter or letter in " \n" or letter == read(came_from, "encoding")
        assert known, (letter, came_from)
    event(f"changed: {made.text != text}")


@given(text=TEXTS, rules=SOME_RULES, data=st.data())
def test_restoring_is_the_hull_and_keeps_order(text: str, rules: tuple[Rule, ...], data: st.DataObject) -> None:
    made = normalise(text, rules)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(made.text)), max_size=8)))
    spans = np.array(list(pairwise(cuts)), dtype=np.int64).reshape(-1, 2)
    restored = made.restore(spans)
    for (start, stop), (first, last) in zip(spans.tolist(), restored.tolist(), strict=True):
        assert (first < last) == (start < stop)
        if start < stop:
            assert (first, last) == (made.starts[start], made.stops[stop - 1])
    flat = restored.reshape(-1)
    assert np.array_equal(flat, np.sort(flat))
    assert np.all((flat >= 0) & (flat <= len(text)))


@given(text=TEXTS)
def test_without_rules_nothing_changes(text: str) -> None:
    made = normalise(text, ())
    assert made.text == text
    assert made.starts.tolist() == list(range(len(text)))
    assert np.array_equal(made.stops, made.starts + 1)


@given(text=st.lists(st.sampled_from(["Le patient tousse.", "Fièvre à 38,5 °C.", "HTA", "- toux", "\n\n"]), max_size=20))
def test_a_clean_text_is_read_as_it_stands(text: list[str]) -> None:
    joined = "\n\n".join(text)
    assert read(joined) == joined


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("une pneu-\nmonie", "une pneumonie"),
        ("une pneu-  \r\n  monie", "une pneumonie"),
        ("une voie sous-\ncutanée", "une voie sous-cutanée"),
        ("vis-à-\nvis", "vis-à-vis"),
        ("Saint-\nÉtienne", "Saint-\nÉtienne"),
        ("VIH-\nnégatif", "VIH-\nnégatif"),
        ("fièvre -\ntoux", "fièvre -\ntoux"),
        ("pneu-\n\nmonie", "pneu-\n\nmonie"),
    ],
)
def test_words_parted_at_a_lines_end_are_one(text: str, expected: str) -> None:
    assert read(text, "hyphens") == expected


def test_wrapped_lines_are_joined_and_lists_and_titles_are_not() -> None:
    text = "ANTÉCÉDENTS :\n- HTA\n- diabète\n\nLe patient est vu pour \n  une fièvre\net tousse.\nPas de dyspnée."
    assert (
        read(text, "lines")
        == "ANTÉCÉDENTS :\n- HTA\n- diabète\n\nLe patient est vu pour une fièvre et tousse.\nPas de dyspnée."
    )


def test_joining_lines_alone_parts_no_word_with_a_space() -> None:
    assert read("une pneu-\nmonie vue\nhier", "lines") == "une pneu-\nmonie vue hier"


def test_joined_words_do_not_change_what_counts_as_a_wrapped_line() -> None:
    text = "Le patient a une pneu-\nmonie et une fièvre\nBronchodilatateurs prescrits"
    assert read(text) == "Le patient a une pneumonie et une fièvre Bronchodilatateurs prescrits"


def test_a_word_goes_on_over_a_pages_end() -> None:
    body = "\n".join(f"Le jour {number} est sans fièvre." for number in range(20))
    text = f"CHU de Brest\nPage 1/2\n{body}\nUne pneu-\n\n\fCHU de Brest\nPage 2/2\n\nmonie franche."
    made = normalise(text, RULES)
    assert "Une pneumonie franche." in made.text
    start = made.text.index("pneumonie")
    first, last = made.restore(np.array([[start, start + 9]]))[0]
    assert (text[first : first + 5], text[last - 5 : last]) == ("pneu-", "monie")


@given(text=TEXTS)
def test_wraps_are_blank_space_inside_sentences_lines(text: str) -> None:
    inside = {place for start, stop in wraps(text) for place in range(start, stop)}
    assert all(text[place].isspace() for place in inside)
    within = {place for start, stop in sentences(text) for place in range(start, stop)}
    assert all(place in within or any(text[place:].lstrip()) for place in inside)


@given(text=TEXTS, rules=SOME_RULES)
def test_a_string_to_keep_is_never_left_out(text: str, rules: tuple[Rule, ...]) -> None:
    assert normalise(text, rules, keep="<mask>").text.count("<mask>") == text.count("<mask>")


def test_a_long_text_is_read_in_many_steps() -> None:
    text = "Le patient pré-\nsente une fiÃ¨vre\nmodérée.\nPage 1/2\n" * 3_000
    assert sum(1 for _ in normalising(text, RULES)) > 9
