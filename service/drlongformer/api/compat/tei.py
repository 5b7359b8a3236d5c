"""`/tei/...` as clients of text-embeddings-inference know it (router/src/http/types.rs there).

`truncate` asks TEI to cut what is longer than its model reads. Here longer texts are read in windows, so nothing is cut,
whether a client sends `truncate` or not (LlamaIndex always does); a text over the service's own limit is refused. The root
answers as TEI's own does: with vectors where a model embeds, else with classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BeforeValidator, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from drlongformer import __version__
from drlongformer.api.compat import asking
from drlongformer.api.compat.asking import Asked
from drlongformer.api.compat.bodies import COMMON, json_list, plain_texts, translated, with_checked_cut
from drlongformer.api.compat.similarities import SIMILARITY
from drlongformer.api.inputs import OWN, DocumentBody
from drlongformer.api.requests import ClassifyRequest, EmbedRequest, TokenizeRequest
from drlongformer.api.routes import Service
from drlongformer.serving.models import ServedModel
from drlongformer.serving.requests import Answer, Embedding, TokenSpan
from drlongformer.tasks.classify import LabelScore

_IGNORED: Mapping[str, str | None] = {"truncate": None, "truncation_direction": None}
_Texts = Annotated[list[DocumentBody], BeforeValidator(plain_texts)]


class TeiEmbedRequest(EmbedRequest):
    """`POST /tei/embed`."""

    inputs: _Texts

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, value: Any) -> Any:
        names = {"inputs": "inputs", "normalize": "normalize", "dimensions": "dimensions", "pooling": "pooling"}
        return translated(with_checked_cut(value), {**names, **_IGNORED, **COMMON})


def _sequences(value: Any, info: ValidationInfo) -> list[dict[str, str]]:
    """TEI writes several texts as `[["one"], ["two"]]`; `["one", "two"]` is a pair there."""
    if isinstance(value, list) and value and all(isinstance(part, list) for part in value):
        if any(len(part) != 1 for part in value):
            raise PydanticCustomError(OWN, "holds pairs of texts, which no model here classifies; send [[text], [text], ...]")
        return plain_texts([part[0] for part in value], info)
    if isinstance(value, list) and len(value) != 1:
        raise PydanticCustomError(OWN, "is a pair of texts, which no model here classifies; send [[text], [text], ...]")
    return plain_texts(value, info)


class TeiPredictRequest(ClassifyRequest):
    """`POST /tei/predict`."""

    inputs: Annotated[list[DocumentBody], BeforeValidator(_sequences)]
    several: bool = False

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, value: Any) -> Any:
        value = translated(with_checked_cut(value), {"inputs": "inputs", "raw_scores": "raw_scores", **_IGNORED, **COMMON})
        if not isinstance(value, Mapping):
            return value
        raw, sent = value.get("raw_scores", False), value.get("inputs")
        if not isinstance(raw, bool):
            raise PydanticCustomError(OWN, "raw_scores: must be true or false")
        rest = {name: field for name, field in value.items() if name != "raw_scores"}
        several = isinstance(sent, list) and any(isinstance(part, list) for part in sent)
        return rest | {"several": several} | ({"function": "none"} if raw else {})


class TeiTokenizeRequest(TokenizeRequest):
    """`POST /tei/tokenize`."""

    inputs: _Texts
    add_special_tokens: bool = True

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, value: Any) -> Any:
        names = {"inputs": "inputs", "add_special_tokens": "add_special_tokens"}
        return translated(with_checked_cut(value), {**names, **_IGNORED, **COMMON})


def _vectors(_request: TeiEmbedRequest, answer: Answer[Embedding], _instance: str) -> Iterator[bytes]:
    return json_list(found.vector.tolist() for found in asking.answers(answer))


def _predictions(request: TeiPredictRequest, answer: Answer[tuple[LabelScore, ...]], _instance: str) -> Iterator[bytes]:
    found = [[{"score": each.score, "label": each.label} for each in labels] for labels in asking.answers(answer)]
    return json_list(found if request.several else found[0])


def _tokens(service: Service, request: TeiTokenizeRequest, answer: Answer[Sequence[TokenSpan]]) -> Iterator[bytes]:
    """Content tokens as the text they stand for, and around them the specials of one window, which stand for none."""
    identity = answer.model
    first, last = _specials(service.models.get(f"{identity.name}:{identity.version}", None))
    for index, (document, found) in enumerate(zip(request.inputs, asking.answers(answer), strict=True)):
        content = (
            {
                "id": each.id,
                "text": document.text[each.start : each.end],
                "special": False,
                "start": each.start,
                "stop": each.end,
            }
            for each in found
        )
        yield b"," if index else b"["
        yield from json_list([first, *content, last] if request.add_special_tokens else content)
    yield b"]"


def _specials(model: ServedModel) -> list[dict[str, Any]]:
    ids = model.tokenizer.with_specials(np.empty(0, dtype=np.int64))
    return [
        {"id": int(each), "text": model.tokenizer.token(int(each)), "special": True, "start": None, "stop": None}
        for each in ids
    ]


EMBED = Asked(request=TeiEmbedRequest, answer=asking.embed, shape=_vectors)
PREDICT = Asked(request=TeiPredictRequest, answer=asking.classify, shape=_predictions)


def add_routes(router: APIRouter, service: Service) -> None:
    """Add the surface's routes."""
    tokens = Asked(
        request=TeiTokenizeRequest,
        answer=asking.tokenize,
        shape=lambda request, answer, _instance: _tokens(service, request, answer),
    )

    @router.post("/tei/embed")
    async def embed(request: Request) -> Response:
        return await EMBED.respond(service, request)

    @router.post("/tei/predict")
    async def predict(request: Request) -> Response:
        return await PREDICT.respond(service, request)

    @router.post("/tei/similarity")
    async def similarity(request: Request) -> Response:
        return await SIMILARITY.respond(service, request)

    @router.post("/tei/tokenize")
    async def tokenize(request: Request) -> Response:
        return await tokens.respond(service, request)

    @router.post("/tei")
    async def root(request: Request) -> Response:
        embeds = any("embed" in model.bundle.tasks for model in service.models)
        return await (EMBED if embeds else PREDICT).respond(service, request)

    @router.get("/tei/health")
    async def health() -> Response:
        service.lifecycle.require_ready()
        service.models.require_alive()
        return JSONResponse({"status": "ready"})

    @router.get("/tei/info")
    async def info() -> Response:
        return JSONResponse(_info(service))


def _info(service: Service) -> dict[str, Any]:
    """The model that embeds, else the first that is served; limits are this service's own."""
    embedding = [model for model in service.models if "embed" in model.bundle.tasks]
    model = (embedding or list(service.models))[0]
    limits, manifest = service.settings.limits, model.bundle.manifest
    if embedding:
        kind: dict[str, Any] = {"embedding": {"pooling": model.bundle.head("embed", None).pooling or "mean"}}
    else:
        labels = model.bundle.head("classify", None).labels if "classify" in model.bundle.tasks else ()
        by_id = dict(enumerate(labels))
        kind = {"classifier": {"id2label": by_id, "label2id": {label: index for index, label in by_id.items()}}}
    return {
        "model_id": model.identity.name,
        "model_sha": model.identity.sha256,
        "model_dtype": {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}.get(
            model.identity.precision, model.identity.precision
        ),
        "model_type": kind,
        "max_concurrent_requests": limits.max_documents,
        "max_input_length": manifest.max_tokens,
        "max_batch_tokens": service.settings.batching.max_queue_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": limits.max_documents,
        "auto_truncate": False,
        "tokenization_workers": 1,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }
