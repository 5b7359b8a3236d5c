"""A signature says who made a bundle: without one that fits the key, nothing is loaded, activated, unpacked or swapped in."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from drlongformer import bundle
from drlongformer.bundle.signing import SIGNATURE
from drlongformer.errors import BundleError
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models
from tests.api import bundles
from tests.serving import bundles as by_hand
from tests.test_cli import run, told

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("model_signing") is None, reason="needs the extra signing"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of its dependencies
]


def pair(folder: Path, name: str) -> tuple[Path, Path]:
    """A private and a public key, as `openssl` makes them."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    if not public.exists():
        make = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(private)]
        subprocess.run(make, check=True, capture_output=True)
        subprocess.run(["openssl", "ec", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return pair(tmp_path, "own")


@pytest.fixture
def signed(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    """The folder of a signed version."""
    folder = bundles.write(tmp_path / "store")
    bundle.sign(folder, keys[0])
    return folder


def _flip(folder: Path) -> None:
    bundles.altered(folder)


def _no_signature(folder: Path) -> None:
    (folder / SIGNATURE).unlink()


def _link(folder: Path) -> None:
    shutil.copy(folder / SIGNATURE, folder.parent / SIGNATURE)
    (folder / SIGNATURE).unlink()
    (folder / SIGNATURE).symlink_to(folder.parent / SIGNATURE)


def _half(folder: Path) -> None:
    (folder / SIGNATURE).write_bytes((folder / SIGNATURE).read_bytes()[:500])


def _another(folder: Path) -> None:
    bundle.sign(folder, pair(folder.parents[2], "another")[0])


def _of_another_bundle(folder: Path) -> None:
    other = bundles.write(folder.parents[2] / "elsewhere", version=2)
    bundle.sign(other, folder.parents[2] / "own.pem")
    shutil.copy(other / SIGNATURE, folder / SIGNATURE)


def _resealed(folder: Path) -> None:
    """What a hash does not see: the whole bundle made again, with another file and all hashes right."""
    signature = (folder / SIGNATURE).read_bytes()
    shutil.rmtree(folder)
    bundles.write(folder.parents[1], description="Another model.")
    (folder / SIGNATURE).write_bytes(signature)


def test_a_signed_bundle_is_loaded_and_a_signature_is_no_stranger_where_none_is_asked(
    signed: Path, keys: tuple[Path, Path]
) -> None:
    assert bundle.load(signed, public_key=keys[1]).sha256 == bundle.load(signed).sha256


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_flip, "is altered"),
        (_no_signature, "has no bundle.sig"),
        (_link, "is a link"),
        (_half, "is not a signature of these files"),
        (_another, "is not a signature of these files"),
        (_of_another_bundle, "is not a signature of these files"),
        (_resealed, "is not a signature of these files"),
    ],
)
def test_a_bundle_that_the_key_did_not_sign_is_refused(
    change: Callable[[Path], None], sentence: str, signed: Path, keys: tuple[Path, Path]
) -> None:
    change(signed)
    with pytest.raises(BundleError, match=sentence):
        bundle.load(signed, public_key=keys[1])


def test_a_bundle_named_by_a_relative_path_is_signed_as_any_other(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    folder = bundles.write(tmp_path / "store")
    with contextlib.chdir(tmp_path):
        bundle.sign(folder.relative_to(tmp_path), keys[0])
        bundle.sign(folder.relative_to(tmp_path), keys[0])  # over the one that is there
        bundle.load(folder.relative_to(tmp_path), public_key=keys[1])
    bundle.load(folder, public_key=keys[1])


def test_the_projects_own_tool_verifies_what_we_sign(signed: Path, keys: tuple[Path, Path]) -> None:
    tool = [sys.executable, "-m", "model_signing", "verify", "key", str(signed)]
    done = subprocess.run(
        [*tool, "--signature", str(signed / SIGNATURE), "--public_key", str(keys[1])], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_key_that_is_none_or_needs_a_password_is_told(tmp_path: Path, signed: Path, keys: tuple[Path, Path]) -> None:
    locked = tmp_path / "locked.pem"
    lock = ["openssl", "ec", "-in", str(keys[0]), "-aes256", "-passout", "pass:prunier", "-out", str(locked)]
    subprocess.run(lock, check=True, capture_output=True)
    with pytest.raises(BundleError, match="cannot sign"):
        bundle.sign(signed, locked)
    with pytest.raises(BundleError, match="cannot sign"):
        bundle.sign(signed, signed / "bundle.json")
    with pytest.raises(BundleError, match="there is no key"):
        bundle.load(signed, public_key=tmp_path / "none.pub")
    (tmp_path / "password").write_text("prunier\n", encoding="utf-8")
    command = ("models", "sign", "fake", "1", "--private-key", str(locked), "--password-file", str(tmp_path / "password"))
    assert "is written" in run(*command, "--store", str(tmp_path / "store")).stdout
    bundle.verify(signed, public_key=keys[1])


def test_nothing_unsigned_is_served_activated_or_unpacked(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    for version in (1, 2):
        by_hand.write(tmp_path / "store", version=version)
    bundle.sign(tmp_path / "store" / "by-hand" / "1", private)
    store = tmp_path / "store"
    served = Models.load(store, ["by-hand:1"], metrics=Metrics.create(), public_key=public)
    assert len(served) == 1
    with pytest.raises(BundleError, match="has no bundle"):
        Models.load(store, ["by-hand:2"], metrics=Metrics.create(), public_key=public)
    with pytest.raises(BundleError, match="has no bundle"):
        bundle.activate(store, "by-hand", 2, public_key=public)
    assert bundle.activate(store, "by-hand", 1, public_key=public) == 2


def test_a_signature_travels_with_the_archive(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    bundles.write(tmp_path / "store")
    archive, plain, other = tmp_path / "fake-1.tar", tmp_path / "plain.tar", tmp_path / "other"
    other.mkdir()
    bundle.pack(tmp_path / "store", "fake", 1, plain)
    packing = ("models", "pack", "fake", "1", "--out", str(archive), "--private-key", str(keys[0]))
    assert "signed" in run(*packing, "--store", str(tmp_path / "store")).stdout
    asking = ("--public-key", str(keys[1]), "--store", str(other))
    assert "has no bundle.sig" in told(run("models", "unpack", str(plain), *asking))
    assert list(other.rglob("*")) == []
    assert run("models", "unpack", str(archive), *asking).exit_code == 0
    assert run("models", "verify", *asking).exit_code == 0
    assert not (tmp_path / "store" / "fake" / "1" / SIGNATURE).exists()
