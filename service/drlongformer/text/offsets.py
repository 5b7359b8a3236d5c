"""Code point offsets to UTF-16 offsets, for callers whose strings count UTF-16 units (JavaScript, Java).

text             a  👩  b
code points      0  1   2  3
UTF-16 units     0  1   3  4
"""

from __future__ import annotations

import numpy as np

from drlongformer.text.words import code_points
from drlongformer.types import IntArray


def utf16_places(text: str) -> IntArray:
    """The UTF-16 offset of every code point offset 0..n, `[n + 1]`: index it with offsets to convert them."""
    units = 1 + (code_points(text) > 0xFFFF)
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(units)])


def code_points_at(text: str, units: IntArray) -> IntArray:
    """The code point offset of each UTF-16 offset; n + 1 for one beyond the end, -1 for one inside of a code point."""
    places = utf16_places(text)
    found = np.searchsorted(places, units)
    inside = (found < len(places)) & (places[np.minimum(found, len(places) - 1)] != units)
    return np.where(inside, -1, found)
