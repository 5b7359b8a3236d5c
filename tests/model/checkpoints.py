"""Small Hugging Face checkpoints with random weights and a tokenizer of their own, as transformers writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import ByteLevelBPETokenizer

VOCABULARY = 384
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SENTENCES = (
    "Le patient présente une fièvre à 39 °C, un œdème de la cheville et une dyspnée d'effort.",
    "L'échographie cardiaque ne retrouve pas d'anomalie ; l'hôpital prévoit un contrôle à 6 mois.",
)


def hf_model(architecture: str, **changes: Any) -> transformers.PreTrainedModel:
    """A model of two layers with different windows, perturbed so that attention is far from uniform."""
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 102,
        "attention_window": [16, 32],
        "type_vocab_size": 1,
        "pad_token_id": 1,
        "sep_token_id": 2,
    }
    kind = getattr(transformers, architecture)
    model: transformers.PreTrainedModel = kind(transformers.LongformerConfig(**(settings | changes))).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def save_tokenizer(folder: Path) -> None:
    """`vocab.json` and `merges.txt` of a byte-level BPE."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(SENTENCES * 3, vocab_size=VOCABULARY, special_tokens=SPECIALS, show_progress=False)
    tokenizer.save_model(str(folder))


def save_checkpoint(folder: Path, architecture: str, *, safe: bool = True, **changes: Any) -> transformers.PreTrainedModel:
    """A whole checkpoint folder; returns the model that was saved."""
    model = hf_model(architecture, **changes)
    save_tokenizer(folder)
    model.save_pretrained(folder, safe_serialization=safe)
    return model
