"""An actor answers file after file with one engine, goes on where another ended, and one bad file costs the others nothing."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drlongformer.errors import RunError
from tests.serving import bundles

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
    pytest.mark.filterwarnings("ignore"),  # of what Ray imports
]

if importlib.util.find_spec("ray") is not None:
    from drlongformer.scale.ray_data import Plan, Worker, places


def notes(path: Path, count: int) -> Path:
    texts = [f"Patient {number}: toux et fièvre depuis {number} jours." for number in range(count)]
    pq.write_table(pa.table({"id": [f"{path.stem}-{number}" for number in range(count)], "text": texts}), path)
    return path


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    bundles.write(tmp_path / "store")
    overrides = {"models": {"store": str(tmp_path / "store"), "threads": 1}}
    return Plan(task="embed", folder=tmp_path / "out", overrides=overrides, part_documents=4)


@pytest.fixture
def worker(plan: Plan) -> Iterator[Worker]:
    it = Worker(plan)
    yield it
    it.close()


def ids(folder: Path) -> list[str]:
    """The ids of all answers of a file, in the order of its parts."""
    parts = sorted((folder / "answers").glob("*.parquet"))
    return [id_ for part in parts for id_ in pq.read_table(part).column("id").to_pylist()]


def test_files_are_answered_one_after_the_other_each_into_its_folder(worker: Worker, plan: Plan, tmp_path: Path) -> None:
    paths = [notes(tmp_path / "a.parquet", 10), notes(tmp_path / "b.parquet", 3)]
    [first, second] = [json.loads(done) for done in worker({"path": [str(path) for path in paths]})["done"]]
    assert (first["answered"], first["failed"], second["answered"]) == (10, 0, 3)
    assert first["tokens"] > second["tokens"] > 0
    assert ids(plan.folder / "a") == [f"a-{number}" for number in range(10)]
    assert ids(plan.folder / "b") == [f"b-{number}" for number in range(3)]


def test_what_is_done_is_not_done_again(worker: Worker, plan: Plan, tmp_path: Path) -> None:
    path = notes(tmp_path / "a.parquet", 10)
    worker.answer(path)
    before = {part.name: part.stat().st_mtime_ns for part in (plan.folder / "a" / "answers").iterdir()}
    again = worker.answer(path)
    assert (again.complete_before, again.answered, again.tokens) == (True, 0, 0)
    assert {part.name: part.stat().st_mtime_ns for part in (plan.folder / "a" / "answers").iterdir()} == before


def test_another_actor_goes_on_behind_the_last_part(worker: Worker, plan: Plan, tmp_path: Path) -> None:
    """The folder as an actor leaves it that is killed after two parts of four: the later ones, and the end, are missing."""
    path, folder = notes(tmp_path / "a.parquet", 14), plan.folder / "a"
    worker.answer(path)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps({**manifest, "state": "running"}), encoding="utf-8")
    for part in sorted((folder / "documents").iterdir())[2:]:
        part.unlink()
    kept = (folder / "answers" / "part-00001.parquet").stat().st_mtime_ns
    done = worker.answer(path)
    assert (done.complete_before, done.error) == (False, "")
    assert ids(folder) == [f"a-{number}" for number in range(14)]
    assert (folder / "answers" / "part-00001.parquet").stat().st_mtime_ns == kept


def test_a_file_that_cannot_be_read_is_told_and_the_next_is_answered(worker: Worker, tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 no table")
    told = [json.loads(done) for done in worker({"path": [str(broken), str(notes(tmp_path / "a.parquet", 2))]})["done"]]
    assert told[0]["error"].startswith("RunError")
    assert told[1]["answered"] == 2


def test_two_files_of_one_name_and_no_file_are_refused_before_anything_is_begun(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="2 files have 1 names"):
        places([tmp_path / "a" / "notes.parquet", tmp_path / "b" / "notes.parquet"], tmp_path)
    with pytest.raises(RunError, match="no file"):
        places([], tmp_path)
