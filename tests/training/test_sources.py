from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from drlongformer.errors import TrainingError
from drlongformer.training import finetune, sources
from drlongformer.training.dataset import Batch, Special
from drlongformer.training.drawing import Mixture, Reading, crop, turn
from drlongformer.training.lessons import ClassSource, SpanSource
from tests.training import served, tiny

HEADS = ("mlm", "atc", "temporal", "clinical", "similarity", "choice")


def mixture(folder: Path, *, max_tokens: int = 62, augmentations: tuple[str, ...] = ()) -> Mixture:
    data, recipe = tiny.opened(folder), tiny.recipe().finetuning
    classes, spans, *others = recipe.sources
    assert isinstance(classes, ClassSource)
    assert isinstance(spans, SpanSource)
    rewritten = (replace(classes, augmentations=augmentations), replace(spans, augmentations=augmentations))
    recipe = replace(recipe, sources=(*rewritten, *others))
    heads = finetune.heads_of(recipe, data)
    tokenizer = served.tokenizer()
    reading = Reading(
        tokenizer=tokenizer,
        special=Special(bos=0, eos=2, mask=tokenizer.vocab_size - 1),
        language_head="mlm",
        masked_share=0.15,
        max_tokens=max_tokens,
        seed=1,
    )
    labels = {head.name: head.labels for head in heads if head.labels}
    return sources.build(recipe, data, labels, reading, heads=HEADS, block=4)


def test_a_batch_is_a_pure_function_of_its_number(tmp_path: Path) -> None:
    batches = mixture(tmp_path)
    first, again, other = batches[3], batches[3], batches[4]
    assert (first.packed.input_ids == again.packed.input_ids).all()
    assert first.packed.input_ids.tolist() != other.packed.input_ids.tolist()


def test_one_batch_asks_every_head(tmp_path: Path) -> None:
    batch = mixture(tmp_path)[0]
    assert batch.packed.global_slot.tolist() == [[0]] * len(batch.packed.first_block)
    assert all(len(batch.wanted[head]) == len(batch.packed.rows[head]) > 0 for head in HEADS)
    assert len(batch.wanted["atc"]) == 4
    assert sum(1 for kinship in batch.kinship if kinship) == 6
    halves = [pair for pair in batch.pairs if pair]
    assert halves[0::2] == halves[1::2]
    assert len({number for number, _ in halves}) == 2


def test_a_text_annotated_in_two_sets_is_read_once_for_both_heads(tmp_path: Path) -> None:
    batch = mixture(tmp_path)[0]
    (both,) = [share for share in batch.packed.shares if "temporal" in share.rows]
    assert "clinical" in both.rows
    assert len(set(batch.wanted["temporal"].tolist()) - {0}) == 4  # B and I of both labels
    assert set(batch.wanted["clinical"].tolist()) >= {0, 1}


def test_windows_of_one_raw_document_are_kin_to_each_other_alone(tmp_path: Path) -> None:
    *leaflets, one, two = [kinship for kinship in mixture(tmp_path)[0].kinship if kinship]
    assert one == two
    assert all(set(one).isdisjoint(leaflet) for leaflet in leaflets)


def test_heads_carry_the_labels_of_their_training_splits(tmp_path: Path) -> None:
    heads = {head.name: head for head in finetune.heads_of(tiny.recipe().finetuning, tiny.opened(tmp_path))}
    assert list(heads) == ["mlm", "atc", "temporal", "clinical", "similarity", "choice", "embedding"]
    assert (heads["choice"].function, heads["choice"].layout) == ("sigmoid", "each")
    assert heads["similarity"].score_range == (0.0, 5.0)
    assert heads["atc"].labels == ("C", "N")
    assert heads["temporal"].labels == ("O", "B-ACTOR", "I-ACTOR", "B-CLINENTITY", "I-CLINENTITY")


def test_a_document_with_spans_that_exceeds_the_window_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="exceeds the window of 20"):
        mixture(tmp_path, max_tokens=20)


def windows(batch: Batch) -> list[tuple[str, frozenset[str]]]:
    """The text of each window of a batch, and the heads it is asked by."""
    known, packed = tokenizers.Tokenizer.from_str(served.tokenizer_json()), batch.packed
    slots = packed.input_ids.reshape(-1)
    starts = (packed.first_block * 4).tolist()
    ids = [slots[start : start + length] for start, length in zip(starts, packed.document_length.tolist(), strict=True)]
    return [(known.decode(one), frozenset(share.rows)) for one, share in zip(ids, packed.shares, strict=True)]


def test_about_half_of_the_windows_for_entities_and_classes_are_in_capitals(tmp_path: Path) -> None:
    batches = mixture(tmp_path, max_tokens=200, augmentations=("case",))
    shown = [window for step in range(60) for window in windows(batches[step])]
    for head in ("atc", "temporal"):
        capitals = [text == text.upper() for text, heads in shown if head in heads]
        assert np.mean(capitals) == pytest.approx(0.5, abs=0.15)
    assert not any(text == text.upper() for text, heads in shown if not heads & {"atc", "temporal"})
    for batch in map(batches.__getitem__, range(4)):  # in capitals or not, the mentions are the same
        assert Counter(batch.wanted["temporal"].tolist())[1] == 1
        assert Counter(batch.wanted["temporal"].tolist())[3] == 3


def test_a_rewriting_that_no_window_holds_is_not_read(tmp_path: Path) -> None:
    batches = mixture(tmp_path, augmentations=("case",))
    shown = [window for step in range(20) for window in windows(batches[step])]
    assert not any(text == text.upper() for text, heads in shown if "temporal" in heads)
    assert any(text == text.upper() for text, heads in shown if "atc" in heads)


def test_an_augmentation_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no augmentation 'noise'; there are accents, case, wrap"):
        mixture(tmp_path, augmentations=("noise",))


def test_every_document_takes_its_turn_once_an_epoch() -> None:
    drawn = [document for step in range(10) for document in turn(step, 5, 3, np.random.default_rng)]
    assert Counter(drawn) == dict.fromkeys(range(5), 6)
    assert sorted(drawn[5:10]) == list(range(5))
    assert drawn[:5] != drawn[5:10]


def test_a_crop_is_a_run_of_the_document_and_most_begin_with_it() -> None:
    ids = np.arange(1000)
    random = np.random.default_rng(0)
    crops = [crop(ids, (102,), random) for _ in range(400)]
    assert all((np.diff(one) == 1).all() and 0 < len(one) <= 100 for one in crops)
    assert 0.8 < np.mean([one[0] == 0 for one in crops]) < 0.95
    assert max(int(one[-1]) for one in crops) > 900
