"""`/hf/{task}` as `huggingface_hub.InferenceClient(model="http://host/hf/ner")` knows it.

Tasks have our names or Hugging Face's own (`ner`, `token-classification`). A string is answered as the hub answers one text, a
list of strings with a list of such answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BeforeValidator, model_validator
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException

from drlongformer.api.compat import asking
from drlongformer.api.compat.asking import Asked
from drlongformer.api.compat.bodies import COMMON, KEPT, json_list, plain_texts, with_checked_cut, with_parameters
from drlongformer.api.compat.similarities import SIMILARITY
from drlongformer.api.inputs import OWN, DocumentBody
from drlongformer.api.requests import ClassifyRequest, EmbedRequest, FillMaskRequest, NerRequest, TextRequest, Words
from drlongformer.api.routes import Service
from drlongformer.serving.requests import Answer, Embedding, Entities
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.fill_mask import MaskPredictions
from drlongformer.tasks.ner import Entity

_INPUTS: Mapping[str, str | None] = {"inputs": "inputs", "options": None, **COMMON}
_Texts = Annotated[list[DocumentBody], BeforeValidator(plain_texts)]


def _with_form(value: Any) -> Any:
    """Whether one text was sent or a list stays known after both have become a list."""
    return {**value, "several": isinstance(value.get("inputs"), list)} if isinstance(value, Mapping) else value


class HubNerRequest(NerRequest):
    """Token classification; `ignore_labels` are left out of the answer."""

    inputs: _Texts
    several: bool = False
    ignore_labels: Words | None = None

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, value: Any) -> Any:
        own = {
            "aggregation_strategy": "aggregation",
            "ignore_labels": "ignore_labels",
            "labels": "labels",
            "min_score": "min_score",
        }
        return _with_form(with_parameters(value, _INPUTS, own))


class HubClassifyRequest(ClassifyRequest):
    """Text classification."""

    inputs: _Texts
    several: bool = False

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, value: Any) -> Any:
        return _with_form(with_parameters(value, _INPUTS, {"function_to_apply": "function", "top_k": "top_k"}))


class HubFillMaskRequest(FillMaskRequest):
    """Fill-mask."""

    inputs: _Texts
    several: bool = False

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, value: Any) -> Any:
        return _with_form(with_parameters(value, _INPUTS, {"top_k": "top_k", "targets": "targets"}))


class HubEmbedRequest(EmbedRequest):
    """Feature extraction, whose parameters stand beside `inputs`; with `truncate` a long text is cut, else read in windows."""

    inputs: _Texts
    several: bool = False

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, value: Any) -> Any:
        names = {name: name for name in ("normalize", "dimensions", "pooling", "truncate", "truncation_direction")}
        value = with_parameters(value, {**_INPUTS, **names}, names)
        return _with_form(_with_cut(value) if isinstance(value, Mapping) else value)


def _with_cut(value: Mapping[str, Any]) -> dict[str, Any]:
    """`truncate` in our words."""
    with_checked_cut(value)
    cut, direction = value.get("truncate", False), value.get("truncation_direction")
    if direction is not None and not cut:
        raise PydanticCustomError(OWN, "truncation_direction: says which side is cut; nothing is without truncate")
    rest = {name: field for name, field in value.items() if name not in ("truncate", "truncation_direction")}
    kept = KEPT[(direction or "right").lower()]
    return rest | ({"overflow": "truncate", "truncate_side": kept} if cut else {})


def _one_or_all(request: TextRequest, found: list[Any]) -> Any:
    return found if getattr(request, "several", False) else found[0]


def _entities(request: HubNerRequest, answer: Answer[Entities], _instance: str) -> Iterator[bytes]:
    ignored = frozenset(request.ignore_labels or ())
    field = "entity" if request.aggregation == "none" else "entity_group"

    def told(entity: Entity) -> dict[str, Any]:
        return {field: entity.label, "score": entity.score, "word": entity.text, "start": entity.start, "end": entity.end}

    found = [[told(each) for each in one.entities if each.label not in ignored] for one in asking.answers(answer)]
    return json_list(_one_or_all(request, found))


def _labels(_request: HubClassifyRequest, answer: Answer[tuple[LabelScore, ...]], _instance: str) -> Iterator[bytes]:
    """A list for each text, also where there is only one: so the hub answers."""
    return json_list([{"label": each.label, "score": each.score} for each in labels] for labels in asking.answers(answer))


def _masks(request: HubFillMaskRequest, answer: Answer[tuple[MaskPredictions, ...]], _instance: str) -> Iterator[bytes]:
    """The words of the one mask, or a list for each of several."""
    found = []
    for document, masks in zip(request.inputs, asking.answers(answer), strict=True):
        words = [_words(document.text, mask) for mask in masks]
        found.append(words[0] if len(words) == 1 else words)
    return json_list(_one_or_all(request, found))


def _words(text: str, mask: MaskPredictions) -> list[dict[str, Any]]:
    before, after = text[: mask.start], text[mask.end :]
    spaced = not before or before[-1].isspace()
    return [
        {
            "score": each.score,
            "token": each.token_id,
            "token_str": each.token,
            "sequence": before + (each.token.lstrip() if spaced else each.token) + after,
        }
        for each in mask.predictions
    ]


def _vectors(_request: HubEmbedRequest, answer: Answer[Embedding], _instance: str) -> Iterator[bytes]:
    """`[n, d]`, also for one text."""
    return json_list(found.vector.tolist() for found in asking.answers(answer))


_NER = Asked(request=HubNerRequest, answer=asking.ner, shape=_entities)
_CLASSIFY = Asked(request=HubClassifyRequest, answer=asking.classify, shape=_labels)
_FILL_MASK = Asked(request=HubFillMaskRequest, answer=asking.fill_mask, shape=_masks)
_EMBED = Asked(request=HubEmbedRequest, answer=asking.embed, shape=_vectors)

TASKS: Final[Mapping[str, Asked[Any, Any]]] = {
    "ner": _NER,
    "token-classification": _NER,
    "classify": _CLASSIFY,
    "text-classification": _CLASSIFY,
    "fill-mask": _FILL_MASK,
    "embed": _EMBED,
    "feature-extraction": _EMBED,
    "similarity": SIMILARITY,
    "sentence-similarity": SIMILARITY,
}


def add_routes(router: APIRouter, service: Service) -> None:
    """Add the surface's routes."""

    @router.post("/hf/{task}")
    async def answer(task: str, request: Request) -> Response:
        if task not in TASKS:
            raise HTTPException(404, f"no such task; there are {', '.join(TASKS)}")
        return await TASKS[task].respond(service, request)
