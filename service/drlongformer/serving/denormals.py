"""Numbers too small for a float's own range count as zero while a graph runs; elsewhere arithmetic stays as it was.

A masked key's weight comes out of ONNX Runtime's softmax as about 4e-39, a denormal number, and a processor multiplies those
by a slow path: a tenth of an fp32 graph's time, a fifth of an int8 one's. Beside a sum of ordinary weights they vanish in any
case, so answers stay the same to the last bit. ONNX Runtime can set this for its own threads alone; the thread that asks
computes along with them, so it is set there too, and put back. Known for Linux on x86-64 (the layout of glibc's and musl's
`fenv_t`); elsewhere nothing is set. Source: Intel 64 and IA-32 Software Developer's Manual, volume 1, section 10.2.3, MXCSR.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

WORDS = 8
"""Of 32 bits in `fenv_t`: seven of the x87 unit, then MXCSR."""
FLUSH_RESULTS, READ_AS_ZERO = 1 << 15, 1 << 6
SESSION_ENTRY = "session.set_denormal_as_zero"
"""ONNX Runtime's own name of it, for the threads of a session."""


@cache
def can_be_set() -> bool:
    """Whether this platform is one of those that are known."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and hasattr(_library(), "fesetenv")


@contextmanager
def as_zeros() -> Iterator[None]:
    """Tiny numbers are zeros in this thread until the block ends; whatever is set inside is put back with it."""
    if not can_be_set():
        yield
        return
    before = (ctypes.c_uint32 * WORDS)()
    _library().fegetenv(before)
    inside = (ctypes.c_uint32 * WORDS)(*before)
    inside[-1] |= FLUSH_RESULTS | READ_AS_ZERO
    _library().fesetenv(inside)
    try:
        yield
    finally:
        _library().fesetenv(before)


@cache
def _library() -> ctypes.PyDLL:
    return ctypes.PyDLL(None)  # what the interpreter itself is linked with, the mathematical library among it
