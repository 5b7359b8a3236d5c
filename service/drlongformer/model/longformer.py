"""The packed Longformer: the function of Hugging Face's Longformer, computed on blocks of B token slots without padding.

Local attention is dense: a query block sees its own block and the r = ceil(w / B) blocks on each side, plus one column per
global token; one gather lays their keys side by side, a few heads at once, straight from the projection. Global queries absorb
their key and value projections, so these are never applied to all tokens. The last layer computes only the blocks that a head
reads. Local attention has other forms for other devices (`fused.py`, `flexible.py`); `Encoder.neighbourhood_of` says which is
used. Parameters carry the names of Hugging Face's `state_dict`. Source: Beltagy et al. 2020, Longformer (arXiv 2004.05150),
section 3; the layout is our own.

Shapes: N blocks, B slots of a block, D documents (windows) of the pack, G global slots, M query blocks (= N except in the last
layer), H heads, E = C / H size of a head, C hidden size, r radius in blocks, X = (2r + 1) B + G keys of a query.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drlongformer.model.sums import MASKED, in_order, never_one, pieces_of, share_of_document, sum_by_document
from drlongformer.packing import PackedBatch

HEADS_AT_ONCE = 4
"""Heads whose keys, values and weights are held together: those of all heads are most of what a long document takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongformerConfig:
    """Architecture; the fields are named as in a Hugging Face `config.json`, except `block` (slots of a block).

    attention_window holds the two-sided window of each layer, even numbers: a query sees `window // 2` tokens on each side.
    max_tokens counts special tokens.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    attention_window: tuple[int, ...]
    type_vocab_size: int = 1
    pad_token_id: int = 1
    layer_norm_eps: float = 1e-5
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    hidden_act: str = "gelu"
    block: int = 128

    def __post_init__(self) -> None:
        if len(self.attention_window) != self.num_hidden_layers:
            raise ValueError(f"{self.num_hidden_layers} layers but {len(self.attention_window)} attention windows")
        if any(window < 2 or window % 2 for window in self.attention_window):
            raise ValueError(f"attention windows must be even and positive, not {self.attention_window}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden size {self.hidden_size} is not a multiple of {self.num_attention_heads} heads")
        if self.hidden_act != "gelu":
            raise ValueError(f"activation {self.hidden_act!r} is not supported, only 'gelu'")

    @property
    def first_position(self) -> int:
        """Row of the position table that the first token of a document takes."""
        return self.pad_token_id + 1

    @property
    def max_tokens(self) -> int:
        """Longest window the model reads, special tokens included."""
        return self.max_position_embeddings - self.first_position

    @classmethod
    def from_hf(cls, config: Mapping[str, Any], *, block: int = 128) -> LongformerConfig:
        """Read a Hugging Face `config.json` (already parsed); raises ValueError for what the packed model cannot compute."""
        window = config["attention_window"]
        layers = config["num_hidden_layers"]
        names = cls.__dataclass_fields__.keys() - {"block", "attention_window"}
        return cls(
            attention_window=tuple(window) if isinstance(window, (list, tuple)) else (window,) * layers,
            block=block,
            **{name: config[name] for name in names if name in config},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The encoder's integer inputs as tensors; see `packing.PackedBatch` for their meaning and shapes."""

    input_ids: Tensor
    document_of_block: Tensor
    first_block: Tensor
    document_length: Tensor
    global_slot: Tensor
    query_blocks: Tensor

    @classmethod
    def of(cls, batch: PackedBatch, device: torch.device | str = "cpu") -> Pack:
        """The tensors of a packed batch, on `device`."""
        return cls(**{name: torch.from_numpy(getattr(batch, name)).to(device) for name in cls.__dataclass_fields__})

    @property
    def position(self) -> Tensor:
        """Position of every slot within its document, `[N, B]`; slots past the end go on counting."""
        blocks, slots = self.input_ids.shape
        block_in_document = torch.arange(blocks, device=self.input_ids.device) - self.first_block[self.document_of_block]
        return block_in_document[:, None] * slots + torch.arange(slots, device=self.input_ids.device)

    @property
    def is_real(self) -> Tensor:
        """Which slots hold a token, `[N, B]`."""
        return self.position < self.document_length[self.document_of_block][:, None]

    @property
    def flat_global(self) -> Tensor:
        """Global tokens as indices into the `N * B` slots, `[D, G]`; absent ones point at their document's first token."""
        return self.first_block[:, None] * self.input_ids.shape[1] + self.global_slot.clamp(min=0)

    @property
    def is_global(self) -> Tensor:
        """Which slots have global attention, `[N, B]`."""
        return (self.position[:, :, None] == self.global_slot[self.document_of_block][:, None, :]).any(-1)


