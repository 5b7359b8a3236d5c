"""Task heads on the packed encoder: each reads some rows of the last hidden state, `[R, C]` to `[R, L]`.

Parameters carry the names Hugging Face gives them inside `LongformerLMHead`, `LongformerClassificationHead`,
`LongformerForTokenClassification` and `LongformerForMultipleChoice`.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drlongformer.errors import CheckpointError
from drlongformer.model.longformer import Longformer, LongformerConfig, Pack
from drlongformer.types import HIDDEN


class MaskedLanguageHead(nn.Module):
    """Scores of the vocabulary at mask positions `[R, V]`; the decoder is tied to the word embeddings."""

    def __init__(self, config: LongformerConfig, word_embeddings: nn.Embedding) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.decoder.weight = word_embeddings.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_norm(F.gelu(self.dense(x)))
        return F.linear(x, self.decoder.weight.to(x.dtype)) + self.bias  # the words may be fp16 (`fused.halved`), scores never


class ClassificationHead(nn.Module):
    """Scores of the labels from `<s>`, `[R, L]`."""

    def __init__(self, config: LongformerConfig, labels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.out_proj = nn.Linear(config.hidden_size, labels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out_proj(self.dropout(torch.tanh(self.dense(self.dropout(x)))))
        return out


class TokenHead(nn.Module):
    """Scores of the tags of each token, `[R, L]`."""

    def __init__(self, config: LongformerConfig, labels: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, labels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.dropout(x))
        return out


class ChoiceHead(nn.Module):
    """Score of one option from its `<s>`, `[R, 1]`, through the pooler."""

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.dropout(torch.tanh(self.dense(x))))
        return out


def check_head_name(name: str) -> None:
    """Raise CheckpointError for a name that no head of a model can have: torch's modules take it, or its exporter stumbles."""
    if not name or "." in name or hasattr(nn.ModuleDict(), name) or keyword.iskeyword(name):
        raise CheckpointError(
            f"no head can be named {name!r}: names are not empty, have no dot, and are no word of Python or of torch's modules"
            " (such as class, import, keys, train)"
        )


class LongformerWithHeads(nn.Module):
    """One encoder with any number of named heads: the module that is trained and exported."""

    def __init__(self, longformer: Longformer, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if HIDDEN in heads:
            raise ValueError(f"the name {HIDDEN!r} is taken by the hidden state itself")
        for name in heads:
            check_head_name(name)
        self.longformer = longformer
        self.heads = nn.ModuleDict(heads)

    def forward(
        self, pack: Pack, rows: Mapping[str, Tensor], segment_of_slot: Tensor, segment_index: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """One pass: per head its outputs `[R, L]`, and the sums of hidden states per query block and segment `[M, K, C]`.

        rows: per head (or `hidden`) indices `[R]` into the M * B slots of the query blocks. segment_of_slot `[M, B]`: rank
        of each slot's segment within its block, -1 for none. segment_index `[K]`: 0..K-1.
        """
        hidden = self.longformer(pack)  # [M, B, C]
        flat = hidden.reshape(-1, hidden.shape[-1])
        read = {name: flat[at].float() for name, at in rows.items()}
        outputs = {name: states if name == HIDDEN else self.heads[name](states) for name, states in read.items()}
        member = (segment_of_slot[:, None, :] == segment_index[None, :, None]).float()  # [M, K, B]
        return outputs, member @ hidden.float()
