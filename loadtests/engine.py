"""Engine speed on one machine: our packed ONNX graph beside Hugging Face eager, the ceiling stated first, one JSON line last.

    python loadtests/engine.py --checkpoint HF_FOLDER --bundle model_store/NAME/VERSION [--threads 2] [--rounds 3]
        [--engine onnxruntime --engine onnxruntime:int8 --engine openvino --engine openvino:bf16] [--first-global]

Both sides compute the embedding of the same token ids with the same weights: the mean over a document's last hidden states.
Every figure is the median of several rounds in which the contenders take turns, so that a drift of the machine hits all.
Without --checkpoint Hugging Face is left out, and ratios are to the first engine.
The mixed-length set is the first 24 documents of a log-normal (mu 6.3, sigma 1.0, clipped to 20..4096 tokens, seed 0).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from drlongformer.bench import ceiling
from drlongformer.bundle import load
from drlongformer.model.longformer import LongformerConfig
from drlongformer.packing import blocks_of, pack, unpack
from drlongformer.serving.engine import GraphEngine
from drlongformer.serving.engines import Compute, open_engine
from drlongformer.types import FloatArray, IntArray, WindowInput

LENGTHS = (256, 1024, 4096)
BATCH_TOKENS = 8192
HF_BATCH = 8

Contender = Callable[[Sequence[IntArray]], list[FloatArray]]


def mixed_lengths(documents: int) -> IntArray:
    """Token counts of the mixed-length set."""
    drawn = np.random.default_rng(0).lognormal(6.3, 1.0, 1000)
    return np.clip(drawn, 20, 4096).astype(np.int64)[:documents]


def ids_of(length: int, vocabulary: int) -> IntArray:
    """Random content between `<s>` and `</s>`; speed does not depend on what the tokens mean."""
    ids = np.random.default_rng(length).integers(5, vocabulary - 5, length)
    ids[0], ids[-1] = 0, 2
    return ids


def operations(config: LongformerConfig, tokens: int) -> float:
    """Floating-point operations of one document: linear layers and the attention of the packed layout, last layer whole."""
    return ceiling.operations(asdict(config), block=config.block, tokens=tokens)


def hf_contender(model: torch.nn.Module, batch: int, *, sort: bool, first_global: bool = False) -> Contender:
    """Hugging Face eager in padded batches, `batch` documents each, optionally sorted by length first, or with `<s>` global."""

    def embed(documents: Sequence[IntArray]) -> list[FloatArray]:
        order = sorted(range(len(documents)), key=lambda place: len(documents[place])) if sort else range(len(documents))
        answers: dict[int, FloatArray] = {}
        for start in range(0, len(documents), batch):
            places = list(order)[start : start + batch]
            longest = max(len(documents[place]) for place in places)
            ids = torch.ones(len(places), longest, dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, place in enumerate(places):
                ids[row, : len(documents[place])] = torch.from_numpy(documents[place])
                mask[row, : len(documents[place])] = 1
            wide = torch.zeros_like(mask)
            wide[:, 0] = 1
            with torch.inference_mode():
                asked = {"global_attention_mask": wide} if first_global else {}
                hidden = model(input_ids=ids, attention_mask=mask, **asked).last_hidden_state
                means = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            answers |= dict(zip(places, means.numpy(), strict=True))
        return [answers[place] for place in range(len(documents))]

    return embed


def packed_contender(engine: GraphEngine, batch_tokens: int, *, first_global: bool = False) -> Contender:
    """Our engine on packs of at most `batch_tokens` slots, in arrival order, with `<s>` global or without."""

    def ask(ids: IntArray) -> WindowInput:
        return WindowInput(
            ids=ids, global_slots=(0,) if first_global else (), rows={}, segments=np.zeros(len(ids), dtype=np.int64)
        )

    def embed(documents: Sequence[IntArray]) -> list[FloatArray]:
        answers: list[FloatArray] = []
        for group in packs(documents, batch_tokens, engine.block):
            batch = pack([ask(ids) for ids in group], block=engine.block, heads=engine.heads)
            outputs = unpack(batch, engine.run(batch))
            answers += [
                output.segments[0] / len(ids) for output, ids in zip(outputs, group, strict=True) if output.segments is not None
            ]
        return answers

    return embed


def packs(documents: Sequence[IntArray], batch_tokens: int, block: int) -> list[list[IntArray]]:
    """Documents in arrival order, cut into groups whose blocks fit `batch_tokens` slots."""
    groups: list[list[IntArray]] = [[]]
    filled = 0
    for ids in documents:
        slots = blocks_of(len(ids), block) * block
        if groups[-1] and filled + slots > batch_tokens:
            groups.append([])
            filled = 0
        groups[-1].append(ids)
        filled += slots
    return groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Median seconds of a contender, and its embeddings of the last turn."""

    seconds: float
    answers: list[FloatArray]


