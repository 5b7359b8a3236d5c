"""Tiny models with perturbed weights, and masked batches for them."""

from __future__ import annotations

import numpy as np
import torch

from drlongformer.bundle import HeadSpec
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.training import trained
from drlongformer.training.dataset import Batch, Example, Special, collate, mask_tokens, with_specials
from drlongformer.training.head_specs import class_head, embedding_head, language_head, span_head
from drlongformer.training.spans import bio_labels
from tests.training import tiny

HEADS: tuple[HeadSpec, ...] = (
    language_head(),
    class_head("atc", ("C", "N")),
    span_head("temporal", bio_labels(("X",))),
    embedding_head(),
)
SPECIAL = Special(bos=0, eos=2, mask=399)


def model(heads: tuple[HeadSpec, ...] = HEADS, seed: int = 0) -> LongformerWithHeads:
    torch.manual_seed(seed)
    made = trained.build(tiny.architecture(), heads)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.eval()


def masked_batch(*lengths: int, seed: int = 0) -> Batch:
    """Windows of random tokens that ask the masked-word head."""
    random = np.random.default_rng(seed)
    examples = []
    for length in lengths:
        ids = with_specials(random.integers(4, 399, length), SPECIAL)
        masked, chosen = mask_tokens(ids, SPECIAL, random, share=0.3)
        examples.append(Example(ids=masked, slots={"mlm": chosen}, wanted={"mlm": ids[chosen]}))
    return collate(examples, block=4, heads=("mlm", "atc", "temporal"))
