"""A small comparison that needs no import: the embedded model, and a checkpoint of its architecture with random weights.

It shows in seconds whether every contender that is installed can be opened and asked. Peers then compute as much as we do, but
not the same, so their differences from us would say nothing and are not told.
"""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from drlongformer import bundle


def make(folder: Path, store: Path) -> tuple[Path, Path]:
    """Write the checkpoint into the folder; its place, and that of the bundle in the store."""
    [name] = bundle.names(store)
    loaded = bundle.load(bundle.find(store, name))
    checkpoint = folder / "checkpoint"
    torch.manual_seed(0)
    config = transformers.LongformerConfig.from_dict(loaded.manifest.architecture)
    transformers.LongformerForMaskedLM(config).eval().save_pretrained(checkpoint)
    spec = loaded.manifest.tokenizer
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(loaded.folder / spec.file),
        mask_token=spec.mask_token,
        pad_token="<pad>",  # noqa: S106 - no password
        model_max_length=loaded.manifest.max_tokens,
    )
    tokenizer.save_pretrained(checkpoint)
    return checkpoint, loaded.folder
