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


_MODEL = {"name": "drlongformer-mini", "version": 2, "sha256": "31e34ab77d2a", "precision": "fp32"}
_TEXT = "Patient de 64 ans, toux et fièvre depuis trois jours. Pas de douleur thoracique."


def _answer(tokens: int, /, **own: Any) -> dict[str, Any]:
    return _answers({"tokens": tokens} | own, tokens=tokens)


def _answers(*own: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    results = [{"index": index, "tokens": 0, "windows": 1, "truncated": False, **each} for index, each in enumerate(own)]
    return {"model": _MODEL, "results": results, "usage": {"documents": len(results), "tokens": tokens}}


EXAMPLES: Mapping[str, Example] = {
    "/embed": Example(
        request={"inputs": [{"id": "a", "text": _TEXT}], "pooling": "mean", "dimensions": 4},
        answer=_answer(21, id="a", embedding=[0.546, -0.665, 0.503, 0.077], embedding_space="053865d624891577"),
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
