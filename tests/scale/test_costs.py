"""The page of arithmetic is what its function says, from figures that stand in the pages it names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from drlongformer.scale import costs
from drlongformer.scale.costs import MEASURED, Speed, cost, mean_tokens

DOCS = Path(__file__).parents[2] / "docs"


def test_an_hour_of_two_cores_is_two_core_hours() -> None:
    speed = Speed(what="any", tokens_per_second=1000, cores=2, page="none")
    assert cost(3600, speed, tokens_each=1000) == costs.Cost(tokens=3_600_000, core_hours=2.0)


def test_the_mean_is_that_of_the_clipped_distribution() -> None:
    drawn = np.clip(np.random.default_rng(0).lognormal(6.3, 1.0, 1_000_000), 20, 4096)
    assert mean_tokens() == pytest.approx(drawn.mean(), rel=0.005)
    assert mean_tokens(sigma=1e-6) == pytest.approx(np.exp(6.3))


@pytest.mark.parametrize("speed", MEASURED, ids=lambda speed: speed.what)
def test_every_speed_stands_in_the_page_it_is_taken_from(speed: Speed) -> None:
    page = (DOCS / speed.page).read_text(encoding="utf-8")
    assert {f"{speed.tokens_per_second:.0f}", f"{speed.tokens_per_second:,.0f}"} & set(re.findall(r"[0-9][0-9,.]*[0-9]", page))


def test_the_table_of_the_page_is_the_functions() -> None:
    page = (DOCS / "scale.md").read_text(encoding="utf-8")
    written = re.search(r"<!-- costs.*?-->\n(.*?)\n<!-- end of costs -->", page, re.DOTALL)
    assert written is not None
    assert written.group(1) == costs.table()
    assert f"{mean_tokens():.0f} tokens" in page
