"""An estimate follows from its sample: bytes as the run's own writer needs, cost and energy by what was told or counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drlongformer.cli import app
from drlongformer.offline import sources
from drlongformer.offline.energy import COUNTERS, Meter
from drlongformer.offline.estimate import Estimate, Rates, estimate
from drlongformer.offline.reader import Manner
from tests.api.logging_state import restored
from tests.offline.houses import ask, carried_out, house, notes, orders
from tests.serving import bundles


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    with restored():
        yield


MADE = Estimate(
    documents=1000,
    bad=0,
    characters=10**6,
    tokens=10**5,
    sampled=100,
    tokens_per_second=10.0,
    seconds=7200.0,
    spread=0.1,
    output_bytes=3 * 2**20,
)


def test_the_bytes_are_those_that_a_run_writes(tmp_path: Path) -> None:
    path, output = notes(tmp_path / "notes.jsonl", 80), tmp_path / "out"
    made = estimate(sources.find([str(path)]), Manner(), ask("embed"), house(tmp_path / "a"))
    assert made.documents == made.sampled == 80
    assert carried_out(orders(path, output, ask("embed"), part_documents=1000), house(tmp_path / "b")) is not None
    written = sum(file.stat().st_size for name in ("answers", "documents") for file in (output / name).iterdir())
    assert abs(made.output_bytes - written) < 0.2 * written


@pytest.mark.parametrize("count", [3, 40])
def test_the_speed_is_that_of_the_whole_sample_however_few_batches_it_fills(tmp_path: Path, count: int) -> None:
    engine = bundles.fake_engine(delay_seconds=0.3)
    path = notes(tmp_path / "notes.jsonl", count)
    made = estimate(sources.find([str(path)]), Manner(), ask("embed"), house(tmp_path / "a", engine))
    batches = len(engine.batches) - 1  # the first warmed up
    assert batches >= 1
    assert made.sampled == count
    assert made.seconds >= 0.3 * batches - 1e-6


def test_cost_follows_from_the_price_and_is_not_told_without_one() -> None:
    assert MADE.cost is None
    assert " an hour" not in MADE.told()
    priced = replace(MADE, rates=Rates(price_per_hour=1.5))
    assert priced.cost == 3.0
    assert "about 3.00 at 1.5 an hour" in priced.told()


def test_energy_is_by_what_was_told_then_by_what_was_counted_and_else_unknown() -> None:
    assert "cannot be read here; --watts" in MADE.told()
    counted = replace(MADE, measured_watts=100.0)
    assert counted.kilowatt_hours == 0.2
    assert "RAPL" in counted.told()
    told = replace(counted, rates=Rates(watts=500.0))
    assert told.kilowatt_hours == 1.0
    assert "1 kWh at the 500 W that were told" in told.told()


def test_sizes_are_said_in_units_people_read() -> None:
    assert "about 3.0 MiB of output, 3.1 KiB a document" in MADE.told()


def counter(root: Path, name: str, microjoules: int) -> None:
    folder = root / COUNTERS / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text("1000000000000\n")


def test_packages_are_counted_once_and_over_the_end_of_their_range(tmp_path: Path) -> None:
    for name, microjoules in (("intel-rapl:0", 999_999_000_000), ("intel-rapl:1", 0), ("intel-rapl:0:0", 0)):
        counter(tmp_path, name, microjoules)
    meter = Meter(tmp_path)
    for name, microjoules in (("intel-rapl:0", 1_000_000_000), ("intel-rapl:1", 2_000_000_000), ("intel-rapl:0:0", 10**11)):
        counter(tmp_path, name, microjoules)
    one = Meter(tmp_path)
    watts = meter.watts()
    assert watts is not None
    assert watts > 0  # 4000 J in the moment that the test took
    assert one.watts() == 0.0


def test_a_machine_without_counters_has_no_watts(tmp_path: Path) -> None:
    assert Meter(tmp_path).watts() is None


def test_the_command_takes_price_and_watts(tmp_path: Path) -> None:
    path = notes(tmp_path / "notes.jsonl", 10)
    bundles.write(tmp_path / "store")
    rates = ("--estimate", "--price-per-hour", "0.4", "--watts", "200", "--threads", "1")
    result = CliRunner().invoke(app, ["run", "embed", "--input", str(path), "--store", str(tmp_path / "store"), *rates])
    assert result.exit_code == 0, result.output
    assert "at 0.4 an hour" in result.stdout
    assert "kWh at the 200 W that were told" in result.stdout
    assert "of output" in result.stdout
