"""What an engine's error means for its device: too little memory, the end of the device, or nothing.

Engines tell everything in one type of exception, so the message decides. CUDA's own errors leave the device's context unusable,
all but a few: every later call fails too, and only a new process helps. An error of CUDA's that is not known here counts as one
of these, because to go on would cost every caller an answer. Sources: CUDA's `cudaError_t`, and the forms in which ONNX Runtime
writes CUDA's, cuBLAS's and cuDNN's errors (`CUDA failure 700: ... ; GPU=0 ; ...`).
"""

from __future__ import annotations

import re
from typing import Final

from drlongformer.errors import DeviceLost, DeviceOutOfMemory, EngineFailed

OUT_OF_MEMORY: Final = re.compile(
    r"failed to allocate memory|out of memory|is smaller than requested bytes|_alloc_failed|_allocation_failed|bad_?\s?alloc"
    r"|CUDA failure 2\b",
    re.IGNORECASE,
)
"""The arena, CUDA (error 2), cuBLAS, cuDNN and C++, each in its words."""

CUDA_ERROR: Final = re.compile(r"CUDA failure (\d+)\b")

HARMLESS: Final = frozenset({1, 9, 98, 209, 600, 701, 720, 801})
"""Those of CUDA's errors that refuse one call and leave the context as it was: invalid values, a launch that asks too much."""

BROKEN_LIBRARY: Final = re.compile(r"(CUBLAS|CUDNN)_STATUS_(EXECUTION_FAILED|MAPPING_ERROR|INTERNAL_ERROR)")
"""What cuBLAS and cuDNN say when a kernel of theirs broke."""


def failure_of(error: BaseException) -> type[EngineFailed]:
    """The class of failure that an engine's exception is."""
    if isinstance(error, EngineFailed):
        return type(error)
    told = str(error)
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(told):
        return DeviceOutOfMemory
    codes = {int(code) for code in CUDA_ERROR.findall(told)}
    return DeviceLost if codes - HARMLESS or BROKEN_LIBRARY.search(told) else EngineFailed
