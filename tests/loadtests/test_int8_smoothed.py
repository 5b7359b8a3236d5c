"""Smoothed int8: near fp32 on documents that were not calibrated on, in as many layers as keep their numbers."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from drlongformer.bundle import load, versions
from drlongformer.packing import SEGMENT_SUMS
from loadtests.int8_smoothed import asked, cosine, largest, opened, smooth

STORE = Path(__file__).parents[2] / "model_store"
MINI = STORE / "drlongformer-mini" / str(max(versions(STORE, "drlongformer-mini")))


def test_known_scales_of_smoothed_inputs_stay_near_fp32(tmp_path: Path) -> None:
    bundle = load(MINI)
    spec = bundle.graph("cpu", "fp32")
    for name in spec.files:
        shutil.copy(bundle.folder / name, tmp_path)
    first, second = asked(bundle, argparse.Namespace(texts=None, documents=2, tokens=128))
    graph = tmp_path / spec.file
    tops = largest(graph, [first])
    assert len(tops) == 4 * 4 + 1  # four inputs a layer; the last layer's queries are picked out
    assert all((top >= 0).all() and top.any() for top in tops.values())
    found = smooth(graph, "smoothed.onnx", tops, 0.5)
    assert 8 <= found.int8 <= found.linear == 24
    fp32, int8 = (opened(path).run([SEGMENT_SUMS], second.feeds())[0] for path in (graph, tmp_path / "smoothed.onnx"))
    assert 0.99 < cosine(fp32.sum(axis=(0, 1)), int8.sum(axis=(0, 1))) < 0.9999999
