"""The trained module answering windows as the served engine does: pack, one pass, unpack."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.longformer import Pack
from drlongformer.packing import EngineOutput, PackedBatch, blocks_of, pack, unpack
from drlongformer.types import HIDDEN, WindowInput, WindowOutput

T = TypeVar("T")

BATCH_TOKENS = 16384


def answer(
    model: LongformerWithHeads, windows: Sequence[WindowInput], *, batch_tokens: int = BATCH_TOKENS
) -> list[WindowOutput]:
    """What the model says of each window, in order; the model is put in evaluation mode and computes where it lies."""
    model.eval()
    block = model.longformer.config.block
    heads = (HIDDEN, *model.heads)
    out: list[WindowOutput] = []
    for group in grouped(windows, block=block, batch_tokens=batch_tokens):
        batch = pack(group, block=block, heads=heads)
        out += unpack(batch, forward(model, batch))
    return out


@torch.no_grad()
def forward(model: LongformerWithHeads, batch: PackedBatch) -> EngineOutput:
    """One pass over a packed batch on the model's device, as arrays; a head that no window asks has no rows."""
    device = next(model.parameters()).device
    rows = {head: torch.from_numpy(at).to(device) for head, at in batch.rows.items() if len(at)}
    segments, index = (torch.from_numpy(array).to(device) for array in (batch.segment_of_slot, batch.segment_index))
    outputs, sums = model(Pack.of(batch, device), rows, segments, index)
    return EngineOutput(
        rows={head: value.float().cpu().numpy() for head, value in outputs.items()}, segment_sums=sums.float().cpu().numpy()
    )


def grouped(windows: Iterable[WindowInput], *, block: int, batch_tokens: int) -> Iterator[list[WindowInput]]:
    """Neighbouring windows that fit `batch_tokens` slots together; a window beyond that is alone."""
    return together(windows, lambda window: blocks_of(len(window), block) * block, most=batch_tokens)


def together(items: Iterable[T], cost: Callable[[T], int], *, most: int) -> Iterator[list[T]]:
    """Runs of neighbours that cost at most `most` together; one that costs more is alone."""
    group: list[T] = []
    spent = 0
    for one in items:
        price = cost(one)
        if group and spent + price > most:
            yield group
            group, spent = [], 0
        group.append(one)
        spent += price
    if group:
        yield group
