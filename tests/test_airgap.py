"""The installer of the air gap's archive installs nothing from a folder in which anything is altered, missing or added."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

SHIPPED = Path(__file__).parents[1] / "deploy" / "airgap"
STRANGER = "bundles/stranger.tar"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A folder as `build` leaves one, of files that say nothing."""
    folder = tmp_path / "drlongformer-airgap-0"
    (folder / "bundles").mkdir(parents=True)
    (folder / "wheels").mkdir()
    (folder / "bundles" / "mini-1.tar").write_bytes(b"bundle")
    (folder / "wheels" / "one-1-py3-none-any.whl").write_bytes(b"wheel")
    (folder / "python").write_text(f"{sys.version_info.major}.{sys.version_info.minor}\n", encoding="utf-8")
    (folder / "requirements.txt").write_text("one==1\n", encoding="utf-8")
    shutil.copy(SHIPPED / "install", folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  ./{path.relative_to(folder)}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")
    return folder


def install(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([folder / "install", *arguments], capture_output=True, text=True, check=False)


def _alter(folder: Path) -> None:
    (folder / "bundles" / "mini-1.tar").write_bytes(b"bundlE")


def _remove(folder: Path) -> None:
    (folder / "wheels" / "one-1-py3-none-any.whl").unlink()


def _add(folder: Path) -> None:
    (folder / STRANGER).write_bytes(b"stranger")


def _link(folder: Path) -> None:
    (folder / STRANGER).symlink_to("/etc/passwd")


def test_a_whole_archive_is_told_to_be_whole(archive: Path) -> None:
    done = install(archive, "check")
    assert (done.returncode, done.stdout) == (0, "all files are what they were\n"), done.stderr


@pytest.mark.parametrize("change", [_alter, _remove, _add, _link])
@pytest.mark.parametrize("verb", ["check", "python", "bundles", "images"])
def test_nothing_is_installed_from_an_archive_that_is_not_what_it_was(
    verb: str, change: Callable[[Path], None], archive: Path, tmp_path: Path
) -> None:
    change(archive)
    done = install(archive, verb, str(tmp_path / "target"), str(tmp_path / "installed"))
    assert done.returncode == 1
    assert not (tmp_path / "target").exists()


def test_another_python_than_the_wheels_are_for_is_refused(archive: Path, tmp_path: Path) -> None:
    (archive / "python").write_text("3.9\n", encoding="utf-8")
    sums = (archive / "SHA256SUMS").read_text(encoding="utf-8").splitlines(keepends=True)
    digest = hashlib.sha256(b"3.9\n").hexdigest()
    (archive / "SHA256SUMS").write_text("".join(f"{digest}  ./python\n" if "./python" in line else line for line in sums))
    done = install(archive, "python", str(tmp_path / "target"), sys.executable)
    assert "the wheels are for Python 3.9" in done.stderr
    assert not (tmp_path / "target").exists()


def test_the_bill_names_every_wheel_with_its_licence_and_hash(tmp_path: Path) -> None:
    wheel = tmp_path / "one-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("one-1.0.dist-info/METADATA", "Metadata-Version: 2.4\nName: One\nVersion: 1.0\nLicense-Expression: MIT\n")
    made = subprocess.run([sys.executable, SHIPPED / "bill.py", tmp_path], capture_output=True, check=True)
    [component] = json.loads(made.stdout)["components"]
    assert (component["name"], component["version"], component["purl"]) == ("One", "1.0", "pkg:pypi/one@1.0")
    assert component["licenses"] == [{"license": {"name": "MIT"}}]
    assert component["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}]
