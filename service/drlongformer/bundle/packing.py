"""A bundle as one file that is carried to a host: packed the same way each time, unpacked by a reader that trusts nothing.

    offset 0      header and content of NAME/VERSION/bundle.json      the manifest, so that all else is known before it is read
                  header and content of NAME/VERSION/<file>, ...      sorted; every size and hash stands in the manifest
                  two empty blocks

It is a plain tar file (POSIX 1003.1-1990, "ustar") that `tar --list` reads. Written are only regular files, whose owner, time
and mode say nothing: one bundle gives one sequence of bytes. Read are only those: any extension of the format (links, long
names, sparse files, compression) is refused by its header, before anything is written for it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import ValidationError

from drlongformer import disk
from drlongformer.bundle.files import CHUNK_BYTES
from drlongformer.bundle.manifest import Manifest, reasons
from drlongformer.bundle.signing import SIGNATURE, signed
from drlongformer.bundle.store import MANIFEST, SEAL, find, load
from drlongformer.errors import BundleError

BLOCK_BYTES: Final = 512
MOST_MANIFEST_BYTES: Final = 16 << 20
MOST_SMALL_BYTES: Final = 1 << 20
"""Of the seal and the signature, which the manifest does not list."""
MOST_FILE_BYTES: Final = (8 << 30) - 1
"""What a header of this format can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One file of an archive: its path in the store, and its size in bytes."""

    name: str
    size: int


def pack(
    store: Path, name: str, version: int, out: Path, *, private_key: Path | None = None, password: str | None = None
) -> int:
    """Write one version, verified first, into a new file and return its size in bytes; with a key, signed.

    Raises BundleError and UnknownModel; then there is no file.
    """
    found = load(find(store, name, version))
    if out.exists():
        raise BundleError(f"{out} exists already")
    files: dict[str, Path | bytes] = {each: found.folder / each for each in (SEAL, *found.manifest.files)}
    if private_key is not None:
        files[SIGNATURE] = signed(found.folder, private_key, password=password)
    elif (found.folder / SIGNATURE).exists():
        files[SIGNATURE] = found.folder / SIGNATURE
    unfinished = out.parent / f".{out.name}-{secrets.token_hex(8)}"
    with disk.writing(out, BundleError, again="pack again"):
        try:
            with unfinished.open("xb") as archive:
                for each in (MANIFEST, *sorted(files)):
                    _put(archive, f"{name}/{version}/{each}", files.get(each, found.folder / each))
                archive.write(bytes(2 * BLOCK_BYTES))
                archive.flush()
                os.fsync(archive.fileno())
            os.link(unfinished, out)  # unlike a rename, never over a file that came meanwhile
            disk.sync(out.parent)
        finally:
            unfinished.unlink(missing_ok=True)
    return out.stat().st_size


def unpack(file: Path, store: Path, *, public_key: Path | None = None) -> Path:
    """Put an archive's version into the store and return its folder; with a key, only where it is signed for it.

    All or nothing: what is read goes beside its place, is verified there file by file, and renamed. Raises BundleError for what
    is no archive of one bundle, for a file that is altered, missing, extra or oddly named, and for a version that exists.
    """
    outside = store / f".unpacking-{secrets.token_hex(8)}"
    with disk.writing(store, BundleError, again="unpack again"):
        try:
            with file.open("rb") as archive:
                folder = _read(archive, file, store, outside)
            load(folder, public_key=public_key)
            for path in (*folder.rglob("*"), folder):
                disk.sync(path)
            place = store / folder.parent.name / folder.name
            place.parent.mkdir(exist_ok=True)
            folder.rename(place)
            disk.sync(place.parent)
        finally:
            shutil.rmtree(outside, ignore_errors=True)
    return place


def _read(archive: BinaryIO, file: Path, store: Path, outside: Path) -> Path:
    """Write an archive's files below `outside`, and return the folder of the version that they are."""
    entries = _entries(archive, file)
    first = next(entries, None)
    if first is None or not first.name.endswith(f"/{MANIFEST}") or first.size > MOST_MANIFEST_BYTES:
        raise BundleError(f"{file} does not begin with a {MANIFEST} of at most {MOST_MANIFEST_BYTES} bytes")
    content = archive.read(first.size)
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(f"{file}: its {MANIFEST} is not understood: {reasons(error)}") from None
    prefix = f"{manifest.name}/{manifest.version}/"
    if first.name != prefix + MANIFEST:
        raise BundleError(f"{file} holds {prefix} under another name")
    if (store / prefix).exists():
        raise BundleError(f"{store / prefix} exists; versions are never overwritten")
    sizes = {name: entry.bytes for name, entry in manifest.files.items()}
    _require_room(store, sum(sizes.values()))
    folder = outside / prefix
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_bytes(content)
    for entry in entries:
        name = entry.name.removeprefix(prefix)
        known = entry.size == sizes.get(name) or (name in (SEAL, SIGNATURE) and entry.size <= MOST_SMALL_BYTES)
        if not entry.name.startswith(prefix) or not known or (folder / name).exists():
            raise BundleError(f"{file} holds a file that its {MANIFEST} does not list so: {entry.size} bytes, {entry.name!r}")
        _take(archive, entry.size, folder / name)
    return folder


