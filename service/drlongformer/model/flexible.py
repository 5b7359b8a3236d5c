"""Local attention by torch's `flex_attention`: nothing is gathered, and what a mask leaves out is not computed.

All slots of a pack are one sequence. A mask of blocks says which blocks of keys a block of queries reads: those of its window,
and those that hold a global token of its document; a rule for single pairs decides inside them. Compiled, it is one kernel on a
card, forward and backward; not compiled it computes every pair, which is for proofs on small packs. For torch alone: no ONNX.

Shapes as in `longformer.py`; V blocks of keys that a block of queries reads, at most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from drlongformer.model.longformer import NeighbourhoodOf, Pack

Attention = Callable[..., Tensor]
"""`flex_attention`, or it compiled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexibleNeighbourhood:
    """mask: of all query blocks, in the order of query_blocks. attention: `flex_attention` or it compiled."""

    query_blocks: Tensor | None
    mask: BlockMask
    attention: Attention

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, heads: int, dropout: float) -> Tensor:
        """See `LocalAttention`. Raises ValueError for dropout, which flex_attention has not."""
        if dropout:
            raise ValueError(f"flex_attention has no dropout, {dropout} was asked for")
        slots, size = query.shape[1:]

        def parted(x: Tensor) -> Tensor:
            return x.reshape(1, -1, heads, size // heads).transpose(1, 2)  # [1, H, blocks * B, E]

        out = self.attention(parted(query), parted(key), parted(value), block_mask=self.mask)
        return out.transpose(1, 2).reshape(-1, slots, size)


def flexible(attention: Attention = flex_attention) -> NeighbourhoodOf:
    """The form of local attention to give to `with_attention`; attention: `torch.compile(flex_attention)` on a card."""

    def of(pack: Pack, *, window: int, farthest: int, query_blocks: Tensor | None, dtype: torch.dtype) -> FlexibleNeighbourhood:
        del dtype
        mask = block_mask(pack, window=window, farthest=farthest, query_blocks=query_blocks)
        return FlexibleNeighbourhood(query_blocks=query_blocks, mask=mask, attention=attention)

    return of


def block_mask(pack: Pack, *, window: int, farthest: int, query_blocks: Tensor | None) -> BlockMask:
    """Which keys each query reads, block by block and then pair by pair; empty slots read their own document's tokens too."""
    blocks, slots = pack.input_ids.shape
    query = torch.arange(blocks, device=pack.input_ids.device) if query_blocks is None else query_blocks
    counts, indices = _read(pack, query, radius=min(-(-(window // 2) // slots), farthest))
    position, document = pack.position.flatten(), pack.document_of_block.repeat_interleave(slots)
    real, is_global = pack.is_real.flatten(), pack.is_global.flatten()

    def allowed(_batch: Tensor, _head: Tensor, query_slot: Tensor, key_slot: Tensor) -> Tensor:
        slot = query[query_slot // slots] * slots + query_slot % slots
        near = ((position[slot] - position[key_slot]).abs() <= window // 2) | is_global[key_slot]
        return (document[slot] == document[key_slot]) & real[key_slot] & near

    return BlockMask.from_kv_blocks(
        counts[None, None],
        indices[None, None],
        BLOCK_SIZE=slots,
        mask_mod=allowed,
        seq_lengths=(len(query) * slots, blocks * slots),
    )


def _read(pack: Pack, query: Tensor, *, radius: int) -> tuple[Tensor, Tensor]:
    """How many blocks of keys each block of queries reads `[M]`, and which, first in each row of `[M, N]`."""
    blocks, slots = pack.input_ids.shape
    document = pack.document_of_block[query]
    shift = torch.arange(-radius, radius + 1, device=query.device)
    near = (query[:, None] + shift).clamp(0, blocks - 1)  # [M, 2r + 1]
    near = torch.where(pack.document_of_block[near] == document[:, None], near, query[:, None])
    wide = (pack.flat_global // slots)[document]  # [M, G]
    wide = torch.where(pack.global_slot[document] >= 0, wide, query[:, None])
    reads = torch.zeros(len(query), blocks, dtype=torch.bool, device=query.device)
    reads = reads.scatter(1, torch.cat([near, wide], dim=1), value=True)
    order = reads.to(torch.int8).argsort(dim=1, descending=True, stable=True)
    return reads.sum(1).to(torch.int32), order.to(torch.int32)
