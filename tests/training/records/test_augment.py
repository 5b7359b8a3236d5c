from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from drlongformer.errors import TrainingError
from drlongformer.training.records.augment import AUGMENTATIONS, Rewritten, accents, augmented, case, wrap
from drlongformer.training.records.nested import outermost
from drlongformer.training.records.record import ChoiceRecord, PairRecord, SpanRecord, TextRecord
from drlongformer.training.spans import Span
from tests.text.tiny import hard_texts
from tests.training.records.annotated import NOTE, span, span_records, visible

WORDY = st.lists(
    st.one_of(st.text("abcdeéèœ", max_size=14), st.sampled_from(("38,5", "\n", "e\u0301te\u0301", "-", "1234567890"))),
    min_size=1,
    max_size=9,
).map(" ".join)
"""Words, some longer than a narrow line, figures, accents apart, ends of lines."""

GROWING = "ßﬁﬃŉǰΐﬀİŒ"
"""Letters of which most are longer in capitals."""


def narrow(text: str) -> Rewritten:
    return wrap(text, width=9)


def unaccented(text: str) -> str:
    """Accents off another way: the whole text decomposed, and letters without them put together again."""
    apart = unicodedata.normalize("NFD", text.replace("œ", "oe").replace("Œ", "OE"))
    return unicodedata.normalize("NFC", re.sub("(?<=[^\\W\\d_])[\u0300-\u036f]+", "", apart))


def test_the_spans_of_the_drawing_move_with_their_characters() -> None:
    new = accents("cœur lésé")
    assert new.text == "coeur lese"
    assert new.span(Span(start=1, end=4, label="X")) == Span(start=1, end=5, label="X")
    assert new.span(Span(start=5, end=9, label="X")) == Span(start=6, end=10, label="X")


def test_accents_go_and_signs_stay() -> None:
    assert accents("Œdème à 38,5 °C ≠ ñ, ç, ÿ, ½").text == "OEdeme a 38,5 °C ≠ n, c, y, ½"
    assert accents("e\u0301le\u0301ve\u0301").text == "eleve"
    assert accents("\u0301a =\u0338 b").text == "\u0301a =\u0338 b"


def test_capitals_keep_accents_and_may_grow() -> None:
    new = case("strass ﬁèvre ß fin")
    assert new.text == "STRASS FIÈVRE SS FIN"
    assert new.span(Span(start=7, end=12, label="X")) == Span(start=7, end=13, label="X")
    assert new.span(Span(start=15, end=18, label="X")) == Span(start=17, end=20, label="X")


def test_long_words_are_hyphenated_at_the_margin_and_figures_are_not() -> None:
    text = "une insuffisance cardiaque à 123456789 ml"
    new = wrap(text, width=12)
    assert new.text == "une insuffi-\nsance cardi-\naque à\n123456789 ml"
    organ = new.span(span(text, "cardiaque", "X"))
    assert new.text[organ.start : organ.end] == "cardi-\naque"
    assert new.text[slice(*_ends(new.span(span(text, "insuffisance", "X"))))] == "insuffi-\nsance"


def test_lines_that_fit_stay_as_they_were() -> None:
    assert wrap(NOTE).text == NOTE
    assert wrap("abc def\nghi", width=7).text == "abc def\nghi"
    assert wrap("1234567890 123", width=7).text == "1234567890\n123"
    assert wrap("1234567890", width=7).text == "1234567890"
    with pytest.raises(TrainingError, match="lines of 6 characters"):
        wrap(NOTE, width=6)


@given(text=WORDY, width=st.integers(7, 40))
def test_wrapping_adds_hyphens_and_line_ends_only_and_no_long_line_that_could_be_cut(text: str, width: int) -> None:
    new = wrap(text, width=width)
    event(f"hyphenated: {new.text.count('-') > text.count('-')}, wrapped: {new.text.count(chr(10)) > text.count(chr(10))}")
    kept = [new.text[begin:end] for begin, end in zip(new.begin, new.end, strict=True)]
    assert all(after == before or (before, after) == (" ", "\n") for before, after in zip(text, kept, strict=True))
    between = {new.text[end:begin] for end, begin in zip(new.end[:-1], new.begin[1:], strict=True)}
    assert between <= {"", "-\n"}
    for line in new.text.split("\n"):
        assert len(line) <= width or " " not in line[1:].strip()


@given(text=hard_texts())
def test_accents_go_as_decomposition_says(text: str) -> None:
    latin = "".join(letter for letter in text if ord(letter) < 0x370 and letter not in "æÆ")
    assume(unicodedata.is_normalized("NFC", latin))
    assert accents(latin).text == unaccented(latin)