class Embeddings(nn.Module):
    """Word, position and token type (always row 0) embeddings, summed and normalised: `[N, B, C]`."""

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.first_position = config.first_position

    def forward(self, pack: Pack) -> Tensor:
        last_row = self.position_embeddings.num_embeddings - 1
        position = (pack.position + self.first_position).clamp(max=last_row)
        places = self.position_embeddings.weight + self.token_type_embeddings.weight[0]
        x = self.word_embeddings(pack.input_ids) + F.embedding(position, places)
        out: Tensor = self.dropout(self.LayerNorm(x))
        return out.to(self.word_embeddings.weight.dtype)  # summed and normalised in fp32 where the words are fp16 (`halved`)


class LocalAttention(Protocol):
    """What the query blocks of a layer see, and a way to compute their attention; query_blocks `[M]`, None for all."""

    @property
    def query_blocks(self) -> Tensor | None: ...

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, heads: int, dropout: float) -> Tensor:
        """query `[M, B, C]`, key and value `[N, B, C]` to the mixed values `[M, B, C]`; scores are scaled by 1 / sqrt(E)."""
        ...


class NeighbourhoodOf(Protocol):
    """Makes the local attention of a pack for one window; see `neighbourhood`."""

    def __call__(
        self, pack: Pack, *, window: int, farthest: int, query_blocks: Tensor | None, dtype: torch.dtype
    ) -> LocalAttention: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """What the query blocks of a layer see; shared by all layers of one window.

    query_blocks `[M]`, or None for all blocks in order. key_slots `[M, X]`: flat slots of each query block's keys, the blocks
    of shift -r..r (clamped into 0..N-1), then the global tokens. bias `[M, 1, B, X]`: 0 where a key is allowed, else MASKED.
    """

    query_blocks: Tensor | None
    key_slots: Tensor
    bias: Tensor

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, heads: int, dropout: float) -> Tensor:
        """See `LocalAttention`; keys and values are gathered head by head, straight from their projections."""
        groups = [range(first, min(first + HEADS_AT_ONCE, heads)) for first in range(0, heads, HEADS_AT_ONCE)]
        mixed = [self._of_heads(group, query, key, value, heads=heads, dropout=dropout) for group in groups]
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=-1)

    def _of_heads(self, group: range, query: Tensor, key: Tensor, value: Tensor, *, heads: int, dropout: float) -> Tensor:
        """The columns of the answer that a group of heads gives."""
        slots, size = query.shape[1:]
        head_size = size // heads
        query = query.view(-1, slots, heads, head_size)[:, :, group.start : group.stop]
        key, value = key.view(-1, head_size), value.view(-1, head_size)  # a row per slot and head
        some = torch.arange(group.start, group.stop, device=query.device)
        rows = self.key_slots[:, None, :] * heads + some[:, None]  # [M, H of the group, X]
        out = F.scaled_dot_product_attention(
            query.transpose(1, 2),  # [M, H of the group, B, E]
            F.embedding(rows, key),  # [M, H of the group, X, E]
            F.embedding(rows, value),
            attn_mask=self.bias.to(query.dtype),
            dropout_p=dropout,
        )
        return out.transpose(1, 2).reshape(-1, slots, len(group) * head_size)


