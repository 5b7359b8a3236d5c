"""The script for cards: it runs from end to end on a CPU, and tells apart what holds and what does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from drlongformer.serving.engine import FakeEngine
from drlongformer.types import FloatArray, IntArray
from loadtests.gpu import exactness, run, timing
from loadtests.gpu.timing import Failed

if TYPE_CHECKING:
    from loadtests.gpu.building import Built


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_the_whole_script_runs_on_a_cpu(cuda_built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    store = cuda_built.bundle.folder.parents[2]
    asked = ("--device", "cpu", "--size", "tiny", "--rounds", "1", "--documents", "1", "--work", str(store))
    assert run.main(asked) == 0
    told = capsys.readouterr().out.splitlines()
    ceiling = next(place for place, line in enumerate(told) if "matrix peak" in line)
    assert ceiling < next(place for place, line in enumerate(told) if line.startswith("one document"))
    report = json.loads(told[-1])
    assert report["exact"]["holds"]
    assert report["exact"]["labels"] > 300
    for name in ("one", "long", "mixed"):
        race = report["speed"][name]
        assert all(race[contender]["tokens_per_second"] > 0 for contender in (run.OURS, run.FLEX, "HF eager"))
    assert report["speed"]["one"][run.COMPILED] == {"failed": "on a card only"}
    assert report["speed"]["shapes"] == report["speed"]["warm_shapes"] > 20
    losses = [each["loss"] for each in report["training"].values() if isinstance(each, dict)]
    assert len(losses) == 2
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert report["options"] == {"skipped": "options of a card"}


def test_ours_must_not_break_and_answers_must_hold() -> None:
    good: dict[str, Any] = {
        "exact": {"holds": True},
        "speed": {"one": {run.OURS: {"seconds": 1.0}, "HF eager": {"failed": "x"}}},
    }
    assert run.sound(good)
    assert run.sound({"device": "cpu"})
    assert not run.sound(good | {"exact": {"holds": False}})
    assert not run.sound(good | {"training": {"failed": "no memory"}})
    assert not run.sound(good | {"speed": {"one": {run.FLEX: {"failed": "x"}}}})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card, so the run would begin")
def test_a_run_without_a_card_must_say_so(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        run.main(("--work", str(tmp_path)))
    with pytest.raises(SystemExit):
        run.main(("--device", "cpu", "--only", "speed,taste"))
    assert list(tmp_path.iterdir()) == []


def test_a_label_counts_as_changed_for_sure_beyond_the_margin_alone() -> None:
    due = np.log(np.array([[0.6, 0.4], [0.502, 0.498], [0.3, 0.7]], dtype=np.float32))
    turned = due[:, ::-1]
    assert exactness._changed(due, due, margin=0.0) == 0
    assert exactness._changed(turned, due, margin=0.0) == 3
    assert exactness._changed(turned, due, margin=exactness.MARGIN) == 2


def test_an_engine_is_exact_beside_itself_and_not_beside_another() -> None:
    documents = [np.arange(length) + 1 for length in (1, 9, 30)]
    one, other = (FakeEngine({"topic": 3, "tags": 5}, block=block) for block in (4, 8))
    same = exactness.compare(one, one, documents)
    assert same.holds
    assert (same.changed, same.neighbours_change) == (0, 0.0)
    assert same.labels == 3 + 1 + 9 + 30
    changed = exactness.compare(FakeEngine({"tags": 5, "topic": 3}, block=4), other, documents)
    assert not changed.holds


def test_a_contender_that_breaks_is_told_and_the_others_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    def breaks(documents: object) -> list[Any]:
        raise ValueError(f"no memory for {documents}")

    def works(documents: Sequence[IntArray]) -> list[FloatArray]:
        return [np.zeros(2, dtype=np.float32) for _ in documents]

    found = timing.race(
        {"good": works, "broken": breaks, "absent": Failed(why="no card"), "short": lambda _: []},
        [np.arange(3)],
        rounds=2,
    )
    assert isinstance(found["good"], float)
    assert found["absent"] == Failed(why="no card")
    assert found["short"] == Failed(why="0 answers to 1 documents")
    assert isinstance(found["broken"], Failed)
    assert "no memory" in capsys.readouterr().out
