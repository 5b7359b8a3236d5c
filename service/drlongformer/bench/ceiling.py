"""The ceiling of a machine: how many operations a second its matrix products reach, and how many a document needs.

Linear layers and dense attention are all matrix products, so no engine that computes them in fp32 can be faster; bfloat16 and
int8 units can, and do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from drlongformer.packing import blocks_of

ROWS, COLUMNS = 2048, 1024


def matrix_peak(seconds: float = 1.0) -> float:
    """Floating-point operations per second of a large fp32 product in numpy, on all cores: the best of some seconds."""
    random = np.random.default_rng(0)
    left = random.standard_normal((ROWS, COLUMNS), dtype=np.float32)
    right = random.standard_normal((COLUMNS, COLUMNS), dtype=np.float32)
    product = np.empty((ROWS, COLUMNS), dtype=np.float32)
    best, end = 0.0, time.perf_counter() + seconds
    while not best or time.perf_counter() < end:
        start = time.perf_counter()
        np.matmul(left, right, out=product)
        best = max(best, 2 * ROWS * COLUMNS * COLUMNS / (time.perf_counter() - start))
    return best


def operations(architecture: Mapping[str, Any], *, block: int, tokens: int) -> float:
    """Floating-point operations of one document in the packed layout, its last layer whole; heads are not counted.

    architecture: of a manifest, fields named as in Hugging Face's `config.json`.
    """
    hidden, inner = architecture["hidden_size"], architecture["intermediate_size"]
    windows = architecture["attention_window"]
    each = windows if isinstance(windows, list | tuple) else [windows] * architecture["num_hidden_layers"]
    slots = blocks_of(tokens, block) * block
    linear = 2 * (4 * hidden**2 + 2 * hidden * inner)
    keys = [(2 * blocks_of(window // 2, block) + 1) * block + 1 for window in each]
    return float(sum(slots * (linear + 2 * 2 * count * hidden) for count in keys))
