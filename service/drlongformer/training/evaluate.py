"""How good a trained model is, answered through the code that serves: its tokenizer, windows and task decoders.

Documents past one window are read through overlapping windows, as in the service.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from drlongformer.bundle import HeadSpec, TokenizerSpec
from drlongformer.errors import TrainingError
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.tasks import classify, embed, ner
from drlongformer.text.tokenizer import Tokenizer
from drlongformer.text.windows import plan
from drlongformer.training import trained
from drlongformer.training.corpus import DataFolder
from drlongformer.training.dataset import GLOBAL_SLOTS, Example, Special, collate, mask_tokens, with_specials
from drlongformer.training.inference import answer, forward
from drlongformer.training.recipes import EvaluationRecipe, TestSet
from drlongformer.training.scores import Scores, label_scores, span_scores, spearman
from drlongformer.training.spans import Span, spans_of
from drlongformer.training.tokenizer import served_spec
from drlongformer.types import Encoded, FloatArray, Window, WindowOutput

WINDOW_OVERLAP = 512
ENCODE_BATCH = 64
MASKING_SEED = 7
LENGTH_EDGES = (256, 512, 1024, 2048, 4096)
"""Masked-word scores are given for windows up to each of these lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is evaluated: a model, its heads by name, and its tokenizer."""

    model: LongformerWithHeads
    heads: dict[str, HeadSpec]
    tokenizer: Tokenizer
    spec: TokenizerSpec

    @classmethod
    def load(cls, folder: Path) -> Subject:
        """Read a trained folder."""
        model, heads = trained.load(folder)
        spec = served_spec(folder / "tokenizer.json")
        tokenizer = Tokenizer.from_file(folder / "tokenizer.json", spec=spec)
        return cls(model=model, heads={head.name: head for head in heads}, tokenizer=tokenizer, spec=spec)

    def windows(self, encoded: Encoded) -> tuple[Window, ...]:
        """The windows through which a document is read."""
        capacity = self.model.longformer.config.max_tokens - self.tokenizer.specials
        return plan(len(encoded), capacity=capacity, overlap=min(WINDOW_OVERLAP, capacity // 2))


def classes(subject: Subject, head: HeadSpec, texts: Sequence[str]) -> list[str]:
    """The best label of each text."""
    best = []
    for encoded in _encoded(subject, texts):
        windows = subject.windows(encoded)
        asks = [classify.ask(output=head.output) for _ in windows]
        outputs = _answers(subject, encoded, windows, asks)
        logits = classify.merge(outputs, windows, output=head.output, window_merge=head.window_merge)
        best.append(classify.decide(logits, labels=head.labels, function="none", top_k=1)[0].label)
    return best


def entities(subject: Subject, head: HeadSpec, texts: Sequence[str]) -> list[set[Span]]:
    """The spans found in each text."""
    found = []
    for text, encoded in zip(texts, _encoded(subject, texts), strict=True):
        windows = subject.windows(encoded)
        outputs = _answers(subject, encoded, windows, [ner.ask(window, output=head.output) for window in windows])
        logits = ner.merge(outputs, windows, output=head.output)
        decoded = ner.decode(logits, encoded, text, tags=head.labels, decoding=ner.Decoding())
        found.append({Span(start=one.start, end=one.end, label=one.label) for one in decoded})
    return found


def embeddings(subject: Subject, head: HeadSpec, texts: Sequence[str]) -> FloatArray:
    """Unit vectors of the texts, `[D, C]`."""
    if head.pooling is None:
        raise TrainingError(f"head {head.name!r} has no pooling")
    vectors = []
    for encoded in _encoded(subject, texts):
        windows = subject.windows(encoded)
        asks = [embed.ask(window, pooling=head.pooling, only=len(windows) == 1) for window in windows]
        merged = embed.merge(_answers(subject, encoded, windows, asks), windows, pooling=head.pooling)
        vectors.append(embed.finish(merged, normalize=True, dimensions=None))
    return np.stack(vectors)


def masked_words(subject: Subject, head: HeadSpec, texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Accuracy and perplexity on 15 % masked words, by length of the window; long documents give their first window."""
    random = np.random.default_rng(MASKING_SEED)
    special, block = Special.of(subject.spec), subject.model.longformer.config.block
    sums: dict[int, list[float]] = {edge: [0.0, 0.0, 0.0] for edge in LENGTH_EDGES}
    for encoded in _encoded(subject, texts):
        capacity = subject.model.longformer.config.max_tokens - subject.tokenizer.specials
        ids = with_specials(encoded.ids[:capacity], special)
        masked, chosen = mask_tokens(ids, special, random, share=0.15)
        example = Example(ids=masked, slots={head.output: chosen}, wanted={head.output: ids[chosen]})
        batch = collate([example], block=block, heads=(head.output,))
        logits = torch.from_numpy(forward(subject.model.eval(), batch.packed).rows[head.output])
        wanted = torch.from_numpy(batch.wanted[head.output])
        edge = next((edge for edge in LENGTH_EDGES if len(ids) <= edge), LENGTH_EDGES[-1])
        found = (
            float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")),
            float((logits.argmax(-1) == wanted).sum()),
            float(len(wanted)),
        )
        sums[edge] = [total + value for total, value in zip(sums[edge], found, strict=True)]
    return {
        f"up_to_{edge}": {"perplexity": math.exp(loss / count), "accuracy": right / count, "masked": count}
        for edge, (loss, right, count) in sums.items()
        if count
    }


