"""The comparison asks all contenders the same, takes turns, and tells who was out and what there was no time for."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtests.peers import command, tables
from loadtests.peers.collection import Collection, Document, masked, mixed_lengths, tokens_of
from loadtests.peers.comparison import Comparison, Size, largest_difference
from loadtests.peers.protocol import ContenderFailed, Floats, Memory, Question, Turn, serve

STORE = Path(__file__).parents[2] / "model_store"
SIZE = Size(rounds=1, apart=2, notes=1, minutes=10)


@pytest.fixture(scope="module")
def collection() -> Collection:
    [tokenizer] = STORE.glob("*/*/tokenizer.json")
    return Collection(tokenizer)


def document(tokens: int) -> Document:
    return Document(text="mot " * tokens, ids=np.arange(tokens, dtype=np.int64) + 5)


class Fake:
    """A contender whose answers depend on the document alone, or on its neighbours; `fails_at` counts its turns."""

    tasks = ("embed", "classify")

    def __init__(self, *, ways: Sequence[str] = ("one by one", "batches"), neighbours: float = 0.0, fails_at: int = -1) -> None:
        self.ways = ways
        self.asked: list[tuple[str, str, int]] = []
        self.closed = False
        self._neighbours = neighbours
        self._fails_at = fails_at

    def run(self, task: str, way: str, documents: Sequence[Document]) -> Turn:
        if len(self.asked) == self._fails_at:
            raise ContenderFailed("told to fail")
        self.asked.append((task, way, len(documents)))
        beside = self._neighbours * len(documents) if way == "batches" else 0.0
        return Turn(seconds=0.5, answers=[np.full(3, len(one) + beside, dtype=np.float32) for one in documents])

    def memory(self) -> Memory:
        return Memory(resident=100 * 2**20, peak=150 * 2**20)

    def forget_peak(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def compared(size: Size = SIZE, **contenders: Fake) -> Comparison:
    comparison = Comparison(contenders=dict(contenders), size=size, say=lambda _: None)
    mixed = [document(length) for length in (20, 30, 2000)]
    comparison.run(short=document(4), note=document(10), long=document(100), mixed=mixed)
    return comparison


def test_documents_have_at_most_the_tokens_drawn_and_nearly_as_many(collection: Collection) -> None:
    documents = collection.mixed(6, 700)
    assert len({one.text for one in documents}) == 6
    for length, one in zip(mixed_lengths(6, 700), documents, strict=True):
        assert 0.6 * length < len(one) <= length
    assert tokens_of(documents) == sum(len(one.ids) for one in documents)


def test_masks_stand_at_five_places_between_the_special_tokens() -> None:
    one = document(100)
    ids, places = masked(one, 3)
    assert len(places) == 5
    assert 0 < places.min()
    assert places.max() < 99
    assert (ids[places] == 3).all()
    assert (one.ids != 3).all()


def test_every_way_is_measured_and_neighbours_that_change_an_answer_are_seen() -> None:
    comparison = compared(transformers=Fake(), other=Fake(neighbours=1.0))
    figures = comparison.figures["other"]
    assert figures["latency"]["embed"]["difference"] == 0.0
    assert figures["memory"] == {"base_mib": 100.0, "above_mib": 50.0}
    assert set(figures["mixed"]) == {"one by one", "batches"}
    assert figures["mixed"]["batches"]["tokens_per_second"] == 2050 / 0.5
    assert figures["apart"]["one by one"] == 0.0
    assert figures["apart"]["batches"] == pytest.approx(3 / 20)
    assert comparison.figures["transformers"]["apart"]["batches"] == 0.0
    assert comparison.left_out == []


def test_a_contender_that_fails_is_out_with_its_words_and_the_others_go_on() -> None:
    failing, other = Fake(fails_at=2), Fake()
    comparison = compared(failing=failing, other=other)
    assert comparison.absent == {"failing": "told to fail"}
    assert failing.closed
    assert not other.closed
    assert comparison.figures["other"]["mixed"]


def test_what_there_is_no_time_for_is_told() -> None:
    comparison = compared(Size(minutes=0.0), one=Fake())
    assert comparison.contenders["one"].asked == []  # type: ignore[attr-defined]
    assert "memory, one" in comparison.left_out
    assert "mixed lengths, one" in comparison.left_out


def test_a_difference_is_in_units_of_the_answers_largest_number() -> None:
    left, right = np.array([2.0, -4.0], dtype=np.float32), np.array([2.0, -3.0], dtype=np.float32)
    assert largest_difference([(left, right)]) == 0.25
    assert largest_difference([]) == 0.0


class Sums:
    """A model whose answer is the sum of the ids."""

    ways, tasks = ("one by one",), ("embed",)

    def run(self, task: str, way: str, questions: Sequence[Question]) -> list[Floats]:
        assert (task, way) == ("embed", "one by one")
        return [np.array([one.ids.sum()], dtype=np.float32) for one in questions]


def test_a_worker_answers_every_line_and_tells_of_errors() -> None:
    asked: list[dict[str, Any]] = [
        {"do": "run", "task": "embed", "way": "one by one", "documents": [{"ids": [1, 2], "masks": []}]},
        {"do": "run", "task": "ner", "way": "one by one", "documents": []},
        {"do": "memory"},
    ]
    answers = io.StringIO()
    serve(Sums(), io.StringIO("".join(json.dumps(one) + "\n" for one in asked)), answers)
    about, first, second, third = map(json.loads, answers.getvalue().splitlines())
    assert about == {"ways": ["one by one"], "tasks": ["embed"]}
    assert first["answers"][0]["shape"] == [1]
    assert second["error"].startswith("AssertionError")
    assert third["peak"] >= third["resident"] > 0


def report(comparison: Comparison) -> dict[str, Any]:
    return {
        "at": "2026-11-22T22:50Z",
        "processors": 2,
        "load_average": 0.1,
        "peak_gflops": 381.0,
        "operations": 793e9,
        "mixed_rounds": 1,
        "versions": {"torch": "2.13.0"},
        "documents": {"long": 4096, "mixed": 3, "mixed_tokens": 2050},
        "contenders": comparison.figures,
        "absent": {"infinity": "not installed"},
        "left_out": ["mixed lengths, naive"],
    }


def test_tables_plots_and_the_page_tell_the_figures_the_absent_and_what_was_left_out(tmp_path: Path) -> None:
    made = report(compared(transformers=Fake(), other=Fake(neighbours=1.0)))
    plots = tables.draw(made, tmp_path / "peers")
    assert {path.name for path in plots} == {"mixed.svg", "long.svg", "memory.svg"}
    page = tables.page(made, "python -m loadtests.peers", plots, tmp_path)
    assert page.startswith("# 2026-11-22: beside the peers")
    assert "at least 2.08 s in fp32" in page
    assert "| other | one by one | 4100 | 1.00x | 0e+00 |" in page
    assert "0.500 s, 1.00x" in page
    assert "absent: infinity: not installed" in page
    assert "no time was left for: mixed lengths, naive" in page
    assert "](peers/mixed.svg)" in page


@pytest.mark.slow
def test_the_command_compares_what_is_installed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    names = ("transformers", "optimum", "onnxruntime", "service")
    chosen = [word for name in names for word in ("--contender", name)]
    options = ["--size", "tiny", "--short", "--threads", "1", "--callers", "2", "--store", str(STORE), "--venvs", str(tmp_path)]
    assert command.main([*options, *chosen]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(told["contenders"]) == {"transformers", "onnxruntime", "service"}
    assert "import it with --standard" in told["absent"]["optimum"]
    assert told["contenders"]["onnxruntime"]["latency"].keys() == {"embed", "classify", "fill-mask"}
    assert told["contenders"]["service"]["note"]["among_s"] > 0
    assert told["left_out"] == []
