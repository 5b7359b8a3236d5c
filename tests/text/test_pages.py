from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from drlongformer.text.pages import PAGE_LINES, repeated

HEADER, FOOTER = "CHU de Villeneuve - Cardiologie", "Secrétariat 01 02 03 04 05"
BODY = [f"Le jour numéro {number} est sans rien à dire." for number in range(3 * PAGE_LINES)]


def without(text: str, *, keep: str = "") -> str:
    parts, place = [], 0
    for edit in repeated(text, keep=keep):
        if edit is not None:
            parts += [text[place : edit.start], edit.replacement]
            place = edit.stop
    return "".join([*parts, text[place:]])


def document(*, pages: int = 3, length: int = PAGE_LINES, mark: str = "Page {}/3", between: str = "\n\n") -> str:
    made = []
    for page in range(pages):
        body = BODY[page * length : (page + 1) * length]
        made.append("\n".join([HEADER, *([mark.format(page + 1)] if mark else []), "", *body, "", FOOTER]))
    return between.join(made)


@pytest.mark.parametrize("mark", ["Page {}/3", "{}/3", "- {} -", "page {}", "{} sur 3", "p. {}"])
def test_headers_and_footers_go_but_for_the_first_and_page_numbers_go_all(mark: str) -> None:
    lines = without(document(mark=mark)).split("\n")
    assert lines.count(HEADER) == lines.count(FOOTER) == 1
    assert [line for line in lines if line in BODY] == BODY
    assert not any(mark.format(page) in lines for page in (1, 2, 3))


def test_a_form_feed_parts_pages_of_any_length() -> None:
    text = document(length=2, mark="", between="\f")
    assert without(text).split("\n").count(HEADER) == 1
    assert without(text.replace("\f", "\n\n")) == text.replace("\f", "\n\n")


@pytest.mark.parametrize(
    "text",
    [
        document(mark=""),  # nothing shows that a page ends
        document(length=PAGE_LINES - 6),  # too near to be pages
        "\n".join([*BODY[:20], "Page 2/3", *BODY[20:40], "Page 2/3"]),  # not the next page
        "\n".join(["Jour 1", *BODY[:20], "Jour 2", *BODY[20:40], "Jour 3"]),
        "\n".join(["Température : 37 °C", *BODY[:20], "Température : 38 °C", *BODY[20:40], "Température : 39 °C"]),
        "\f".join(["\n".join(BODY[:20])] * 2),  # a whole note copied
        "Page 1\fPage 2",  # nothing else
        "",
    ],
)
def test_what_is_not_certain_stays(text: str) -> None:
    assert without(text) == text


def test_a_line_with_a_page_and_more_stays_once() -> None:
    text = document(mark="Dossier 12 - Page {}/3")
    assert without(text).count("Dossier 12") == 1


def test_a_line_that_holds_a_mask_stays() -> None:
    text = document().replace(HEADER, "Service de <mask> générale")
    assert without(text).count("<mask>") == 1
    assert without(text, keep="<mask>").count("<mask>") == 3


@given(pages=st.lists(st.lists(st.sampled_from([HEADER, FOOTER, "Page {}", *BODY[:6], ""]), max_size=30), max_size=6))
def test_edits_are_in_order_apart_and_take_whole_lines(pages: list[list[str]]) -> None:
    text = "\f".join("\n".join(lines).format(*[number + 1] * 30) for number, lines in enumerate(pages))
    edits = [edit for edit in repeated(text) if edit is not None]
    place = 0
    for edit in edits:
        assert place <= edit.start < edit.stop
        place = edit.stop
    assert {line for line in without(text).replace("\f", "\n").split("\n") if line} <= set(text.replace("\f", "\n").split("\n"))
    event(f"something went: {bool(edits)}")
