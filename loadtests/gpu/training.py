"""Tokens per second of masked-language-model training at the embedded model's size, beside Hugging Face's class, in bfloat16.

The losses of all contenders are told: equal work gives equal losses (dropout is off). Of our module there are two forms: as it
trains today, and with `flex_attention`.
"""

from __future__ import annotations

from argparse import Namespace

import torch
from torch.nn.attention.flex_attention import flex_attention

from drlongformer.model.flexible import flexible
from drlongformer.model.fused import with_attention
from loadtests.engine import mixed_lengths
from loadtests.training_speed import (
    Contender,
    examples_of,
    hf_contender,
    hf_model,
    ours_of,
    packed_batches,
    packed_contender,
    race,
)

EMBEDDED = Namespace(layers=4, hidden=256, vocabulary=12288)
TINY = Namespace(layers=1, hidden=64, vocabulary=200)
BATCH_TOKENS = 65_536
HF_BATCH = 16


def measure(device: torch.device, *, tiny: bool, rounds: int) -> dict[str, object]:
    """Train on the mixed-length set once a round; tokens per second and losses by contender."""
    sizes, on_card = (TINY if tiny else EMBEDDED), device.type == "cuda"
    theirs = hf_model(sizes)
    ours = ours_of(theirs)
    for model in (theirs, ours):
        torch.nn.Module.to(model, device)
    lengths = mixed_lengths(2 if tiny else 256).tolist()
    lengths = [min(length, 300) for length in lengths] if tiny else lengths
    examples = examples_of(lengths, sizes.vocabulary)
    batches = packed_batches(examples, BATCH_TOKENS, ours.longformer.config.block)
    made: dict[str, Contender] = {
        "packed": packed_contender(ours, batches, bf16=on_card),
        f"HF batches of {HF_BATCH}, sorted": hf_contender(theirs, examples, HF_BATCH, sort=True, bf16=on_card),
    }
    if on_card:
        flex = with_attention(ours, flexible(torch.compile(flex_attention)))
        made["packed, flex_attention"] = packed_contender(flex, batches, bf16=True)
    seconds, losses = race(made, rounds=rounds, warm_up=1)
    tokens = sum(lengths)
    print(f"training: {len(lengths)} documents of mixed length, {tokens} tokens")
    for name, taken in seconds.items():
        print(
            f"{name:>28} {tokens / taken:>12.0f} tokens/s {taken / seconds['packed']:>7.2f} x our time, loss {losses[name]:.4f}"
        )
    print()
    return {"tokens": tokens} | {
        name: {"tokens_per_second": tokens / taken, "loss": losses[name]} for name, taken in seconds.items()
    }