@given(text=hard_texts(), name=st.sampled_from(sorted(AUGMENTATIONS)))
def test_every_character_has_a_rendering_and_order_is_kept(text: str, name: str) -> None:
    new = AUGMENTATIONS[name](text)
    assert len(new.begin) == len(new.end) == len(text)
    assert all(0 <= begin < end <= len(new.text) for begin, end in zip(new.begin, new.end, strict=True))
    assert (new.begin[1:] >= new.begin[:-1]).all()
    assert (new.end[1:] >= new.end[:-1]).all()
    assert not len(text) or new.end[-1] == len(new.text)


@given(record=span_records(texts=WORDY), name=st.sampled_from(("accents", "case", "narrow")))
def test_every_span_covers_what_became_of_its_text(record: SpanRecord, name: str) -> None:
    new = {**AUGMENTATIONS, "narrow": narrow}[name](record.text)
    event(f"{name}: text changed {new.text != record.text}, has spans {bool(record.spans)}")
    for before in record.spans:
        after = new.span(before)
        old, found = record.text[before.start : before.end], new.text[after.start : after.end]
        assert (after.label, found[0].isspace(), found[-1].isspace()) == (before.label, False, False)
        match name:
            case "case":
                assert found == old.upper()
            case "narrow":
                assert re.sub(r"[\s-]", "", found) == re.sub(r"[\s-]", "", old)
                assert (found[0], found[-1]) == (old[0], old[-1])
            case _ if old[0] == "\u0301" and before.start and record.text[before.start - 1].isalpha():
                assert found.endswith(accents(old.lstrip("\u0301")).text)  # the letter takes its accent's place
            case _:
                assert found == accents(old).text


@given(before=st.text(GROWING + "aé 1\n"), mention=st.text(GROWING + "eœ\u0301", max_size=6), after=st.text("Aà, " + GROWING))
@pytest.mark.parametrize("names", [("case",), ("accents", "case"), ("case", "accents"), ("case", "wrap")])
def test_a_span_stays_exact_where_capitals_are_longer(names: tuple[str, ...], before: str, mention: str, after: str) -> None:
    mention = f"ß{mention}ﬁ"
    text = f"{before}{mention}{after}"
    start = len(before)
    record = SpanRecord(id="1", text=text, spans=(Span(start=start, end=start + len(mention), label="X"),))
    found = augmented(record, names)
    (moved,) = found.spans
    covered = found.text[moved.start : moved.end]
    alone = augmented(TextRecord(id="1", text=mention, labels=()), names).text
    assert re.sub(r"-\n", "", covered) == re.sub(r"-\n", "", alone)
    assert len(covered) > len(mention.replace("\u0301", ""))  # "accents" takes the lone ones away
    assert (covered[:2], covered[-2:]) == ("SS", "FI")


@given(record=span_records(texts=WORDY), names=st.lists(st.sampled_from(sorted(AUGMENTATIONS)), max_size=3))
def test_a_rewritten_record_holds_its_spans_where_they_went(record: SpanRecord, names: list[str]) -> None:
    text, spans = record.text, record.spans
    for name in names:
        new = AUGMENTATIONS[name](text)
        text, spans = new.text, outermost(map(new.span, spans)).kept
    found = augmented(record, names)
    assert (found.text, found.spans) == (text, spans)
    assert len(found.spans) + len(found.nested) == len(record.spans) + len(record.nested)


@given(records=st.lists(WORDY.filter(visible), min_size=1, max_size=3))
def test_augmentations_follow_one_another_on_every_kind_of_record(records: list[str]) -> None:
    both = ["accents", "case"]
    for text in records:
        done = case(accents(text).text).text
        assert augmented(TextRecord(id="1", text=text, labels=("a",), group="g"), both) == TextRecord(
            id="1", text=done, labels=("a",), group="g"
        )
        pair = augmented(PairRecord(id="1", first=text, second=NOTE, score=1.0), both)
        assert (pair.first, pair.score) == (done, 1.0)
        asked = ChoiceRecord(id="1", question=text, options={"a": text, "b": NOTE}, answers=("a",), context=text)
        found = augmented(asked, both)
        assert (found.question, found.options["a"], found.context) == (done, done, done)
        assert augmented(TextRecord(id="1", text=text, labels=()), []).text == text


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(TrainingError, match="no augmentation 'noise'; there are accents, case, wrap"):
        augmented(TextRecord(id="1", text=NOTE, labels=()), ["noise"])


def test_a_choice_without_context_stays_without() -> None:
    asked = ChoiceRecord(id="1", question="?e", options={"a": "x", "b": "y"}, answers=("a",))
    assert augmented(asked, ["case"]).context is None


def _ends(one: Span) -> tuple[int, int]:
    return one.start, one.end
