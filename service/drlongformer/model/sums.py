"""Sums of the few global tokens that come out the same to the last bit, whatever stands beside them, on any number of threads.

A CPU library cuts inner sums of more than 128 products by itself, in other places for other numbers of rows, columns and
threads, takes another path for a single row, and reduces an axis in an order of its own. Products with a constant matrix are
spared that, because it is packed beforehand. Those of global tokens are not, so they are cut here, and added in order.
"""

from __future__ import annotations

import torch
from torch import Tensor

MASKED = -1e4
"""Added to forbidden scores: finite, so that a row without any allowed key stays finite, and representable in fp16."""

LONGEST_SUM = 128
"""Products that a CPU library adds up at once, whatever the shape."""


def pieces_of(size: int) -> int:
    """Into how many equal pieces of at most `LONGEST_SUM` columns an inner sum over so many is cut."""
    return next(count for count in range(1, size + 1) if size % count == 0 and size // count <= LONGEST_SUM)


def in_order(pieces: Tensor, axis: int) -> Tensor:
    """Sum over an axis in fp32, one after the other."""
    first, *others = pieces.float().unbind(axis)
    for other in others:
        first = first + other
    return first


def never_one(x: Tensor) -> Tensor:
    """The first row once more behind all rows."""
    return torch.cat([x, x[:1]])


def share_of_document(top: Tensor, total: Tensor, document_of_block: Tensor, documents: int) -> Tensor:
    """Each block's share of its document's softmax, `[N, GH]`, from its highest score and its sum of exponentials above it."""
    document = document_of_block[:, None].expand_as(top)
    lowest = torch.full((documents, top.shape[1]), 2 * MASKED, device=top.device)
    highest = lowest.scatter_reduce(0, document, top, "amax")
    part = total * (top - highest[document_of_block]).exp()
    return part / sum_by_document(part, document_of_block, documents)[document_of_block]


def sum_by_document(x: Tensor, document_of_block: Tensor, documents: int) -> Tensor:
    """`[N, Y]` to `[D, Y]`: sums over the blocks of each document, in their order."""
    zeros = torch.zeros(documents, x.shape[1], dtype=x.dtype, device=x.device)
    return zeros.scatter_add(0, document_of_block[:, None].expand_as(x), x)
