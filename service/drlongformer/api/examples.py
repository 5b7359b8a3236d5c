"""One request and its answer for every task route, shown in `/docs` and `/openapi.json`.

Answers have the true shape and exact offsets; their scores and vectors depend on the model. Tests send every request here, and
read every answer with the model of its route.
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


_MODEL = {"name": "drlongformer-mini", "version": 1, "sha256": "3f1c0a9d5e72", "precision": "fp32"}
_TEXT = "Patient de 64 ans, toux et fièvre depuis trois jours. Pas de douleur thoracique."


def _answer(tokens: int, /, **own: Any) -> dict[str, Any]:
    result = {"index": 0, "tokens": tokens, "windows": 1, "truncated": False} | own
    return {"model": _MODEL, "results": [result], "usage": {"documents": 1, "tokens": tokens}}


EXAMPLES: Mapping[str, Example] = {
    "/embed": Example(
        request={"inputs": [{"id": "a", "text": _TEXT}], "pooling": "mean", "dimensions": 4},
        answer=_answer(24, id="a", embedding=[0.53, -0.22, 0.71, 0.41], embedding_space="9b0c4f21d8aa"),
    ),
    "/ner": Example(
        request={"inputs": _TEXT, "min_score": 0.5, "return_text": True},
        answer=_answer(
            24,
            entities=[
                {"label": "CLINENTITY", "start": 19, "end": 23, "text": "toux", "score": 0.93},
                {"label": "CLINENTITY", "start": 27, "end": 33, "text": "fièvre", "score": 0.91},
            ],
        ),
    ),
    "/classify": Example(
        request={"inputs": _TEXT, "top_k": 2},
        answer=_answer(24, labels=[{"label": "R", "score": 0.61}, {"label": "J", "score": 0.17}]),
    ),
    "/fill-mask": Example(
        request={"inputs": "Le patient souffre de <mask> chronique.", "top_k": 1},
        answer=_answer(
            10, masks=[{"start": 22, "end": 28, "predictions": [{"token": " douleur", "token_id": 1423, "score": 0.31}]}]
        ),
    ),
    "/tokenize": Example(
        request={"inputs": "Pas de fièvre."},
        answer=_answer(
            6,
            tokens=[
                {"id": 512, "token": "Pas", "start": 0, "end": 3},
                {"id": 268, "token": "Ġde", "start": 4, "end": 6},
                {"id": 2718, "token": "ĠfiÃ¨vre", "start": 7, "end": 13},
                {"id": 14, "token": ".", "start": 13, "end": 14},
            ],
            count=4,
        ),
    ),
}