def neighbourhood(pack: Pack, *, window: int, farthest: int, query_blocks: Tensor | None, dtype: torch.dtype) -> Neighbourhood:
    """Who sees whom with `window // 2` tokens on each side, at most `farthest` blocks away (those of the longest document).

    A key is allowed when it lies within the window, is a real token of the same document and is not global; global tokens
    have key columns of their own, so that each counts once. With B = 4, w = 3 (r = 1) query slot 5 of a document of 10 sees:

        slot     0 1 2 3 | 4 5 6 7 | 8 9 . .
        allowed      x x | x x x x | x
    """
    blocks, slots = pack.input_ids.shape
    one_sided = window // 2
    radius = min(-(-one_sided // slots), farthest)
    unmasked_key = pack.is_real & ~pack.is_global
    device = pack.input_ids.device
    query = torch.arange(blocks, device=device) if query_blocks is None else query_blocks
    document = pack.document_of_block[query]
    slot = torch.arange(slots, device=device)
    shift = torch.arange(-radius, radius + 1, device=device)
    block = query[:, None] + shift  # [M, 2r + 1]
    neighbour = block.clamp(0, blocks - 1)
    same = (block == neighbour) & (pack.document_of_block[neighbour] == document[:, None])
    near = (slot[:, None, None] - slot - shift[:, None] * slots).abs() <= one_sided  # [B, 2r + 1, B]
    allowed = near & (same[:, :, None] & unmasked_key[neighbour])[:, None]  # [M, B, 2r + 1, B]
    has_global = (pack.global_slot >= 0)[document]  # [M, G]
    allowed = torch.cat([allowed.flatten(2), has_global[:, None, :].expand(-1, slots, -1)], dim=-1)
    return Neighbourhood(
        query_blocks=query_blocks,
        key_slots=torch.cat([(neighbour[:, :, None] * slots + slot).flatten(1), pack.flat_global[document]], dim=1),
        bias=torch.where(allowed, 0.0, MASKED).to(dtype)[:, None],
    )


class SelfAttention(nn.Module):
    """Sliding-window attention with global tokens (Beltagy et al. 2020, section 3.1), on blocks.

    Non-global queries: one softmax over the window and the global tokens, all with the local projections. Global queries:
    a softmax over all real tokens of their document with the `_global` projections, whose key and value are absorbed:
    `score_t = x_t . (Wk_g^T q_g)` (the key bias cancels) and `out = Wv_g (sum_t p_t x_t) + b_v`.
    """

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = config.num_attention_heads
        self.head_size = size // self.heads
        self.pieces = pieces_of(size)
        self.dropout_prob = config.attention_probs_dropout_prob
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.query_global = nn.Linear(size, size)
        self.key_global = nn.Linear(size, size)
        self.value_global = nn.Linear(size, size)

    def forward(self, x: Tensor, pack: Pack, near: LocalAttention) -> Tensor:
        """x `[N, B, C]` to `[M, B, C]`: the mixed values of the query blocks, before the output projection."""
        return _put_global(self._local(x, near), self._global(x, pack), pack, near.query_blocks)

    def _local(self, x: Tensor, near: LocalAttention) -> Tensor:
        query = self.query(_take(x, near.query_blocks))
        dropout = self.dropout_prob if self.training else 0.0
        return near.attend(query, self.key(x), self.value(x), heads=self.heads, dropout=dropout)

    def _global(self, x: Tensor, pack: Pack) -> Tensor:
        """Answers of the global queries, `[D, G, C]`; scores, softmax and sums in fp32 whatever the precision of x."""
        blocks, slots, size = x.shape
        documents, count = pack.global_slot.shape
        width = size // self.pieces
        query = self.query_global(x.reshape(-1, size)[never_one(pack.flat_global)]) / math.sqrt(self.head_size)
        query = query.view(-1, count, self.heads, self.head_size)
        key_weight = self.key_global.weight.view(self.heads, self.head_size, size)
        absorbed = torch.einsum("dghe,hec->dghc", query, key_weight).reshape(documents + 1, -1, self.pieces, width)
        score = absorbed.transpose(1, 2)[pack.document_of_block] @ x.transpose(1, 2).reshape(blocks, self.pieces, width, slots)
        score = in_order(score, 1)  # [N, GH, B]
        score = score.masked_fill(~pack.is_real[:, None, :], MASKED)
        # Softmax over a document: normalised within each block, then the blocks combined by their share of the document.
        top = score.amax(-1).detach()  # [N, GH]
        weight = (score - top[..., None]).exp()
        total = weight.sum(-1)  # [N, GH]
        mixed = (weight / total[..., None]).to(x.dtype) @ x  # [N, GH, C]
        value_weight = self.value_global.weight.view(self.heads, self.head_size, self.pieces, -1)
        mixed = never_one(mixed).view(-1, count, self.heads, self.pieces, size // self.pieces)
        mixed = in_order(torch.einsum("nghpc,hepc->nghpe", mixed, value_weight)[:blocks], 3)  # [N, G, H, E]
        share = share_of_document(top, total, pack.document_of_block, documents)
        mixed = mixed * share.view(blocks, count, self.heads, 1)
        out = sum_by_document(mixed.reshape(blocks, -1), pack.document_of_block, documents)  # [D, GC]
        return out.view(documents, count, size).to(x.dtype) + self.value_global.bias.to(x.dtype)


def _take(x: Tensor, blocks: Tensor | None) -> Tensor:
    return x if blocks is None else x.index_select(0, blocks)


def _put_global(out: Tensor, answer: Tensor, pack: Pack, query_blocks: Tensor | None) -> Tensor:
    """Write the answers `[D, G, C]` of the global slots over `[M, B, C]`; those outside the query blocks are dropped.

    Every entry writes somewhere, so that shapes stay static: an entry with nothing to write repeats the first one that has
    (or, where none has, row 0 as it is). Equal values meet at one place, so the order of writing cannot matter; the repeats
    carry no gradient.
    """
    slots, size = out.shape[1:]
    slot = pack.global_slot.clamp(min=0)
    block = pack.first_block[:, None] + slot // slots  # [D, G]
    written = pack.global_slot >= 0
    if query_blocks is not None:
        row_of_block = torch.full_like(pack.document_of_block, -1).scatter(
            0, query_blocks, torch.arange(query_blocks.shape[0], device=out.device)
        )
        block = row_of_block[block]
        written = written & (block >= 0)
    written = written.reshape(-1)
    place = torch.where(written, (block * slots + slot % slots).reshape(-1), 0)  # [DG]
    flat, answer = out.reshape(-1, size), answer.reshape(-1, size).to(out.dtype)
    first = written.long().argmax()
    base = torch.where(written[first], answer[first], flat[0])
    answer = torch.where(written[:, None], answer, base.detach())
    answer = torch.where((torch.arange(place.shape[0], device=out.device) == first)[:, None], base, answer)
    place = torch.where(written, place, place[first])
    return flat.index_put((place,), answer).view(out.shape)


class AttentionOutput(nn.Module):
    """Output projection, residual and norm: `[M, B, C]`."""

    def __init__(self, config: LongformerConfig, inputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        out: Tensor = self.LayerNorm(self.dropout(self.dense(x)) + residual)
        return out


class Attention(nn.Module):
    """Self-attention and its output projection."""

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = AttentionOutput(config, config.hidden_size)


class Intermediate(nn.Module):
    """The wide half of the feed-forward network."""

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class Layer(nn.Module):
    """One post-norm transformer layer."""

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = AttentionOutput(config, config.intermediate_size)

    def forward(self, x: Tensor, pack: Pack, near: LocalAttention) -> Tensor:
        """x `[N, B, C]` to `[M, B, C]`."""
        residual = _take(x, near.query_blocks)
        x = self.attention.output(self.attention.self(x, pack, near), residual)
        out: Tensor = self.output(self.intermediate(x), x)
        return out


class Encoder(nn.Module):
    """The layers; only the last one knows which blocks are read. neighbourhood_of: the form of local attention."""

    neighbourhood_of: NeighbourhoodOf

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.windows = config.attention_window
        self.farthest = -(-config.max_tokens // config.block) - 1
        self.neighbourhood_of = neighbourhood

    def forward(self, x: Tensor, pack: Pack) -> Tensor:
        """x `[N, B, C]` to `[M, B, C]`."""
        near = {window: self._near(pack, window, None, x.dtype) for window in set(self.windows[:-1])}
        for window, layer in zip(self.windows[:-1], self.layer[:-1], strict=True):
            x = layer(x, pack, near[window])
        last = self._near(pack, self.windows[-1], pack.query_blocks, x.dtype)
        out: Tensor = self.layer[-1](x, pack, last)
        return out

    def _near(self, pack: Pack, window: int, query_blocks: Tensor | None, dtype: torch.dtype) -> LocalAttention:
        return self.neighbourhood_of(pack, window=window, farthest=self.farthest, query_blocks=query_blocks, dtype=dtype)


class Longformer(nn.Module):
    """Embeddings and encoder: a `Pack` to the last hidden states of its query blocks, `[M, B, C]`."""

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, pack: Pack) -> Tensor:
        """Hidden states of the query blocks; what empty slots hold is undefined."""
        out: Tensor = self.encoder(self.embeddings(pack), pack)
        return out
