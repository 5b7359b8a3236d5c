"""`{"source_sentence", "sentences"}`, which the surfaces of Hugging Face and of text-embeddings-inference have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from drlongformer.api.compat import asking
from drlongformer.api.compat.asking import Asked
from drlongformer.api.compat.bodies import COMMON, json_list, translated, with_checked_cut, with_parameters
from drlongformer.api.inputs import OWN
from drlongformer.api.requests import SimilarityRequest
from drlongformer.serving.requests import Answer, Similarity

_IGNORED = {"truncate": None, "truncation_direction": None}


class SourceRequest(SimilarityRequest):
    """One sentence to compare with several; nothing is cut, so `truncate` has no effect."""

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            with_checked_cut(value.get("parameters"))
        value = with_parameters(value, {"inputs": "inputs", "options": None, **COMMON}, _IGNORED)
        if isinstance(value, Mapping) and "inputs" in value:
            if not isinstance(value["inputs"], Mapping):
                raise PydanticCustomError(OWN, 'inputs: must be an object with "source_sentence" and "sentences"')
            value = {**value, "inputs": translated(value["inputs"], {"source_sentence": "source", "sentences": "sentences"})}
        return value


def _scores(_request: SourceRequest, answer: Answer[Similarity], _instance: str) -> Iterator[bytes]:
    return json_list(found.score for found in asking.answers(answer))


SIMILARITY = Asked(request=SourceRequest, answer=asking.cosine, shape=_scores)
