"""Free memory goes back to the system where the C library can."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest

from drlongformer.serving.memory import give_back

PIECES, NUMBERS = 20_000, 1_000


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_what_many_small_arrays_left_is_given_back() -> None:
    pieces = [np.zeros(NUMBERS) for _ in range(PIECES)]
    kept = pieces[:: PIECES - 1]  # the first and the last, so that the heap cannot just shrink at its end
    del pieces
    before = resident_pages()
    give_back()
    assert len(kept) == 2
    assert resident_pages() < before - PIECES * NUMBERS * 8 // 4096 // 2
