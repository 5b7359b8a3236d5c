"""The fuzzer makes many different bad requests from a seed, sees every kind of breach, and in some hundred finds none."""

from __future__ import annotations

import argparse
import asyncio
from itertools import islice
from pathlib import Path

import pytest

from loadtests import fuzz
from loadtests.fuzz import Tally
from loadtests.fuzz_framing import CANARY, FRAMINGS
from loadtests.fuzz_grammar import Attack
from tests.serving import bundles


def test_the_same_seed_makes_the_same_requests_and_another_seed_others() -> None:
    first, second, third = (list(islice(fuzz.generated(seed, keyed=True), 300)) for seed in (1, 1, 2))
    assert first == second != third
    assert len({one.wire for one in first}) > 280
    tried = {way for one in first for way in one.ways}
    assert len({f"framing {name}" for name in FRAMINGS} & tried) > 8
    assert {"schema", "bytes"} < tried
    assert sum(CANARY.encode() in one.wire for one in first) > 200


def test_every_breach_is_counted_with_an_example() -> None:
    tally, one = Tally(), Attack(wire=b"GET / HTTP/1.1\r\n\r\n", ways=("bytes",))
    tally.add(one, ["400"], leaked=False)
    assert not any(tally.broken.values())
    tally.add(one, ["200", "500"], leaked=False)
    tally.add(one, ["late"], leaked=False)
    tally.add(one, ["404"], leaked=True)
    assert tally.broken == {"5xx": 1, "late": 1, "leaks": 1}
    assert len(tally.examples) == 3
    assert (tally.sent, len(tally.different), tally.refused) == (4, 1, 3)


@pytest.mark.slow
def test_some_hundred_bad_requests_break_no_law(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundles.write(tmp_path)
    code = fuzz.main(["--requests", "400", "--hand-made", "--store", str(tmp_path)])
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert '"lawful": true' in printed


def test_a_service_that_does_not_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"bundle|store"):
        asyncio.run(fuzz.run(argparse.Namespace(store=tmp_path / "none", requests=1, seed=0, concurrency=1)))
