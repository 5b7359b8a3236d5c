"""Which documents were answered before: fingerprints of id and text, under a key of the output's own.

A fingerprint is 16 bytes of BLAKE2b with a random key that lies in the output folder alone, readable by its owner. Without the
key nobody can tell from a fingerprint whether a guessed text was among the documents. A run against a former output takes its
key over, so that a chain of nightly runs computes each fingerprint once.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drlongformer.errors import RunError
from drlongformer.offline import disk
from drlongformer.offline.records import Record, strings

KEY = "fingerprint.key"
KEY_BYTES = 32
BYTES = 16


def fingerprint(record: Record, key: bytes) -> bytes:
    """What tells this id, and what stands under it, from any other, `[16]`."""
    made = hashlib.blake2b(digest_size=BYTES, key=key)
    for string in ("" if record.id is None else record.id, *strings(record.text)):
        encoded = string.encode("utf-8", errors="surrogatepass")
        made.update(len(encoded).to_bytes(8, "little") + encoded)
    return made.digest()


def new_key() -> bytes:
    """A key nobody has."""
    return secrets.token_bytes(KEY_BYTES)


def write_key(folder: Path, key: bytes) -> None:
    """Put the key into an output folder. Raises RunError."""
    with disk.replacing(folder / KEY) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(key.hex().encode() + b"\n")


def read_key(folder: Path) -> bytes:
    """The key of an output folder. Raises RunError."""
    try:
        return bytes.fromhex((folder / KEY).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} has no {KEY} that can be read, so nobody can tell which documents it knows") from error


class Known:
    """A set of fingerprints in 16 bytes each, searched by halving."""

    def __init__(self, fingerprints: Iterable[bytes] = ()) -> None:
        joined = b"".join(fingerprints)
        self._sorted: NDArray[np.void] = np.sort(np.frombuffer(joined, dtype=f"S{BYTES}"))

    def __len__(self) -> int:
        return len(self._sorted)

    def __contains__(self, fingerprint: bytes) -> bool:
        wanted = np.frombuffer(fingerprint, dtype=f"S{BYTES}")
        place = int(np.searchsorted(self._sorted, wanted)[0])
        return place < len(self._sorted) and bool(self._sorted[place] == wanted[0])
