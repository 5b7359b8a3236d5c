"""Who computes: our graph in ONNX Runtime, our module in torch with `flex_attention`, and Hugging Face, eager and compiled.

Each is a function of documents (token ids) to their embeddings, the mean of the last hidden states with `<s>` global, in fp16
on a card and in fp32 on a CPU. Each returns only when its numbers are on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from drlongformer.model.flexible import flexible
from drlongformer.model.fused import halved, with_attention
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.longformer import Pack
from drlongformer.packing import EngineOutput, blocks_of, pack, unpack
from drlongformer.serving.engine import Engine, compute
from drlongformer.serving.staging import parts
from drlongformer.types import FloatArray, IntArray, WindowInput, WindowOutput

Contender = Callable[[Sequence[IntArray]], list[FloatArray]]


def asked(ids: IntArray) -> WindowInput:
    """A document whose sum of hidden states is wanted."""
    return WindowInput(ids=ids, global_slots=(0,), rows={}, segments=np.zeros(len(ids), dtype=np.int64))


def by_engine(engine: Engine, batch_blocks: int) -> Contender:
    """Batches of the service: packed, computed and unpacked as it does."""

    def embed(documents: Sequence[IntArray]) -> list[FloatArray]:
        answers: list[object] = []
        for batch in parts([asked(ids) for ids in documents], engine.block, batch_blocks):
            answers += compute(engine, batch, [None] * len(batch))
        return [_mean(answer, ids) for answer, ids in zip(answers, documents, strict=True)]

    return embed


def by_module(model: LongformerWithHeads, device: torch.device, batch_blocks: int, *, compiled: bool) -> Contender:
    """Our module with flex_attention, in fp16 on a card; compiled or not."""
    attention = torch.compile(flex_attention) if compiled else flex_attention
    ours = with_attention(halved(model) if device.type == "cuda" else model, flexible(attention))
    torch.nn.Module.to(ours, device)
    block = ours.longformer.config.block

    @torch.inference_mode()
    def embed(documents: Sequence[IntArray]) -> list[FloatArray]:
        answers: list[FloatArray] = []
        for group in parts([asked(ids) for ids in documents], block, batch_blocks):
            batch = pack(group, block=block, heads=())
            segments, index = (torch.from_numpy(array).to(device) for array in (batch.segment_of_slot, batch.segment_index))
            _, sums = ours(Pack.of(batch, device), {}, segments, index)
            outputs = unpack(batch, EngineOutput(rows={}, segment_sums=sums.cpu().numpy()))
            answers += [_mean(output, window.ids) for output, window in zip(outputs, group, strict=True)]
        return answers

    return embed


def hugging_face(checkpoint: Any, device: torch.device) -> torch.nn.Module:
    """The encoder as transformers loads it."""
    model = transformers.LongformerModel.from_pretrained(checkpoint, add_pooling_layer=False).eval()
    moved: torch.nn.Module = torch.nn.Module.to(model, device, torch.float16 if device.type == "cuda" else torch.float32)
    return moved


def by_hugging_face(model: torch.nn.Module, batch: int, *, pad_to: int, sort: bool) -> Contender:
    """Padded batches of `batch` documents, each as long as its longest, rounded up to a multiple of `pad_to`."""
    device = next(model.parameters()).device

    @torch.inference_mode()
    def embed(documents: Sequence[IntArray]) -> list[FloatArray]:
        places = sorted(range(len(documents)), key=lambda place: len(documents[place])) if sort else list(range(len(documents)))
        answers: dict[int, FloatArray] = {}
        for start in range(0, len(places), batch):
            group = places[start : start + batch]
            ids, mask, first = (array.to(device) for array in padded([documents[place] for place in group], pad_to))
            hidden = model(input_ids=ids, attention_mask=mask, global_attention_mask=first).last_hidden_state.float()
            means = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            answers |= dict(zip(group, means.cpu().numpy(), strict=True))
        return [answers[place] for place in range(len(documents))]

    return embed


def padded(documents: Sequence[IntArray], pad_to: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and global attention of `<s>`, all `[documents, longest]`."""
    longest = blocks_of(max(map(len, documents)), pad_to) * pad_to
    ids = torch.ones(len(documents), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, document in enumerate(documents):
        ids[row, : len(document)] = torch.from_numpy(document)
        mask[row, : len(document)] = 1
    first = torch.zeros_like(ids)
    first[:, 0] = 1
    return ids, mask, first


def _mean(answer: object, ids: IntArray) -> FloatArray:
    if not isinstance(answer, WindowOutput) or answer.segments is None:
        raise TypeError(f"no sums in the answer: {answer!r}")
    mean: FloatArray = answer.segments[0] / len(ids)
    return mean
