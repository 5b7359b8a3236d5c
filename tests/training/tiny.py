"""A made-up data folder, and a recipe small enough to run whole in seconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from drlongformer.model.longformer import LongformerConfig
from drlongformer.training.corpus import DataFolder
from drlongformer.training.lessons import (
    ChoiceSource,
    ClassSource,
    KinSource,
    PairSource,
    RawSource,
    SpanAnnotation,
    SpanSource,
)
from drlongformer.training.recipes import (
    BatchRecipe,
    CorpusRecipe,
    EvaluationRecipe,
    FinetuningRecipe,
    OptimisationRecipe,
    Recipe,
    TestSet,
    TokenizerRecipe,
)

LEAFLETS = {
    "C10": "Ce médicament abaisse le cholestérol dans le sang. Prendre un comprimé le soir, à heure fixe.",
    "C07": "Ce médicament ralentit le cœur et abaisse la tension. Ne pas arrêter le traitement sans avis.",
    "N02": "Ce médicament calme la douleur et la fièvre. Ne pas dépasser quatre comprimés par jour.",
    "N05": "Ce médicament aide à trouver le sommeil. Prendre un comprimé au coucher, avec un verre d'eau.",
}
CASE = "L'hôpital reçoit un patient de 55 ans pour une fièvre à 38,5 °C, sans toux ni douleur."
SPANS = (("un patient de 55 ans", "ACTOR"), ("fièvre", "CLINENTITY"), ("toux", "CLINENTITY"), ("douleur", "CLINENTITY"))


def data_folder(folder: Path) -> Path:
    """Sets of every task, and one whose policy forbids training."""
    leaflets = [
        {
            "id": f"{code}-{copy}",
            "text": f"{text} Notice {copy}. {text}",
            "labels": [code[0]],
            "meta": {"atc": code, "sections": [18]},
        }
        for code, text in LEAFLETS.items()
        for copy in range(3)
    ]
    case: dict[str, Any] = {"id": "cas-1", "text": CASE, "entities": [_span(mention, label) for mention, label in SPANS]}
    clinical = case | {"entities": [span for span in case["entities"] if span["label"] == "CLINENTITY"]}
    pairs = [
        {"id": "p1", "text1": LEAFLETS["C10"], "text2": LEAFLETS["C07"], "score": 1.0},
        {"id": "p2", "text1": LEAFLETS["C10"], "text2": LEAFLETS["N05"], "score": 0.0},
        {"id": "p3", "text1": LEAFLETS["N02"], "text2": LEAFLETS["N02"], "score": 5.0},
    ]
    questions = [
        {"id": "q1", "question": "Que calme ce médicament ?", "options": {"a": "la douleur", "b": "la toux"}, "answers": ["a"]},
        {
            "id": "q2",
            "question": "Que faut-il éviter ?",
            "options": {"a": "rien", "b": "arrêter", "c": "dépasser la dose"},
            "answers": ["b", "c"],
            "context": LEAFLETS["C07"],
        },
    ]
    raw = [{"id": str(i), "text": f"{CASE} Le cas numéro {i} guérit en {i} jours. {CASE}"} for i in range(4)]
    sets: dict[str, tuple[str, dict[str, list[dict[str, Any]]]]] = {
        "leaflets": ("train-nc", {"train": leaflets, "dev": leaflets[:4]}),
        "temporal": ("train-nc", {"train": [case], "test": [case]}),
        "clinical": ("train-nc", {"train": [clinical], "dev": [clinical]}),
        "pairs": ("train-nc", {"train": pairs, "dev": pairs}),
        "questions": ("train", {"train": questions, "dev": questions}),
        "raw": ("train", {"train": raw, "dev": raw[:1]}),
        "closed": ("local-only", {"train": raw}),
    }
    manifest = {
        name: {"policy": policy, "licence": "made up", "files": _written(folder / name, splits)}
        for name, (policy, splits) in sets.items()
    }
    (folder / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def opened(folder: Path) -> DataFolder:
    return DataFolder(data_folder(folder), policies=("train", "train-nc"))


def architecture(vocab_size: int = 400) -> LongformerConfig:
    """Two layers of 16 columns, windows of different size, 62 tokens."""
    return LongformerConfig(
        vocab_size=vocab_size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        attention_window=(4, 8),
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.0,
        block=4,
    )


def recipe() -> Recipe:
    """Every stage and every kind of source, a few steps each."""
    few = OptimisationRecipe(learning_rate=1e-2, steps=4, warmup_steps=2, log_steps=2, held_out_steps=2)
    return Recipe(
        name="tiny",
        revision=1,
        seed=3,
        description="A model for tests.",
        licence="made up",
        architecture=architecture(),
        tokenizer=TokenizerRecipe(vocab_size=400, min_documents=2),
        corpus=CorpusRecipe(sets=("leaflets", "raw"), held_out=("leaflets", "raw"), labelled="leaflets", head="atc"),
        batches=BatchRecipe(batch_tokens=96, window_tokens=(62, 20)),
        pretraining=few,
        finetuning=FinetuningRecipe(
            optimisation=few,
            sources=(
                ClassSource(
                    head="atc",
                    set="leaflets",
                    code="atc",
                    body="sections",
                    levels=(1, 3),
                    pairs=2,
                    window_tokens=(40,),
                    masked_chance=0.5,
                ),
                SpanSource(
                    annotations=(
                        SpanAnnotation(head="temporal", set="temporal"),
                        SpanAnnotation(head="clinical", set="clinical"),
                    ),
                    documents=1,
                ),
                RawSource(sets=("raw",), documents=1, window_tokens=(20,)),
                PairSource(set="pairs", pairs=2, head="similarity", contrastive=True),
                KinSource(
                    head="similarity", set="leaflets", code="atc", body="sections", levels=(1, 3), pairs=1, text_tokens=20
                ),
                ChoiceSource(head="choice", set="questions", questions=2, several=True),
            ),
            weights=(("mlm", 0.5),),
        ),
        evaluation=EvaluationRecipe(
            tests=(
                TestSet(head="atc", set="leaflets", split="dev"),
                TestSet(head="temporal", set="temporal", split="test"),
                TestSet(head="embedding", set="pairs", split="dev", baseline="0.80 (guessing)"),
                TestSet(head="mlm", set="raw", split="dev"),
            )
        ),
    )


def with_steps(whole: Recipe, steps: int) -> Recipe:
    """The recipe with pretraining of so many steps; the schedule is that of the change too."""
    return replace(whole, pretraining=replace(whole.pretraining, steps=steps))


def _span(mention: str, label: str) -> dict[str, Any]:
    start = CASE.index(mention)
    return {"start": start, "end": start + len(mention), "label": label}


def _written(folder: Path, splits: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, Any]:
    folder.mkdir(parents=True)
    entries = {}
    for split, records in splits.items():
        content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
        (folder / f"{split}.jsonl").write_bytes(content)
        entries[f"{split}.jsonl"] = {"sha256": hashlib.sha256(content).hexdigest()}
    return entries
