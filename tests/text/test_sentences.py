"""Sentences and paragraphs of clinical French: what a reader would call one, and every visible character in exactly one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drlongformer.text.sentences import ABBREVIATIONS, paragraphs, sentences

PIECES = [
    "Le patient",
    "va bien",
    ". ",
    ".",
    "! ",
    "…",
    "\n",
    "\r\n",
    "\n\n",
    " ",
    "\t",
    "|",
    "- HTA",
    "1. ",
    "Dr. ",
    "«\u202f",
    "\u00a0»",
    "A. ",
]


def cut(text: str) -> list[str]:
    return [text[start:stop] for start, stop in sentences(text)]


def test_the_example_of_the_module() -> None:
    text = "ANTÉCÉDENTS :\n- HTA\nVu par le Dr. A. Petit\nà 8 h 30. Bien toléré."
    assert cut(text) == ["ANTÉCÉDENTS :", "- HTA", "Vu par le Dr. A. Petit\nà 8 h 30.", "Bien toléré."]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hépatite C. Il y a 3 ans.", 2),
        ("Groupe sanguin A. Rhésus positif.", 2),
        ("Adressé par J. Dupont. Vu hier.", 2),
        ("Avis du Pr M.-C. Martin ce jour.", 1),
        ("Urines à E. coli, sensible.", 1),
        ("Créatinine 9.5 mg/L. Kaliémie 4,2 mmol/L. RAS", 3),
        ("Né le 12. 03. 1950 à Brest.", 1),
        ("Prendre 2 cp. matin et soir, cf. ordonnance.", 1),
        ("Ira mieux, marche, mange, etc. Sortie demain.", 2),
        ("Douleur ? Non ! Fièvre... Oui.", 4),
        ("« Je vais bien. » Elle sort (avec aide.) Revue en mai.", 3),
        ("Pas de fièvre (38 °C max.). Apyrexie.", 2),
        ("TA : 120/80. FC : 70.", 2),
        ("1. Examen clinique. Sans particularité.", 2),
        ("2) Traitement. Inchangé.", 2),
    ],
)
def test_a_line_is_cut_where_a_reader_would(text: str, wanted: int) -> None:
    assert len(cut(text)) == wanted, cut(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Le patient est adressé pour une\ndouleur thoracique.", 1),
        ("Il est vu par le docteur Martin, en\nConsultation externe.", 1),
        ("Entrée le 3 mai.\nSortie le 4 mai.", 2),
        ("Motif\nDouleur thoracique depuis deux jours, sans fièvre", 2),
        ("CONCLUSION\nPas de récidive", 2),
        ("Traitement de sortie :\nparacétamol si besoin", 2),
        ("Traitement\n- paracétamol\n- amoxicilline\n• repos", 4),
        ("TA\t120/80\nFC\t70", 2),
        ("Na | 140\nK | 4,1", 2),
        ("LE PATIENT EST ADRESSÉ POUR UNE DOULEUR\nTHORACIQUE SANS FIÈVRE.", 1),
        ("Pas de fièvre.\r\nPas de toux.\r\n\r\nSortie.", 3),
    ],
)
def test_a_line_break_ends_a_sentence_unless_the_line_was_wrapped(text: str, wanted: int) -> None:
    assert len(cut(text)) == wanted, cut(text)


@pytest.mark.parametrize("word", sorted(ABBREVIATIONS))
def test_an_abbreviation_ends_no_sentence(word: str) -> None:
    assert len(cut(f"Noté ainsi, {word}. Brest est loin.")) == 1


def test_paragraphs_lie_between_blank_lines_of_any_system() -> None:
    text = "Un.\n  \n\nDeux.\nEncore deux.\r\n\r\nTrois.\r\rQuatre.\fCinq.\n"
    found = [text[start:stop] for start, stop in paragraphs(text)]
    assert found == ["Un.", "Deux.\nEncore deux.", "Trois.", "Quatre.", "Cinq."]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=60))
@example("")
@example(" \n\u00a0\n")
@example("." * 3 + "\n" + ".")
def test_every_visible_character_lies_in_one_sentence_of_one_paragraph(text: str) -> None:
    for ranges in (list(sentences(text)), list(paragraphs(text))):
        assert all(left[1] <= right[0] for left, right in pairwise(ranges))
        covered = {place for start, stop in ranges for place in range(start, stop)}
        assert {place for place, letter in enumerate(text) if not letter.isspace()} <= covered
        for start, stop in ranges:
            part = text[start:stop]
            assert part
            assert part == part.strip()


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_a_sentence_crosses_no_paragraph(text: str) -> None:
    parts = list(paragraphs(text))
    for start, stop in sentences(text):
        assert any(first <= start and stop <= last for first, last in parts)
