"""A packed bundle is the same bytes each time, and comes out whole; any other archive is refused, and nothing of it is left."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drlongformer import bundle
from drlongformer.bundle.packing import BLOCK_BYTES
from drlongformer.errors import BundleError, UnknownModel
from tests.api import bundles
from tests.test_cli import run, told

Change = Callable[[dict[str, bytes]], None]
NAME = "fake/1/"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    bundles.write(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def packed(stored: Path) -> Path:
    bundle.pack(stored, "fake", 1, stored.parent / "fake-1.tar")
    return stored.parent / "fake-1.tar"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """An empty store on another host, so to speak."""
    (tmp_path / "other").mkdir()
    return tmp_path / "other"


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive, "r:") as tar:
        return {member.name: read.read() for member in tar if (read := tar.extractfile(member))}


def write(archive: Path, files: dict[str, bytes] | list[tuple[str, bytes]]) -> Path:
    """An archive like ours of any files, in their order."""
    with archive.open("wb") as out:
        for name, content in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.write(info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % BLOCK_BYTES))
        out.write(bytes(2 * BLOCK_BYTES))
    return archive


def refused(archive: Path, store: Path) -> str:
    """Why an archive is refused; the store holds nothing after it."""
    with pytest.raises(BundleError) as refusal:
        bundle.unpack(archive, store)
    assert list(store.rglob("*")) == []
    return str(refusal.value)


def test_a_packed_bundle_comes_out_as_it_was(packed: Path, stored: Path, other: Path) -> None:
    folder = bundle.unpack(packed, other)
    assert folder == other / "fake" / "1"
    there = {path.relative_to(stored): path.read_bytes() for path in stored.rglob("*") if path.is_file()}
    assert {path.relative_to(other): path.read_bytes() for path in other.rglob("*") if path.is_file()} == there
    assert bundle.load(folder).manifest.name == "fake"


def test_the_same_bundle_gives_the_same_bytes_whenever_and_whoever(packed: Path, stored: Path) -> None:
    for path in (stored / "fake" / "1").iterdir():
        path.chmod(0o600)
        os.utime(path, (1, 1))
    bundle.pack(stored, "fake", 1, stored.parent / "again.tar")
    assert (stored.parent / "again.tar").read_bytes() == packed.read_bytes()


def test_a_bundle_that_is_altered_is_not_packed_and_no_file_is_written_over(packed: Path, stored: Path) -> None:
    with pytest.raises(BundleError, match="exists already"):
        bundle.pack(stored, "fake", 1, packed)
    bundles.altered(stored / "fake" / "1")
    with pytest.raises(BundleError, match="is altered"):
        bundle.pack(stored, "fake", 1, stored.parent / "altered.tar")
    with pytest.raises(UnknownModel):
        bundle.pack(stored, "none", 1, stored.parent / "none.tar")
    assert sorted(path.name for path in stored.parent.iterdir()) == ["fake-1.tar", "store"]


def test_a_version_that_exists_is_never_written_over(packed: Path, stored: Path) -> None:
    before = (stored / "fake" / "1" / "bundle.json").stat().st_mtime_ns
    with pytest.raises(BundleError, match="never overwritten"):
        bundle.unpack(packed, stored)
    assert (stored / "fake" / "1" / "bundle.json").stat().st_mtime_ns == before


def _flip(files: dict[str, bytes]) -> None:
    files[NAME + "model.onnx"] = b"no grapH"


def _longer(files: dict[str, bytes]) -> None:
    files[NAME + "model.onnx"] += b"!"


def _without(name: str) -> Change:
    def change(files: dict[str, bytes]) -> None:
        del files[NAME + name]

    return change


def _with(name: str, content: bytes = b"x") -> Change:
    return lambda files: files.update({name: content})


def _manifest_last(files: dict[str, bytes]) -> None:
    files[NAME + "bundle.json"] = files.pop(NAME + "bundle.json")


def _large_manifest(files: dict[str, bytes]) -> None:
    files[NAME + "bundle.json"] += b" " * (16 << 20)


def _large_seal(files: dict[str, bytes]) -> None:
    files[NAME + "bundle.sha256"] += b" " * (1 << 20)


def _other_name(files: dict[str, bytes]) -> None:
    content = list(files.items())
    files.clear()
    files.update({name.replace("fake/", "true/"): each for name, each in content})


def _listed(name: str) -> Change:
    """The manifest itself lists a file of that name."""

    def change(files: dict[str, bytes]) -> None:
        manifest = json.loads(files[NAME + "bundle.json"])
        manifest["files"][name] = {"sha256": hashlib.sha256(b"x").hexdigest(), "bytes": 1}
        files[NAME + "bundle.json"] = json.dumps(manifest).encode()
        files[NAME + name] = b"x"

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_flip, "model.onnx is altered"),
        (_longer, "does not list so"),
        (_without("model.onnx"), "missing ['model.onnx']"),
        (_without("bundle.sha256"), "has no bundle.sha256"),
        (_without("bundle.json"), "does not begin with a bundle.json"),
        (_with(NAME + "more.bin"), "does not list so"),
        (_with("fake/2/model.onnx"), "does not list so"),
        (_with("active.json", b'{"version": 1}'), "does not list so"),
        (_with(NAME + "../../../outside"), "does not list so"),
        (_with("/etc/outside"), "does not list so"),
        (_with(NAME + "/etc/outside"), "does not list so"),
        (_listed("../../../outside"), "is not understood"),
        (_listed("/etc/outside"), "is not understood"),
        (_listed(".hidden"), "is not understood"),
        (_listed("bundle.json"), "is not understood"),
        (_listed("bundle.sha256"), "bundle.json is altered"),
        (_listed("tokenizer.json/x"), "cannot be written"),
        (_manifest_last, "does not begin with a bundle.json"),
        (_large_manifest, "at most 16777216 bytes"),
        (_large_seal, "does not list so"),
        (_other_name, "under another name"),
    ],
)
def test_an_archive_that_is_not_its_manifest_is_refused(change: Change, sentence: str, packed: Path, other: Path) -> None:
    files = contents(packed)
    change(files)
    assert sentence in refused(write(packed, files), other)
    assert not (other.parent / "outside").exists()


def _member(kind: bytes, **fields: object) -> Callable[[tarfile.TarFile], None]:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(NAME + "model.bin")
        info.type = kind
        for name, value in fields.items():
            setattr(info, name, value)
        tar.addfile(info)

    return add


@pytest.mark.parametrize(
    "add",
    [
        _member(tarfile.SYMTYPE, linkname="/etc/passwd"),
        _member(tarfile.LNKTYPE, linkname=NAME + "model.onnx"),
        _member(tarfile.DIRTYPE),
        _member(tarfile.FIFOTYPE),
        _member(tarfile.CHRTYPE),
        _member(tarfile.CONTTYPE),
        _member(tarfile.GNUTYPE_SPARSE),
        _member(tarfile.REGTYPE, name="x" * 200),  # a long name: an extension of the format
        _member(tarfile.REGTYPE, pax_headers={"GNU.sparse.realsize": "1" * 30}),
    ],
)
def test_anything_but_a_plain_file_is_refused_by_its_header(
    add: Callable[[tarfile.TarFile], None], packed: Path, other: Path
) -> None:
    content = packed.read_bytes()[: -2 * BLOCK_BYTES]
    with io.BytesIO() as more:
        with tarfile.open(fileobj=more, mode="w:", format=tarfile.PAX_FORMAT) as tar:
            add(tar)
        packed.write_bytes(content + more.getvalue())
    assert "is not a plain file" in refused(packed, other)


def test_a_file_that_is_no_archive_of_ours_or_is_cut_or_goes_on_is_refused(packed: Path, other: Path) -> None:
    whole = packed.read_bytes()
    for content in (b"", b"x", b"\x1f\x8b" + bytes(600), bytes(1024), whole[:300], whole[:-1], whole[:-1024], whole + b"x"):
        packed.write_bytes(content)
        refused(packed, other)


def test_a_file_twice_is_refused(packed: Path, other: Path) -> None:
    files = contents(packed)
    write(packed, [*files.items(), (NAME + "model.onnx", files[NAME + "model.onnx"])])
    assert "does not list so" in refused(packed, other)


@pytest.fixture(scope="module")
def one_packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flips")
    bundles.write(folder / "store")
    bundle.pack(folder / "store", "fake", 1, folder / "fake-1.tar")
    return folder


@given(place=st.floats(min_value=0, max_value=1, exclude_max=True), mask=st.integers(min_value=1, max_value=255))
def test_a_byte_that_is_altered_never_changes_what_comes_out(one_packed: Path, place: float, mask: int) -> None:
    """In a header's owner or time a change means nothing: what comes out is the bundle itself, or nothing."""
    content = bytearray((one_packed / "fake-1.tar").read_bytes())
    content[int(place * len(content))] ^= mask
    (one_packed / "altered.tar").write_bytes(content)
    store = one_packed / f"other-{hashlib.sha256(content).hexdigest()}"
    store.mkdir(exist_ok=True)
    try:
        folder = bundle.unpack(one_packed / "altered.tar", store)
    except BundleError:
        assert not (store / "fake").exists() or (store / "fake" / "1").exists()
    else:
        assert bundle.load(folder).sha256 == bundle.load(one_packed / "store" / "fake" / "1").sha256


def test_commands_carry_a_bundle_to_another_store(stored: Path, other: Path) -> None:
    archive = str(stored.parent / "fake-1.tar")
    said = run("models", "pack", "fake", "1", "--out", archive, "--store", str(stored)).stdout
    assert "holds fake:1" in said
    assert f"fake:1 is in {other}" in run("models", "unpack", archive, "--store", str(other)).stdout.replace("\n", "")
    assert "never overwritten" in told(run("models", "unpack", archive, "--store", str(other)))