def score(subject: Subject, folder: DataFolder, test: TestSet) -> dict[str, Any]:
    """The scores of one head on one split of one set."""
    head = subject.heads[test.head]
    records = list(folder.records(test.set, test.split))
    match head.task:
        case "classify":
            found = classes(subject, head, [record["text"] for record in records])
            return _shown(label_scores([record["labels"] for record in records], [{label} for label in found]))
        case "ner":
            spans = entities(subject, head, [record["text"] for record in records])
            return _shown(span_scores([set(spans_of(record)) for record in records], spans))
        case "embed":
            first, second = (embeddings(subject, head, [record[key] for record in records]) for key in ("text1", "text2"))
            return {"spearman": spearman([record["score"] for record in records], (first * second).sum(axis=1).tolist())}
        case "fill-mask":
            return dict(masked_words(subject, head, [record["text"] for record in records]))
        case task:
            raise TrainingError(f"no score is known for task {task!r}")


def run(recipe: EvaluationRecipe, *, trained_model: Path, folder: DataFolder, output: Path) -> dict[str, Any]:
    """Score a trained folder on every test set of the recipe, into a JSON file."""
    subject = Subject.load(trained_model)
    found: dict[str, Any] = {}
    for test in recipe.tests:
        found[test.key] = score(subject, folder, test)
        output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def _encoded(subject: Subject, texts: Sequence[str]) -> list[Encoded]:
    groups = (texts[i : i + ENCODE_BATCH] for i in range(0, len(texts), ENCODE_BATCH))
    return [encoded for group in groups for encoded in subject.tokenizer.encode_batch(group)]


def _answers(subject: Subject, encoded: Encoded, windows: Sequence[Window], asks: Sequence[Any]) -> list[WindowOutput]:
    asked = [
        ask.about(subject.tokenizer.with_specials(encoded.ids[window.start : window.stop]), global_slots=GLOBAL_SLOTS)
        for window, ask in zip(windows, asks, strict=True)
    ]
    return answer(subject.model, asked)


def _shown(scores: Scores) -> dict[str, Any]:
    return {"micro": asdict(scores.micro), "macro_f1": scores.macro_f1} | {
        "by_label": {label: asdict(one) for label, one in scores.by_label.items()}
    }
