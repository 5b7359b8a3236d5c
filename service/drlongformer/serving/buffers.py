"""Host arrays and device memory that stay where they are, by name and size: allocated and pinned once, then written over.

Sizes are few because batches are padded to buckets, so nothing is ever dropped, and an address that a captured CUDA graph has
seen stays true. On the CPU provider an array is its own device memory.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

LARGEST_KEPT = 64 * 2**20
"""Bytes; larger arrays (scores of hundreds of masks) are made when they are needed, and are not pinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An array on the host, and the device's memory for it."""

    array: NDArray[Any]
    value: ort.OrtValue

    def to_device(self) -> None:
        """Copy the array to the device, unless it is there."""
        if self.value.device_name().lower() != "cpu":
            self.value.update_inplace(self.array)


class Pool:
    """The buffers of one engine. card: index of a CUDA device, None for the CPU provider."""

    def __init__(self, card: int | None = None) -> None:
        self._card = card
        self._pin = None if card is None else _pinning()
        self._held: dict[tuple[int, str, tuple[int, ...]], Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def get(self, turn: int, name: str, size: Sequence[int], kind: type[np.generic]) -> Held:
        """The buffer of that name and size in the set `turn`."""
        key = (turn, name, tuple(size))
        if key not in self._held:
            held = self._new(key[2], kind)
            if held.array.nbytes > LARGEST_KEPT:
                return held
            self._held[key] = held
        return self._held[key]

    def _new(self, size: tuple[int, ...], kind: type[np.generic]) -> Held:
        array = np.zeros(size, dtype=kind)
        if self._card is None:
            return Held(array=array, value=ort.OrtValue.ortvalue_from_numpy(array))
        if self._pin is not None and 0 < array.nbytes <= LARGEST_KEPT:
            self._pin(array)
        return Held(array=array, value=ort.OrtValue.ortvalue_from_shape_and_type(size, kind, "cuda", self._card))


def _pinning() -> Any:
    """A function that pins an array's memory for the card's own copying, or None, told in the log, without CUDA's runtime."""
    try:
        runtime = ctypes.CDLL("libcudart.so.13")
    except OSError as error:
        logger.warning("copies to the card are slower, its runtime cannot pin memory: %s", error)
        return None
    register = runtime.cudaHostRegister
    register.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint]

    def pin(array: NDArray[Any]) -> None:
        if code := register(array.ctypes.data, array.nbytes, 0):
            logger.warning("%d bytes could not be pinned: CUDA error %d", array.nbytes, code)

    return pin
