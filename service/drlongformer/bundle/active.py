"""Which version of a model is served: `active.json` is replaced as a whole, and remembers the version before for a rollback."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from drlongformer.bundle.store import ACTIVE, Active, active, find, verify, versions
from drlongformer.errors import BundleError


def activate(store: Path, name: str, version: int, *, public_key: Path | None = None) -> int | None:
    """Have this version served, once every file of it is verified; returns the version that was before, if that is known.

    An `active.json` that is not understood is replaced. Raises UnknownModel and BundleError, and then nothing has changed.
    """
    verify(find(store, name, version), public_key=public_key)
    try:
        now = active(store, name)
        before = now.version if now else versions(store, name)[-1]
    except BundleError:  # this is how it is mended
        now = before = None
    if now is not None and before == version:
        raise BundleError(f"{name}:{version} is active already")
    # Where the version was served only because it is the highest, there is none to go back to but itself.
    _write(store / name, Active(version=version, previous=before if before != version else None))
    return before


def rollback(store: Path, name: str, *, public_key: Path | None = None) -> int:
    """Have the version served that was active before, once it is verified, and return it. Raises as `activate`."""
    now = active(store, name) if versions(store, name) else None
    if now is None or now.previous is None:
        raise BundleError(f"{name} has no version to go back to; `models activate` notes the one before")
    verify(find(store, name, now.previous), public_key=public_key)
    _write(store / name, Active(version=now.previous, previous=now.version))
    return now.previous


def _write(folder: Path, content: Active) -> None:
    """Write beside and rename, so that a watching server never reads half of it. Raises BundleError."""
    unfinished = folder / f".{ACTIVE}-{secrets.token_hex(8)}"
    try:
        with unfinished.open("xb") as file:
            file.write(content.model_dump_json(exclude_none=True).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(folder / ACTIVE)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise BundleError(f"{folder / ACTIVE} could not be written: {error.strerror}") from error
