"""The ways to an int8 product: near the fp32 one, and those with a scale for each row the same alone and beside others."""

from __future__ import annotations

import numpy as np
import pytest

from drlongformer.types import FloatArray
from loadtests.int8_products import by_row, measured, nbits, static

INPUTS, OUTPUTS = 128, 32


def drawn(*shape: int) -> FloatArray:
    return np.random.default_rng(len(shape) + shape[0]).standard_normal(shape).astype(np.float32)


@pytest.fixture
def matrix() -> FloatArray:
    return drawn(INPUTS, OUTPUTS)


def test_every_way_is_near_the_exact_product(matrix: FloatArray) -> None:
    rows = drawn(9, INPUTS)
    wanted = rows @ matrix
    ways = [by_row(matrix, 1, signed=False), by_row(matrix, 1, signed=True), static(matrix, rows, 1), nbits(matrix, 1)]
    errors = [float(np.linalg.norm(way(rows) - wanted) / np.linalg.norm(wanted)) for way in ways]
    assert all(0.001 < error < 0.03 for error in errors), errors


def test_a_scale_for_each_row_is_blind_to_the_others(matrix: FloatArray) -> None:
    way = by_row(matrix, 1, signed=False)
    one, loud = drawn(1, INPUTS), 1000 * drawn(5, INPUTS)
    assert np.array_equal(way(np.concatenate([loud, one]))[-1:], way(one))
    known = static(matrix, np.concatenate([loud, one]), 1)
    assert not np.allclose(known(one), way(one), rtol=0.1)  # one scale for all has no steps left for a quiet row


def test_every_way_takes_its_turn_in_every_round_and_once_before(matrix: FloatArray) -> None:
    calls: list[int] = []

    def way(rows: FloatArray) -> FloatArray:
        calls.append(len(rows))
        return rows

    assert measured({"none": way}, matrix, rounds=3).keys() == {"none"}
    assert calls == [INPUTS] * 4
