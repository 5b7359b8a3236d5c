"""One request and its answer for every task route, shown in `/docs` and `/openapi.json`.

The answers are those of the embedded model, with rounded numbers. Tests send every request here, and read every answer with the
model of its route.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A body to send, and a body that may come back."""

    request: Mapping[str, Any]
    answer: Mapping[str, Any]


_MODEL = {"name": "drlongformer-mini", "version": 3, "sha256": "4a71e5b4c09a", "precision": "fp32"}
_TEXT = "Patient de 64 ans, toux et fièvre depuis trois jours. Pas de douleur thoracique."


def _answer(tokens: int, /, **own: Any) -> dict[str, Any]:
    return _answers({"tokens": tokens} | own, tokens=tokens)


def _answers(*own: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    results = [{"index": index, "tokens": 0, "windows": 1, "truncated": False, **each} for index, each in enumerate(own)]
    return {"model": _MODEL, "results": results, "usage": {"documents": len(results), "tokens": tokens}}


EXAMPLES: Mapping[str, Example] = {
    "/embed": Example(
        request={"inputs": [{"id": "a", "text": _TEXT}], "pooling": "mean", "dimensions": 4},
        answer=_answer(21, id="a", embedding=[0.546, -0.665, 0.503, 0.077], embedding_space="66c088d08678f856"),
    ),
    "/ner": Example(
        request={"inputs": _TEXT, "min_score": 0.5, "return_text": True},
        answer=_answer(
            21,
            entities=[
                {"label": "ACTOR", "start": 0, "end": 17, "text": "Patient de 64 ans", "score": 0.999},
                {"label": "TIMEX3", "start": 41, "end": 52, "text": "trois jours", "score": 1.0},
                {"label": "CLINENTITY", "start": 61, "end": 79, "text": "douleur thoracique", "score": 0.878},
            ],
        ),
    ),
    "/classify": Example(
        request={"inputs": _TEXT, "top_k": 2},
        answer=_answer(
            21, labels=[{"label": "N_systeme_nerveux", "score": 0.978}, {"label": "R_respiratoire", "score": 0.012}]
        ),
    ),
    "/analyze": Example(
        request={"inputs": _TEXT, "tasks": ["ner", "classify"], "ner": {"min_score": 0.9}, "classify": {"top_k": 1}},
        answer=_answer(
            21,
            entities=[
                {"label": "ACTOR", "start": 0, "end": 17, "text": "Patient de 64 ans", "score": 0.999},
                {"label": "TIMEX3", "start": 41, "end": 52, "text": "trois jours", "score": 1.0},
            ],
            labels=[{"label": "N_systeme_nerveux", "score": 0.978}],
        ),
    ),
    "/fill-mask": Example(
        request={"inputs": "Le patient souffre de <mask> chronique.", "top_k": 1},
        answer=_answer(
            10, masks=[{"start": 22, "end": 28, "predictions": [{"token": " maladie", "token_id": 863, "score": 0.068}]}]
        ),
    ),
    "/similarity": Example(
        request={"inputs": {"source": "Toux et fièvre.", "sentences": ["Le malade tousse.", "Fracture du poignet."]}},
        answer=_answers(
            {"tokens": 14, "windows": 2, "score": 0.795, "method": "cosine"},
            {"tokens": 15, "windows": 2, "score": 0.361, "method": "cosine"},
            tokens=22,
        ),
    ),
    "/multiple-choice": Example(
        request={
            "inputs": {
                "question": "Que prescrire pour la fièvre ?",
                "options": {"a": "du paracétamol", "b": "un plâtre", "c": "une coronarographie"},
                "context": _TEXT,
            }
        },
        answer=_answer(
            40,
            windows=3,
            choices=[{"option": "a", "score": 0.38}, {"option": "b", "score": 0.328}, {"option": "c", "score": 0.339}],
            answer=["a"],
        ),
    ),
    "/tokenize": Example(
        request={"inputs": "Pas de fièvre."},
        answer=_answer(
            7,
            tokens=[
                {"id": 51, "token": "P", "start": 0, "end": 1},
                {"id": 317, "token": "as", "start": 1, "end": 3},
                {"id": 272, "token": "Ġde", "start": 4, "end": 6},
                {"id": 1458, "token": "ĠfiÃ¨vre", "start": 7, "end": 13},
                {"id": 17, "token": ".", "start": 13, "end": 14},
            ],
            count=5,
        ),
    ),
}

_SUMMARY: Mapping[str, Any] = {
    **_MODEL,
    "device": "cpu",
    "tasks": ["fill-mask", "classify", "ner", "multiple-choice", "embed"],
    "max_tokens": 4096,
    "description": "A small French medical Longformer for trying the service out. Not for clinical use.",
}

_HEAD: Mapping[str, Any] = {
    "name": "clinical",
    "task": "ner",
    "labels": ["O", "B-CLINENTITY", "I-CLINENTITY"],
    "global_attention": "first",
    "pooling": None,
    "function": None,
    "thresholds": {},
    "window_merge": "mean",
    "score_range": None,
    "layout": None,
    "trained": True,
}

READ: Mapping[str, Any] = {
    "/models": {"models": [_SUMMARY]},
    "/models/{name}": {
        **_SUMMARY,
        "versions": [2],
        "mask_token": "<mask>",
        "normalisation": [],
        "heads": [_HEAD],
        "limits": {
            "max_tokens": 4096,
            "window_overlap": 512,
            "max_windows": 64,
            "max_characters": 1_000_000,
            "max_documents": 64,
            "max_answer_items": 200_000,
            "max_body_bytes": 8_388_608,
            "request_seconds": 300.0,
        },
        "provenance": {
            "base_model": None,
            "base_revision": None,
            "licence": "CC-BY-NC-4.0",
            "patient_data": False,
            "training": {"recipe": {"name": "mini", "seed": 20261122}},
        },
        "scores": {},
    },
    "/livez": {"status": "alive"},
    "/readyz": {"status": "ready"},
    "/health": {"status": "ready"},
    "/usage": {
        "since": "2026-11-22T06:00:00Z",
        "usage": [
            {
                "day": "2026-11-22",
                "key": "entrepot-sante",
                "requests": 1204,
                "documents": 38_211,
                "tokens": 41_377_902,
                "refused": {"overloaded": 3, "document-too-long": 1},
            }
        ],
    },
    "/debug/slow": {
        "of": 2000,
        "requests": [
            {
                "time": "2026-11-22T08:14:37.236446Z",
                "request_id": "crh-2026-11-22.0042",
                "route": "/ner",
                "status": 200,
                "problem": None,
                "model": "drlongformer-mini:3",
                "total_seconds": 0.772553,
                "tokenize_seconds": 0.080866,
                "queue_seconds": 0.000469,
                "compute_seconds": 0.661504,
                "queue_tokens": 0,
                "batch_documents": 1,
                "batch_windows": 1,
                "batch_tokens": 128,
                "documents": 1,
                "tokens": "le32",
                "body_bytes": "le128",
            }
        ],
    },
    "/metrics": (
        "# HELP drlongformer_ready Whether the service is ready.\n# TYPE drlongformer_ready gauge\ndrlongformer_ready 1.0\n"
    ),
}
"""An answer of every route that only tells."""
