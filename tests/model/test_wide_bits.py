"""The golden law at the width of a real model: the same answers to the last bit alone, beside others, on any number of threads.

Products of 32 columns are added up at once, those of 768 in pieces, whose edges a CPU library chooses by shape and threads. So
what holds for the tiny models of other tests says nothing here. One layer, few words: the width is what counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from drlongformer.model.export import GRAPH_FILE, heads_of, rounded, to_ir, write
from drlongformer.model.heads import ClassificationHead, LongformerWithHeads, TokenHead
from drlongformer.model.longformer import Longformer, LongformerConfig
from drlongformer.packing import SEGMENT_SUMS, EngineOutput, pack, unpack
from drlongformer.types import WindowInput, WindowOutput

CONFIG = LongformerConfig(
    vocab_size=60,
    hidden_size=768,
    num_hidden_layers=1,
    num_attention_heads=12,
    intermediate_size=96,
    max_position_embeddings=520,
    attention_window=(256,),
)
THREADS = (1, 2, 4, 8, 16)
LENGTHS = (2, 127, 128, 129, 256, 300, 511)
HEADS = ("hidden", "atc", "ner")


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    encoder = Longformer(CONFIG)
    model = LongformerWithHeads(encoder, {"atc": ClassificationHead(CONFIG, 5), "ner": TokenHead(CONFIG, 7)}).eval()
    assert heads_of(model) == HEADS
    folder = tmp_path_factory.mktemp("wide")
    write(to_ir(rounded(model)), folder)
    return folder / GRAPH_FILE


def windows(random: np.random.Generator, global_tokens: int) -> list[WindowInput]:
    return [
        WindowInput(
            ids=random.integers(5, CONFIG.vocab_size, length),
            global_slots=tuple(range(min(length, global_tokens))),
            rows={head: np.unique(random.integers(0, length, 3)) for head in HEADS},
            segments=np.zeros(length, dtype=np.int64),
        )
        for length in LENGTHS
    ]


def answers(session: ort.InferenceSession, asked: Sequence[WindowInput]) -> list[WindowOutput]:
    batch = pack(asked, block=CONFIG.block, heads=HEADS)
    output = dict(zip([*HEADS, SEGMENT_SUMS], session.run([*HEADS, SEGMENT_SUMS], batch.feeds()), strict=True))
    return unpack(batch, EngineOutput(segment_sums=output.pop(SEGMENT_SUMS), rows=output))


def bits(answer: WindowOutput) -> list[bytes]:
    assert answer.segments is not None
    return [*(answer.rows[head].tobytes() for head in HEADS), answer.segments.tobytes()]


def test_neighbours_their_number_and_threads_do_not_change_a_bit(graph: Path) -> None:
    asked = [one for count in (0, 1, 2, 5) for one in windows(np.random.default_rng(count), count)]
    wanted: list[list[bytes]] | None = None
    for threads in THREADS:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        alone = [bits(answers(session, [one])[0]) for one in asked]
        wanted = wanted or alone
        assert alone == wanted, threads
        assert [bits(one) for one in answers(session, asked)] == wanted, threads
        pairs = [bits(one) for place in range(len(asked) - 1) for one in answers(session, asked[place : place + 2])[:1]]
        assert pairs == wanted[:-1], threads
