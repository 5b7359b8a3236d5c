"""Local attention as one fused operator, and the model in fp16 with islands of fp32: what a CUDA graph is made of.

Keys and values are gathered row by row, `[M, X, C]`, in the layout that ONNX Runtime's `com.microsoft.MultiHeadAttention` takes
(blocks are its batch axis), with the neighbourhood as its `attention_bias`. On CUDA that operator computes scores, softmax and
mixing in one kernel: cuDNN's from compute capability 9.0 on, else CUTLASS's memory-efficient one; flash attention takes no
bias. Both want a number of keys that is a multiple of 8, so there are spare columns, always masked. On a CPU the operator
computes in fp32, so the same graph can be proved without a card.

Shapes as in `longformer.py`; X = (2r + 1) B + G + SPARE_KEYS keys of a query.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from drlongformer.errors import ParityError
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.longformer import NeighbourhoodOf, Pack, neighbourhood
from drlongformer.model.sums import MASKED

OPERATOR = "com.microsoft::MultiHeadAttention"
SPARE_KEYS = 7
"""Columns behind the global ones: with one global token (or 9, 17, ...) and B a multiple of 8, X is a multiple of 8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedNeighbourhood:
    """As `Neighbourhood`, with the spare columns: key_slots `[M, X]`, bias `[M, 1, B, X]`."""

    query_blocks: Tensor | None
    key_slots: Tensor
    bias: Tensor

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, heads: int, dropout: float) -> Tensor:
        """See `LocalAttention`; one operator, without dropout, when the model is exported."""
        size = query.shape[-1]
        keys = F.embedding(self.key_slots, key.reshape(-1, size))  # [M, X, C]
        values = F.embedding(self.key_slots, value.reshape(-1, size))
        if torch.onnx.is_in_onnx_export():
            inputs = (query, keys, values, None, None, self.bias)
            attributes: dict[str, Any] = {"num_heads": heads, "scale": 1 / math.sqrt(size // heads)}
            fused: Tensor = torch.onnx.ops.symbolic(
                OPERATOR, inputs, attributes, dtype=query.dtype, shape=query.shape, version=1
            )
            return fused
        q, k, v = (each.unflatten(-1, (heads, size // heads)).transpose(1, 2) for each in (query, keys, values))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias, dropout_p=dropout)  # [M, H, B, E]
        return out.transpose(1, 2).flatten(2)


def fused_neighbourhood(
    pack: Pack, *, window: int, farthest: int, query_blocks: Tensor | None, dtype: torch.dtype
) -> FusedNeighbourhood:
    """See `longformer.neighbourhood`."""
    near = neighbourhood(pack, window=window, farthest=farthest, query_blocks=query_blocks, dtype=dtype)
    return FusedNeighbourhood(
        query_blocks=query_blocks,
        key_slots=torch.cat([near.key_slots, near.key_slots[:, :1].expand(-1, SPARE_KEYS)], dim=1),  # CUDA pads no integers
        bias=F.pad(near.bias, (0, SPARE_KEYS), value=MASKED),
    )


def with_attention(model: LongformerWithHeads, form: NeighbourhoodOf) -> LongformerWithHeads:
    """The model with another form of local attention; its parameters are shared, not copied."""
    shared = {id(parameter): parameter for parameter in model.parameters()}
    other = copy.deepcopy(model, shared)
    other.longformer.encoder.neighbourhood_of = form
    return other


def halved(model: LongformerWithHeads) -> LongformerWithHeads:
    """A copy that computes in fp16; raises ParityError for weights beyond its range.

    In fp32 stay: the embeddings' sum and norm, the softmax and sums of global tokens, the sums of segments, and the heads with
    their answers; layer norms take and give fp16, and sum in fp32 inside the operator. The vocabulary's matrix is stored once,
    in fp16, and widened for the scores of masked words.
    """
    model = copy.deepcopy(model)
    encoder = model.longformer.encoder.half()
    words = model.longformer.embeddings.word_embeddings.half()
    for part in (encoder, words):
        for name, parameter in part.named_parameters():
            if not parameter.isfinite().all():
                raise ParityError(f"{name} has weights beyond the range of fp16")
    return model
