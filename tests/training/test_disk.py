from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drlongformer.errors import TrainingError
from drlongformer.training import disk, trained
from tests.training import models, served


def test_what_stands_behind_the_kept_bytes_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"kept lost")
    with disk.Appending(path, size=4) as file:
        file.write(b" and more")
        file.sync()
    assert path.read_bytes() == b"kept and more"
    with disk.Appending(path):
        assert path.read_bytes() == b""


def test_a_file_with_less_than_was_kept_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with pytest.raises(TrainingError, match="a has 3 bytes where 4 were written"):
        disk.Appending(tmp_path / "a", size=4)
    with pytest.raises(TrainingError, match=r"b cannot be written: No such file"):
        disk.Appending(tmp_path / "b", size=4)


def test_a_device_without_room_is_told() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    descriptor = os.open(full, os.O_WRONLY)
    try:
        with pytest.raises(TrainingError, match=r"no room to write /dev/full \(No space left on device"):
            _written(descriptor, full)
    finally:
        os.close(descriptor)


def _written(descriptor: int, path: Path) -> None:
    with disk.room(path):
        os.write(descriptor, b"a")


def test_a_replaced_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    disk.replace_json(tmp_path / "a.json", {"é": 1})
    disk.replace_json(tmp_path / "a.json", {"é": 2})
    assert disk.read_json(tmp_path / "a.json") == {"é": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_json_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff{")
    with pytest.raises(TrainingError, match=r"a\.json cannot be read: it is not UTF-8, at byte \d+"):
        disk.read_json(tmp_path / "a.json")


def test_json_that_is_none_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a":\n secret}', encoding="utf-8")
    with pytest.raises(TrainingError, match=r"a\.json cannot be read: it is no JSON, Expecting value at line 2, column 2$"):
        disk.read_json(tmp_path / "a.json")
    with pytest.raises(TrainingError, match=r"b\.json cannot be read: No such file or directory"):
        disk.read_json(tmp_path / "b.json")


def test_a_folder_takes_its_place_whole(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with disk.whole(tmp_path / "model") as beside:
            beside.mkdir()
            (beside / content).write_text(content, encoding="utf-8")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or subprocess.run(("mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", place), check=False).returncode:
        pytest.skip("a file system of a chosen size can be mounted by root only")
    yield place
    subprocess.run(("umount", place), check=True)


def test_a_model_that_a_full_disk_cannot_hold_leaves_the_one_before_it(small_disk: Path) -> None:
    place, tokenizer = small_disk / "best", served.tokenizer_json().encode()
    with disk.whole(place) as beside:
        trained.save(beside, models.model(), models.HEADS, tokenizer)
    with pytest.raises(TrainingError, match=r"best could not be written \(.*No space left.*what was written before is kept"):
        _saved(place, tokenizer)
    assert [path.name for path in small_disk.iterdir()] == ["best"]
    assert trained.load(place)[1] == models.HEADS
    trained.check(place)


def _saved(place: Path, tokenizer: bytes) -> None:
    with disk.whole(place) as beside:
        trained.save(beside, models.model(seed=1), models.HEADS, tokenizer)
