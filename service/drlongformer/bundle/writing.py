"""Writing a bundle: beside its place, then renamed into it, so that a half-written one is never seen."""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from drlongformer.bundle.files import digest
from drlongformer.bundle.manifest import FILE_NAME, FileEntry, Manifest, reasons
from drlongformer.bundle.signing import SIGNATURE
from drlongformer.bundle.store import MANIFEST, SEAL, seal
from drlongformer.errors import BundleError


def write(store: Path, manifest: Manifest, sources: Mapping[str, Path | bytes]) -> Path:
    """Write a bundle of `sources` (relative name to content or file) and return its folder.

    `manifest.files` is filled in here. All or nothing: the folder appears complete, by a rename. Raises BundleError when the
    version exists, or when a file that the manifest names is not among the sources.
    """
    if absent := manifest.named_files - sources.keys():
        raise BundleError(f"the manifest names files that are not there: {sorted(absent)}")
    if refused := [name for name in sources if name in (MANIFEST, SEAL, SIGNATURE) or not re.fullmatch(FILE_NAME, name)]:
        raise BundleError(f"a bundle cannot hold files named {refused}")
    folder = store / manifest.name / str(manifest.version)
    if folder.exists():
        raise BundleError(f"{folder} exists; versions are never overwritten")
    unfinished = folder.parent / f".unfinished-{secrets.token_hex(8)}"
    unfinished.mkdir(parents=True)
    try:
        _write_into(unfinished, manifest, sources)
        _publish(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _write_into(folder: Path, manifest: Manifest, sources: Mapping[str, Path | bytes]) -> None:
    entries = {name: _copy(source, folder / name) for name, source in sorted(sources.items())}
    try:
        complete = Manifest.model_validate(manifest.model_dump() | {"files": {k: v.model_dump() for k, v in entries.items()}})
    except ValidationError as error:
        raise BundleError(f"the bundle cannot be written: {reasons(error)}") from None
    content = complete.model_dump_json(indent=2).encode() + b"\n"
    _copy(content, folder / MANIFEST)
    _copy(seal(content), folder / SEAL)
    for inner in (path for path in folder.rglob("*") if path.is_dir()):
        _sync_folder(inner)
    _sync_folder(folder)


def _publish(unfinished: Path, folder: Path) -> None:
    try:
        unfinished.rename(folder)
    except OSError as error:
        raise BundleError(f"{folder} could not be put in place: {error.strerror}") from error
    _sync_folder(folder.parent)


def _copy(source: Path | bytes, place: Path) -> FileEntry:
    """Write one file to the disk itself and return its hash and size."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as content, place.open("xb") as copy:
        entry = digest(content, copy.write)
        copy.flush()
        os.fsync(copy.fileno())
    return entry


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
