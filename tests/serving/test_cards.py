"""Cards: what the driver's lines say, which cards are refused and why, and the documented table."""

from __future__ import annotations

from pathlib import Path

import pytest

from drlongformer.doctor import findings
from drlongformer.errors import DeviceUnavailable
from drlongformer.serving.cards import FAMILIES, read, require_supported, table, usable
from drlongformer.settings import Settings

H200 = "0, NVIDIA H200, 9.0, 143771, 580.95.05"
V100 = "0, Tesla V100-SXM2-32GB, 7.0, 32768, 580.95.05"
OLD_DRIVER = "1, NVIDIA A100-SXM4-80GB, 8.0, 81920, 550.54.15"


def test_a_line_of_the_driver_is_read() -> None:
    [card] = read([H200])
    assert (card.index, card.name, card.capability, card.memory_mib) == (0, "NVIDIA H200", (9, 0), 143771)
    assert card.refusal is None
    assert card.description == (
        "NVIDIA H200, compute capability 9.0, 143771 MiB, driver 580.95.05: fp16, bf16, attention by cuDNN"
    )


@pytest.mark.parametrize("line", ["", "No devices were found", "0, NVIDIA H200, [N/A], 1, 580", "x, NVIDIA, 9.0, 1, 580"])
def test_a_line_of_another_form_is_no_card(line: str) -> None:
    assert list(read([line])) == []


def test_an_old_card_and_an_old_driver_are_refused_with_the_figures() -> None:
    with pytest.raises(DeviceUnavailable, match=r"cuda:0 cannot be used: Tesla V100.*capability is 7\.0, the least is 7\.5"):
        require_supported(list(read([V100])), 0)
    with pytest.raises(DeviceUnavailable, match=r"driver is 550\.54\.15, the least is 580"):
        require_supported(list(read([OLD_DRIVER])), 0)
    [old] = read([V100])
    assert "not usable" in old.description


def test_a_card_beyond_those_that_are_there_is_refused() -> None:
    require_supported(list(read([H200])), 0)
    require_supported([], 3)  # no driver tells of any: the provider refuses by itself
    with pytest.raises(DeviceUnavailable, match="cuda:1 was asked for, the driver tells of 1 cards"):
        require_supported(list(read([H200])), 1)


def test_a_capability_that_is_not_in_the_table_is_not_refused() -> None:
    [card] = read(["0, NVIDIA Next, 13.0, 1000, 700.1"])
    assert card.family is None
    assert card.refusal is None
    assert card.description.endswith("fp16, bf16")


def test_doctor_tells_which_cards_can_be_used() -> None:
    told = usable()
    assert told.startswith("compute capability 7.5 and driver 580 or later")
    assert "H200" in told
    assert "V100" not in told
    assert any(finding.found == told for finding in findings(Settings()))


def test_the_documented_table_is_the_one_that_decides() -> None:
    page = Path(__file__).parents[2] / "docs" / "gpu.md"
    assert table() in page.read_text(encoding="utf-8")
    assert any(not family.is_supported for family in FAMILIES)
