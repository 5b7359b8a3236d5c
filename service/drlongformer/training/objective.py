"""What training minimises: cross-entropy of the heads' rows, and a ranking loss of the windows' mean embeddings.

CoSENT (Su 2022, kexue.fm/archives/8847; sentence-transformers' CoSENTLoss): of any two pairs of windows, the pair that shares
more of its kinship should have the higher cosine. Shapes: D windows of a batch, P = D (D - 1) / 2 pairs, C hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.longformer import Pack
from drlongformer.packing import PackedBatch
from drlongformer.training.dataset import Batch

EMBEDDING_LOSS = "embedding"


def losses(
    model: LongformerWithHeads, batch: Batch, *, weights: Mapping[str, float], temperature: float = 0.05
) -> dict[str, Tensor]:
    """Weighted losses by head, and `embedding` where at least three windows are compared; a weight is 1 unless given."""
    packed = batch.packed
    rows = {head: torch.from_numpy(at) for head, at in packed.rows.items() if len(at)}
    outputs, sums = model(
        Pack.of(packed), rows, torch.from_numpy(packed.segment_of_slot), torch.from_numpy(packed.segment_index)
    )
    found = {head: F.cross_entropy(out.float(), torch.from_numpy(batch.wanted[head])) for head, out in outputs.items()}
    compared = [place for place, kinship in enumerate(batch.kinship) if kinship]
    if len(compared) > 2:
        closeness = kinship_closeness(torch.tensor([batch.kinship[place] for place in compared]))
        vectors = F.normalize(mean_embeddings(sums, packed)[compared], dim=-1)
        found[EMBEDDING_LOSS] = cosent(vectors, closeness, temperature=temperature)
    return {name: weights.get(name, 1.0) * loss for name, loss in found.items()}


def mean_embeddings(sums: Tensor, packed: PackedBatch) -> Tensor:
    """Mean hidden state of every window with one segment over all its tokens, `[D, C]`; zero for windows without sums."""
    document = torch.from_numpy(packed.document_of_block[packed.query_blocks])
    total = torch.zeros(len(packed.document_length), sums.shape[-1]).index_add(0, document, sums[:, 0].float())
    return total / torch.from_numpy(packed.document_length)[:, None]


def kinship_closeness(kinship: Tensor) -> Tensor:
    """How many leading levels any two of D places share, `[D, D]`, from places `[D, levels]`."""
    same = kinship[:, None, :] == kinship[None, :, :]
    return same.long().cumprod(dim=-1).sum(-1)


def cosent(vectors: Tensor, closeness: Tensor, *, temperature: float) -> Tensor:
    """log(1 + sum over pairs p closer than q of exp((cos q - cos p) / temperature)), from unit vectors `[D, C]`."""
    first, second = torch.triu_indices(len(vectors), len(vectors), offset=1)
    cosine = (vectors[first] * vectors[second]).sum(-1) / temperature  # [P]
    close = closeness[first, second]
    closer = close[:, None] > close[None, :]  # row is to be nearer than column
    gaps = (cosine[None, :] - cosine[:, None])[closer]
    return torch.logsumexp(torch.cat([gaps.new_zeros(1), gaps]), dim=0)