def _entries(archive: BinaryIO, file: Path) -> Iterator[_Entry]:
    """The files of an archive; at each the reader stands at its content, whatever was read of the one before."""
    place = 0
    while True:
        archive.seek(place)
        header = archive.read(BLOCK_BYTES)
        if header == bytes(BLOCK_BYTES):
            _require_end(archive, file)
            return
        try:
            info = tarfile.TarInfo.frombuf(header, "ascii", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError):
            raise BundleError(f"{file} is no packed bundle: it has no header at byte {place}") from None
        if info.type != tarfile.REGTYPE or not 0 <= info.size <= MOST_FILE_BYTES:
            raise BundleError(f"{file} holds what is not a plain file, of {info.size} bytes, at byte {place}")
        yield _Entry(name=info.name, size=info.size)
        place += BLOCK_BYTES + -(-info.size // BLOCK_BYTES) * BLOCK_BYTES


def _require_end(archive: BinaryIO, file: Path) -> None:
    if archive.read(BLOCK_BYTES + 1) != bytes(BLOCK_BYTES):
        raise BundleError(f"{file} does not end where its bundle does")


def _require_room(store: Path, size: int) -> None:
    free = disk.free_megabytes(store / "any")
    if size > free * disk.MEGABYTE:
        raise BundleError(f"the bundle has {size // disk.MEGABYTE} MB, the disk of {store} has {free} MB free")


def _take(archive: BinaryIO, size: int, place: Path) -> None:
    """Copy so many bytes into a new file. Raises BundleError where the archive ends before."""
    place.parent.mkdir(parents=True, exist_ok=True)
    left = size
    with place.open("xb") as file:
        while left and (chunk := archive.read(min(left, CHUNK_BYTES))):
            file.write(chunk)
            left -= len(chunk)
    if left:
        raise BundleError(f"the archive ends {left} bytes before the end of {place.name}")


def _put(archive: BinaryIO, name: str, source: Path | bytes) -> None:
    """Write one file with its header."""
    info = tarfile.TarInfo(name)
    info.size = len(source) if isinstance(source, bytes) else source.stat().st_size
    try:
        archive.write(info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))
    except ValueError as error:
        raise BundleError(f"{name} of {info.size} bytes does not fit into an archive: {error}") from None
    begin = archive.tell()
    if isinstance(source, bytes):
        archive.write(source)
    else:
        with source.open("rb") as content:
            shutil.copyfileobj(content, archive, CHUNK_BYTES)
    if archive.tell() - begin != info.size:
        raise BundleError(f"{name} changed while it was packed")
    archive.write(bytes(-info.size % BLOCK_BYTES))
