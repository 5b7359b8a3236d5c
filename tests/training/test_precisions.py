"""What int8 loses: by the score that decides for each head, of sets that both graphs were scored on."""

from __future__ import annotations

from pathlib import Path

import pytest

from drlongformer.bundle import Bundle, Compared
from drlongformer.model.rounding import Int8
from drlongformer.training import ship
from drlongformer.training.precisions import compared
from tests.serving import bundles

FP32 = {
    "subject": {"kind": "onnx"},
    "notes/dev/symptoms": {"head": "symptoms", "documents": 9, "micro_f1": 0.5, "macro_f1": 0.1},
    "notes/dev/words": {"head": "words", "documents": 4, "accuracy": 0.25, "perplexity": 9.0},
    "notes/dev/several": {"head": "several", "documents": 2, "hamming": 0.75, "exact_match": 0.5},
    "other/dev/symptoms": {"head": "symptoms", "documents": 1, "micro_f1": 0.9},
}
INT8 = {
    "subject": {"kind": "onnx"},
    "notes/dev/symptoms": {"head": "symptoms", "documents": 9, "micro_f1": 0.49, "macro_f1": 0.9},
    "notes/dev/words": {"head": "words", "documents": 4, "accuracy": 0.5, "perplexity": 1.0},
    "notes/dev/several": {"head": "several", "documents": 2, "hamming": 0.75, "exact_match": 0.0},
}


def test_each_head_is_compared_by_the_score_that_decides(tmp_path: Path) -> None:
    found = compared(bundles.write(tmp_path), FP32, INT8)
    assert found == {
        "notes/dev/symptoms": Compared(name="micro_f1", fp32=0.5, int8=0.49, documents=9),
        "notes/dev/words": Compared(name="accuracy", fp32=0.25, int8=0.5, documents=4),
        "notes/dev/several": Compared(name="hamming", fp32=0.75, int8=0.75, documents=2),
    }
    assert [one.lost_points for one in found.values()] == pytest.approx([1, -25, 0])


def test_a_shipped_bundle_is_examined_in_int8_where_it_is_in_fp32(tmp_path: Path) -> None:
    asked: list[str] = []

    def examined(bundle: Bundle, precision: str = "fp32") -> dict[str, object]:
        asked.append(f"{bundle.manifest.name} in {precision}")
        return dict(INT8)

    wanted = ship._compared(Int8(most_points=2), examined)
    assert wanted is not None
    assert wanted.comparison is not None
    assert wanted.most_points == 2
    assert wanted.comparison(bundles.write(tmp_path), FP32).keys() == INT8.keys() - {"subject"}
    assert asked == ["by-hand in int8"]


def test_without_an_examination_there_is_nothing_to_compare() -> None:
    assert ship._compared(None, None) is None
    unscored = ship._compared(Int8(), None)
    assert unscored is not None
    assert unscored.comparison is None
