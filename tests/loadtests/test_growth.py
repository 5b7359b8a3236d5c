"""A leak is told from noise, from a single jump, and from a fall."""

from __future__ import annotations

import numpy as np
import pytest

from loadtests.growth import BLOCKS, Sample, growth


def series(mib: np.ndarray) -> list[Sample]:
    return [Sample(seconds=10.0 * number, mib=float(each)) for number, each in enumerate(mib)]


NOISE = np.random.default_rng(0).normal(0, 1, 360)


def test_noise_is_no_leak() -> None:
    assert not growth(series(200 + NOISE)).is_leak(1.0)


def test_a_steady_rise_under_noise_is_a_leak_and_its_slope_is_found() -> None:
    found = growth(series(200 + NOISE + np.arange(360) * 10 / 3600 * 30))
    assert found.is_leak(1.0)
    assert found.mib_per_hour == pytest.approx(30, rel=0.1)


def test_a_single_jump_is_no_leak() -> None:
    assert not growth(series(np.where(np.arange(360) < 330, 200.0, 230.0))).is_leak(1.0)


def test_a_rise_below_the_limit_is_no_leak() -> None:
    assert not growth(series(200 + np.arange(360) * 10 / 3600 * 0.5)).is_leak(1.0)


def test_what_batches_take_for_a_while_hides_no_leak_and_is_none() -> None:
    batches = np.random.default_rng(1).uniform(0, 150, 36_000) * (np.random.default_rng(2).random(36_000) < 0.8)
    seconds = np.arange(36_000) * 0.1
    assert not growth([Sample(seconds=at, mib=200 + mib) for at, mib in zip(seconds, batches, strict=True)]).is_leak(1.0)
    leak = [Sample(seconds=at, mib=200 + mib + at / 3600 * 20) for at, mib in zip(seconds, batches, strict=True)]
    assert growth(leak).is_leak(1.0)
    assert growth(leak).mib_per_hour == pytest.approx(20, rel=0.1)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match=f"11 samples, at least {BLOCKS}"):
        growth(series(NOISE[:11]))
