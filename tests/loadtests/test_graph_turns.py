"""A graph in turns: the same document with denormals as they are and as zeros, so the same bits; every turn but one counts."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from loadtests.graph_turns import contender, told_of
from tests.serving import bundles
from tests.serving.bundles import BLOCK


@pytest.fixture
def options() -> argparse.Namespace:
    return argparse.Namespace(precision="fp32", threads=1, tokens=3 * BLOCK)


def test_denormals_as_zeros_change_no_bit_and_every_turn_but_the_first_counts(
    tmp_path: Path, options: argparse.Namespace
) -> None:
    folder = bundles.write(tmp_path).folder
    plain, zeros = (contender(folder, options, zeros=kind) for kind in (False, True))
    for turn in range(3):
        for one in (plain, zeros):
            one.turn(counts=turn > 0)
    assert [len(zeros.processor), len(zeros.elapsed), len(zeros.memory)] == [2, 2, 2]
    told = told_of(zeros, plain)
    assert told["same_bits"]
    assert plain.answer.any()
    assert told["ratio"] > 0
    assert told["memory_mib"] >= 0
    assert plain.name != zeros.name
