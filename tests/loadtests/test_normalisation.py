"""The damages that normalisation is measured on are what its rules are for, and spans move with their characters."""

from __future__ import annotations

from drlongformer.text.normalisation import normalise
from drlongformer.training.records.augment import rewritten
from drlongformer.training.records.record import SpanRecord
from drlongformer.training.spans import Span
from loadtests.normalisation import mojibake, sampled

TEXT = "Œdème à l’hôpital, fièvre à 38,5 °C ; « à surveiller »."


def test_mojibake_is_mended_whole() -> None:
    damaged = mojibake(TEXT).text
    assert damaged.startswith("Å’dÃ¨me Ã")
    assert normalise(damaged, ("encoding",)).text == TEXT


def test_spans_cover_the_same_words_in_the_damaged_text() -> None:
    start = TEXT.index("fièvre")
    record = SpanRecord.of(id="1", text=TEXT, spans=[Span(start=start, end=start + 6, label="SIGNE")])
    [span] = rewritten(record, mojibake).spans
    assert mojibake(TEXT).text[span.start : span.end] == "fiÃ¨vre"


def test_a_sample_is_the_same_for_the_same_seed_and_keeps_the_order() -> None:
    drawn = sampled(list(range(100)), 10, 0)
    assert drawn == sampled(list(range(100)), 10, 0) == sorted(drawn)
    assert (len(drawn), sampled([1, 2], 10, 0)) == (10, [1, 2])
