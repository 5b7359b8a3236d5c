"""Hugging Face's Longformer in eager PyTorch: one document after the other, and in padded batches.

What is timed is what each task needs of Hugging Face's own classes: the encoder and a mean (embed), the encoder with `<s>`
global and the classification head (classify), the encoder and the logits of every position (fill-mask). A classification
answer is told as the state of `<s>`: the head's weights are random.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.models.longformer.modeling_longformer import LongformerClassificationHead

from loadtests.peers.protocol import Floats, Question

BATCH = 8
ONE_BY_ONE = "one by one"
SORTED = f"batches of {BATCH}, sorted by length"
ARRIVAL = f"batches of {BATCH}, in order of arrival"


class HuggingFace:
    """A checkpoint in transformers."""

    ways = (ONE_BY_ONE, SORTED, ARRIVAL)
    tasks = ("embed", "classify", "fill-mask")

    def __init__(self, folder: Path, *, threads: int, first_global: bool) -> None:
        torch.set_num_threads(threads)
        self._masked: Any = transformers.LongformerForMaskedLM.from_pretrained(folder).eval()
        self._encoder: Any = self._masked.longformer
        self._classifier: Any = LongformerClassificationHead(self._encoder.config).eval()
        self._first_global = first_global

    def run(self, task: str, way: str, questions: Sequence[Question]) -> list[Floats]:
        """One answer a document: a mean state, the state of `<s>`, or the logits of its masks."""
        answers: dict[int, Floats] = {}
        with torch.inference_mode():
            for places in batches([len(one.ids) for one in questions], way):
                given = self._batch(task, [questions[place] for place in places])
                answers |= dict(zip(places, given, strict=True))
        return [answers[place] for place in range(len(questions))]

    def _batch(self, task: str, questions: Sequence[Question]) -> list[Floats]:
        ids, mask = padded(questions, self._encoder.config.pad_token_id)
        if task == "fill-mask":
            logits = self._masked(input_ids=ids, attention_mask=mask).logits
            return [row[one.masks].numpy() for row, one in zip(logits, questions, strict=True)]
        wide = torch.zeros_like(mask)
        wide[:, 0] = int(task == "classify" or self._first_global)
        asked = {"global_attention_mask": wide} if wide.any() else {}
        hidden = self._encoder(input_ids=ids, attention_mask=mask, **asked).last_hidden_state
        if task == "classify":
            self._classifier(hidden)
            return list(hidden[:, 0].numpy())
        return list(((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).numpy())


def batches(lengths: Sequence[int], way: str) -> Iterator[list[int]]:
    """Places of the documents of each batch."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__) if way == SORTED else list(range(len(lengths)))
    size = 1 if way == ONE_BY_ONE else BATCH
    for start in range(0, len(order), size):
        yield order[start : start + size]


def padded(questions: Sequence[Question], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask `[D, T]`, padded to the longest."""
    longest = max(len(one.ids) for one in questions)
    ids = torch.full((len(questions), longest), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, one in enumerate(questions):
        ids[row, : len(one.ids)] = torch.from_numpy(one.ids)
        mask[row, : len(one.ids)] = 1
    return ids, mask
