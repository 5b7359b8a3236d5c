"""Memory that is free, but kept by the C library, given back to the system.

Batches of long documents and models that were unloaded leave holes that glibc keeps for later. Without this a process stays as
large as its largest moment (`loadtests/kept_memory.py`: 131 to 191 MiB after loads of the embedded model, 75 with it).
"""

from __future__ import annotations

import ctypes
from functools import cache


def give_back() -> None:
    """Trim the heap where the C library can (glibc's `malloc_trim`), elsewhere nothing; the interpreter is free meanwhile."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