def race(
    contenders: Mapping[str, Contender], documents: Sequence[IntArray], *, rounds: int, warm_up: int = 1
) -> dict[str, Result]:
    """Let the contenders take `rounds` turns, after `warm_up` turns that are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    answers: dict[str, list[FloatArray]] = {}
    for turn in range(warm_up + rounds):
        for name, contender in contenders.items():
            start = time.perf_counter()
            answers[name] = contender(documents)
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: Result(seconds=statistics.median(seconds[name]), answers=answers[name]) for name in contenders}


def largest_difference(left: Sequence[FloatArray], right: Sequence[FloatArray]) -> float:
    """Largest absolute difference between two lists of embeddings."""
    return max(float(np.abs(a - b).max()) for a, b in zip(left, right, strict=True))


def least_cosine(left: Sequence[FloatArray], right: Sequence[FloatArray]) -> float:
    """The lowest cosine between two lists of embeddings."""
    return min(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in zip(left, right, strict=True))


HF = "HF eager"


def ours(options: argparse.Namespace) -> dict[str, GraphEngine]:
    """The engines asked for, by the names they were asked by."""
    bundle = load(options.bundle)
    engines = {}
    for name in options.engine or ["onnxruntime"]:
        kind, _, precision = name.partition(":")
        asked = Compute(engine=kind, threads=options.threads, precision=precision or "fp32")
        engines[name] = open_engine(bundle, asked)
    return engines


def one_document(contenders: Mapping[str, Contender], ids: IntArray, *, rounds: int, least: float) -> dict[str, object]:
    """Race on one document, print, and tell each contender's seconds, its ratio to the first one and its difference from it."""
    results = race(contenders, [ids], rounds=rounds)
    theirs = results[next(iter(contenders))]
    told: dict[str, Any] = {"ceiling_s": least}
    for name, result in results.items():
        ratio, difference = theirs.seconds / result.seconds, largest_difference(theirs.answers, result.answers)
        print(f"{len(ids):>6} tokens {name:>18} {result.seconds:>9.3f} s {ratio:>6.2f}x {least:>9.3f} s {difference:>9.1e}")
        told[name] = {"seconds": result.seconds, "ratio": ratio, "max_abs_diff": difference}
        told[name] |= {"cosine": least_cosine(theirs.answers, result.answers)}
    return told


def mixed_documents(
    contenders: Mapping[str, Contender], hf: torch.nn.Module | None, documents: Sequence[IntArray], *, rounds: int, block: int
) -> dict[str, object]:
    """Race on the mixed-length set, print, and tell tokens per second and how far neighbours change an answer."""
    tokens = sum(map(len, documents))
    slots = sum(blocks_of(len(ids), block) * block for ids in documents)
    batched: dict[str, Contender] = {}
    if hf is not None:
        batched[f"HF batches of {HF_BATCH}, sorted"] = hf_contender(hf, HF_BATCH, sort=True)
        batched[f"HF batches of {HF_BATCH}, arrival"] = hf_contender(hf, HF_BATCH, sort=False)
    results = race({**contenders, **batched}, documents, rounds=rounds, warm_up=0)
    best = min(result.seconds for name, result in results.items() if not name.startswith("HF"))
    alone = {name: [contender([ids])[0] for ids in documents] for name, contender in contenders.items() if name != HF}
    if hf is not None:
        alone |= dict.fromkeys((HF, *batched), results[HF].answers)
    print(f"\n{len(documents)} documents of mixed length, {tokens} tokens; our padding share {1 - tokens / slots:.1%}")
    told: dict[str, object] = {"documents": len(documents), "tokens": tokens, "padding_share": 1 - tokens / slots}
    for name, result in results.items():
        apart = largest_difference(result.answers, alone[name])
        speed = tokens / result.seconds
        print(f"{name:>26} {speed:>8.0f} tokens/s {result.seconds / best:>6.2f}x the quickest; alone differs by {apart:.1e}")
        told[name] = {"tokens_per_second": speed, "alone_vs_batch": apart}
    return told


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="Hugging Face folder the bundle was imported from")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--engine", action="append", help="onnxruntime[:int8] or openvino[:bf16]; may be repeated")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=24, help="documents of the mixed-length set")
    parser.add_argument("--mixed-rounds", type=int, default=1, help="turns on the mixed-length set")
    parser.add_argument("--first-global", action="store_true", help="`<s>` is global, as for classification")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    hf, wide = None, options.first_global
    contenders: dict[str, Contender] = {}
    if options.checkpoint is not None:
        hf = transformers.LongformerModel.from_pretrained(options.checkpoint, add_pooling_layer=False).eval()
        contenders[HF] = hf_contender(hf, 1, sort=False, first_global=wide)
    manifest = load(options.bundle).manifest
    config = LongformerConfig.from_hf(manifest.architecture, block=manifest.block)
    engines = ours(options)
    contenders |= {name: packed_contender(engine, BATCH_TOKENS, first_global=wide) for name, engine in engines.items()}
    peak = ceiling.matrix_peak()
    print(
        f"fp32 matrix peak {peak / 1e9:.0f} GFLOP/s on all cores; a 4096-token document needs "
        f"{operations(config, 4096) / 1e9:.0f} GFLOP, so at least {operations(config, 4096) / peak:.2f} s in fp32\n"
    )
    report: dict[str, object] = {"threads": options.threads, "rounds": options.rounds, "peak_gflops": round(peak / 1e9, 1)}
    print(f"{'one document':>13} {'':>18} {'time':>11} {'ratio':>7} {'ceiling':>11} {'max |diff|':>9}")
    for length in LENGTHS:
        ids, least = ids_of(length, config.vocab_size), operations(config, length) / peak
        report[f"tokens_{length}"] = one_document(contenders, ids, rounds=options.rounds, least=least)
    documents = [ids_of(int(length), config.vocab_size) for length in mixed_lengths(options.documents)]
    if documents and not wide:
        report["mixed"] = mixed_documents(contenders, hf, documents, rounds=options.mixed_rounds, block=config.block)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
