"""Means over a document's tokens, and over those of its chunks: late chunking.

A document's mean within one window is over every real token, special ones included, as sentence-transformers does; past one
window it is over each content token once, from the window that keeps it. So is a chunk's, over its content tokens alone, whose
states have read the whole document (Günther et al. 2024, "Late Chunking", arXiv:2409.04701). A chunk is a range of characters;
its tokens are those that share a character with it. Chunks may overlap: the document is cut wherever one begins or ends, the
model sums the states of each *part* between two cuts, and a chunk is a run of parts. The special tokens are the last part.

    characters   Vu hier . Sort demain .
    tokens       0    1  2  3    4     5      + 2 special ones
    chunks       [0:3) [3:6) [2:4)            in tokens
    cuts         0, 2, 3, 4, 6            ->  parts 0:2, 2:3, 3:4, 4:6, specials

Shapes: T content tokens of the document, K chunks, P parts, C hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from drlongformer.tasks.ask import Ask
from drlongformer.text.windows import SPECIALS, kept_rows
from drlongformer.types import FloatArray, IntArray, Window, WindowOutput

NO_SPANS: Final = np.empty((0, 2), dtype=np.int64)
"""No chunks; `[0, 2]`."""
NO_SPANS.setflags(write=False)


def locate(spans: IntArray, offsets: IntArray) -> IntArray:
    """The tokens of each chunk, half-open ranges `[K, 2]`, empty where it has none.

    spans: the chunks' characters `[K, 2]`. offsets: the tokens' characters `[T, 2]`, in the order of the text.
    """
    starts, stops = np.maximum.accumulate(offsets, axis=0).T if len(offsets) else offsets.reshape(0, 2).T
    first = np.searchsorted(stops, spans[:, 0], side="right")
    after = np.searchsorted(starts, spans[:, 1], side="left")
    return np.stack([first, np.maximum(first, after)], axis=1)


def cuts_of(ranges: IntArray, windows: Sequence[Window]) -> IntArray:
    """The places `[P + 1]`, in tokens, that part what the windows keep: its ends, and where chunks begin and end within it."""
    begin, end = windows[0].keep_start, windows[-1].keep_stop
    return np.unique(np.concatenate([[begin, end], np.clip(ranges.ravel(), begin, end)]))


def ask(window: Window, cuts: IntArray, *, only: bool) -> Ask:
    """The sums of one window's parts, numbered from its first; `only` says that it is the document's one window."""
    segments = np.full(len(window) + SPECIALS, -1, dtype=np.int64)
    parts = _parts(window, cuts)
    segments[kept_rows(window)] = parts - parts[0]
    if only:
        segments[[0, -1]] = parts[-1] - parts[0] + 1
    return Ask(segments=segments)


def sums(outputs: Sequence[WindowOutput], windows: Sequence[Window], cuts: IntArray) -> NDArray[np.float64]:
    """The sum of the states of each part, and last of the special tokens if there is one window: `[P + 1, C]`."""
    total: NDArray[np.float64] | None = None
    for output, window in zip(outputs, windows, strict=True):
        if output.segments is None:
            raise ValueError("parts were asked for, and the window came back without segment sums")
        if total is None:
            total = np.zeros((len(cuts), output.segments.shape[1]), dtype=np.float64)
        first = int(_parts(window, cuts)[0])
        total[first : first + len(output.segments)] += output.segments
    if total is None:
        raise ValueError("a document has at least one window")
    return total


def document_vector(parts: NDArray[np.float64], cuts: IntArray, *, only: bool) -> FloatArray:
    """The mean over the document `[C]`."""
    tokens = int(cuts[-1] - cuts[0]) + (SPECIALS if only else 0)
    vector: FloatArray = (parts.sum(axis=0) / tokens).astype(np.float32)
    return vector


def chunk_vectors(parts: NDArray[np.float64], cuts: IntArray, ranges: IntArray) -> FloatArray:
    """The mean over each chunk's tokens `[K, C]`; raises ValueError for a chunk without tokens among those kept."""
    within = np.clip(ranges, cuts[0], cuts[-1])
    tokens = within[:, 1] - within[:, 0]
    if len(tokens) and tokens.min() < 1:
        raise ValueError(f"chunk {int(tokens.argmin())} has no token")
    before = np.concatenate([np.zeros((1, parts.shape[1])), parts[:-1].cumsum(axis=0)])
    begin, end = np.searchsorted(cuts, within).T
    vectors: FloatArray = ((before[end] - before[begin]) / tokens[:, None]).astype(np.float32)
    return vectors


def _parts(window: Window, cuts: IntArray) -> IntArray:
    """The part of each kept token of a window."""
    return np.searchsorted(cuts, np.arange(window.keep_start, window.keep_stop), side="right") - 1
