"""Embeddings: one vector per document, from `<s>` or from the mean of its tokens.

`cls` is the hidden state of `<s>`; past one window, the mean of the windows' `<s>` weighted by the tokens each keeps.
`mean` is of the tokens (`chunks.py`, which also gives the means of a document's parts). Cutting dimensions and normalising come
last, in this order. Shapes: C hidden size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Literal

import numpy as np

from drlongformer.errors import InvalidRequest
from drlongformer.tasks import chunks
from drlongformer.tasks.ask import Ask
from drlongformer.tasks.chunks import NO_SPANS
from drlongformer.types import HIDDEN, FloatArray, Window, WindowOutput

Pooling = Literal["cls", "mean"]


def ask(window: Window, *, pooling: Pooling, only: bool) -> Ask:
    """What pooling needs of one window; `only` says that it is the document's one window."""
    if pooling == "cls":
        return Ask(rows={HIDDEN: np.zeros(1, dtype=np.int64)})
    return chunks.ask(window, np.array([window.keep_start, window.keep_stop]), only=only)


def merge(outputs: Sequence[WindowOutput], windows: Sequence[Window], *, pooling: Pooling) -> FloatArray:
    """The document's vector `[C]` from what its windows answered."""
    if pooling == "mean":
        cuts = chunks.cuts_of(NO_SPANS, windows)
        return chunks.document_vector(chunks.sums(outputs, windows, cuts), cuts, only=len(windows) == 1)
    kept = np.array([window.keep_stop - window.keep_start for window in windows], dtype=np.float64)
    vector: FloatArray = (kept @ np.stack([output.rows[HIDDEN][0] for output in outputs]) / kept.sum()).astype(np.float32)
    return vector


def finish(vector: FloatArray, *, normalize: bool, dimensions: int | None) -> FloatArray:
    """The first `dimensions` of a vector, at unit length if wanted; a zero vector stays zero."""
    check_dimensions(dimensions, size=len(vector))
    cut = vector[:dimensions].astype(np.float64)
    length = np.linalg.norm(cut)
    return (cut / length if normalize and length else cut).astype(np.float32)


def check_dimensions(dimensions: int | None, *, size: int) -> None:
    """Raise InvalidRequest unless a vector of `size` has so many dimensions."""
    if dimensions is not None and not 1 <= dimensions <= size:
        raise InvalidRequest(f"{dimensions} dimensions were asked for, the vectors have {size}", location=("dimensions",))


def space(model: str, *, pooling: Pooling, dimensions: int, normalize: bool) -> str:
    """The name of the space a vector lies in: vectors of equal spaces may be compared.

    model: what tells one set of weights from any other, such as a bundle's sha256. dimensions: of the vector as answered.
    """
    identity = json.dumps([model, pooling, dimensions, normalize])
    return hashlib.sha256(identity.encode()).hexdigest()[:16]
