from __future__ import annotations

import pytest
import torch

from drlongformer.errors import CheckpointError, TrainingError
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.training.records.record import SpanRecord, TextRecord
from drlongformer.training.wanted_heads import HeadRequest, head_of
from tests.training import models, notes


def test_tags_are_those_of_the_spans() -> None:
    head = head_of(HeadRequest(task="ner", name="ner"), notes.cases(2))
    assert head.labels == ("O", "B-ACTOR", "I-ACTOR", "B-CLINENTITY", "I-CLINENTITY")
    with pytest.raises(TrainingError, match="none of 1 training documents has a span"):
        head_of(HeadRequest(task="ner", name="ner"), [SpanRecord(id="1", text="Rien.", spans=())])


def test_one_label_a_text_is_softmax_and_any_number_is_sigmoid() -> None:
    request = HeadRequest(task="classify", name="topic")
    assert head_of(request, notes.topics(1)).function == "softmax"
    assert head_of(request, notes.findings(1)).function == "sigmoid"
    with pytest.raises(TrainingError, match=r"one label a text, but texts have \[0, 1, 2\] labels"):
        head_of(HeadRequest(task="classify", name="topic", several=False), notes.findings(1))
    with pytest.raises(TrainingError, match="1 labels in 1 documents"):
        head_of(request, [TextRecord(id="1", text="Rien.", labels=("x",))])


def test_similarity_is_a_head_of_its_own_or_the_embedding() -> None:
    assert head_of(HeadRequest(task="similarity", name="near"), notes.pairs(1)).score_range == (0.0, 5.0)
    assert head_of(HeadRequest(task="similarity", name="near", contrastive=True), notes.pairs(1)).task == "embed"
    with pytest.raises(TrainingError, match="3 scores lie outside 0 to 1, the --score-range; the first is that of"):
        head_of(HeadRequest(task="similarity", name="near", score_range=(0.0, 1.0)), notes.pairs(1))
    with pytest.raises(TrainingError, match="--score-range 5,0 is no range: the lowest score comes first"):
        HeadRequest(task="similarity", name="near", score_range=(5.0, 0.0))


@pytest.mark.parametrize(("several", "function"), [(False, "softmax"), (True, "sigmoid")])
def test_one_right_option_or_several_in_both_layouts(several: bool, function: str) -> None:
    each = head_of(HeadRequest(task="multiple-choice", name="c"), notes.questions(1, several=several))
    joint = head_of(HeadRequest(task="multiple-choice", name="c", layout="joint"), notes.questions(1, several=several))
    assert (each.function, each.labels) == (function, ())
    assert (joint.function, joint.labels) == (function, ("a", "b", "c"))


@pytest.mark.parametrize("name", ["class", "import", "None", "keys", "train", "forward", "a.b", ""])
def test_a_name_that_torch_could_not_export_is_refused_before_any_training(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"no head can be named {name!r}"):
        HeadRequest(task="ner", name=name)
    with pytest.raises(CheckpointError, match=f"no head can be named {name!r}"):
        LongformerWithHeads(models.model().longformer, {name: torch.nn.Identity()})


@pytest.mark.parametrize("name", ["classe", "fill-mask", "urgence 2", "é", "match"])
def test_names_that_can_be_exported_are_taken(name: str) -> None:
    assert HeadRequest(task="ner", name=name).name == name
