"""Signatures of bundles: the OpenSSF's model-signing with a key pair of one's own; no network, no account, no certificate.

    bundle.sig   beside bundle.json; signs the sha256 of every other file of the folder

Anyone can check one with that project's own tool, `model_signing verify key FOLDER --signature bundle.sig --public_key KEY`.
A hash tells of an accident; a signature tells who made the bundle, even to a host that trusts nobody who carried it there.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from importlib import util
from pathlib import Path
from typing import Any

from drlongformer import disk
from drlongformer.errors import BundleError

SIGNATURE = "bundle.sig"


def signed(folder: Path, private_key: Path, *, password: str | None = None) -> bytes:
    """The signature of a bundle's files by an elliptic curve key (PEM). Raises BundleError."""
    _require_package()
    from model_signing import hashing, signing  # noqa: PLC0415 - an extra

    _require_key(private_key)
    files = hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)  # within the folder
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / SIGNATURE
        try:
            secret: Any = None if password is None else password.encode()  # 1.1 says str and hands it on as bytes
            signer = signing.Config().use_elliptic_key_signer(private_key=private_key, password=secret)
            signer.set_hashing_config(files).sign(folder, made)
        except (ValueError, TypeError) as error:  # no PEM, another curve, a wrong or missing password
            raise BundleError(f"{private_key} cannot sign: {_said(error)}") from None
        return made.read_bytes()


def sign(folder: Path, private_key: Path, *, password: str | None = None) -> Path:
    """Write a bundle's signature into its folder, over one that is there. Raises BundleError."""
    content = signed(folder, private_key, password=password)
    place, unfinished = folder / SIGNATURE, folder.parent / f".{SIGNATURE}-{secrets.token_hex(8)}"
    with disk.writing(place, BundleError, again="sign again"):
        try:
            with unfinished.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(place)
        finally:
            unfinished.unlink(missing_ok=True)
    return place


def require_signature(folder: Path, public_key: Path) -> None:
    """Raise BundleError unless `bundle.sig` signs exactly the files of the folder, with the other half of this key."""
    _require_package()
    from model_signing import verifying  # noqa: PLC0415 - an extra

    _require_key(public_key)
    place = folder / SIGNATURE
    if place.is_symlink() or not place.is_file():
        raise BundleError(f"{folder} has no {SIGNATURE}, and only bundles signed for {public_key} are served")
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=public_key).verify(folder, place)
    except Exception as error:  # noqa: BLE001 - its libraries raise errors of many families; each of them says: not signed
        raise BundleError(f"{folder}: {SIGNATURE} is not a signature of these files for {public_key}: {_said(error)}") from None


def _require_package() -> None:
    if util.find_spec("model_signing") is None:
        raise BundleError("signatures need the package model-signing: install this one with its `signing` extra")


def _require_key(file: Path) -> None:
    if not file.is_file():
        raise BundleError(f"there is no key {file}")


def _said(error: Exception) -> str:
    """The kind of an error and the first line of what it says; hashes of many files would follow."""
    first, *_ = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__
