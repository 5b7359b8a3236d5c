"""`/v1/embeddings` and `/v1/models` as the `openai` SDK and everything built on it know them.

The SDK asks for base64 unless told otherwise. Lists of token ids, which LangChain sends by default, are ids of another
vocabulary: they are refused, and the error says what to set.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from drlongformer.api.compat import asking
from drlongformer.api.compat.asking import Asked
from drlongformer.api.compat.bodies import COMMON, json_bytes, texts, translated
from drlongformer.api.inputs import OWN, DocumentBody
from drlongformer.api.requests import EmbedRequest
from drlongformer.api.routes import Service
from drlongformer.serving.models import ServedModel
from drlongformer.serving.requests import Answer, Embedding

MAX_INPUTS: Final = 2048
_NAMES: Final[Mapping[str, str | None]] = {
    "input": "inputs",
    "encoding_format": "encoding",
    "dimensions": "dimensions",
    "user": None,
    "pooling": "pooling",
    "normalize": "normalize",
    **COMMON,
}


def _input(value: Any) -> list[dict[str, str]]:
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, int) or (isinstance(first, list) and all(isinstance(part, int) for part in first)):
        raise PydanticCustomError(
            OWN,
            "holds token ids, which belong to another model's vocabulary; send texts "
            "(LangChain's OpenAIEmbeddings: check_embedding_ctx_length=False)",
        )
    return texts(value, most=MAX_INPUTS)


class EmbeddingsRequest(EmbedRequest):
    """`POST /v1/embeddings`; fields of ours may be sent besides (the SDK's `extra_body`)."""

    inputs: Annotated[list[DocumentBody], BeforeValidator(_input)]

    @model_validator(mode="before")
    @classmethod
    def _translate(cls, value: Any) -> Any:
        return translated(value, _NAMES)


def _embeddings(request: EmbeddingsRequest, answer: Answer[Embedding], _instance: str) -> Iterator[bytes]:
    yield b'{"object":"list","data":['
    for index, found in enumerate(asking.answers(answer)):
        packed = base64.b64encode(found.vector.astype("<f4").tobytes()).decode("ascii")
        vector = packed if request.encoding == "base64" else found.vector.tolist()
        comma = b"," if index else b""
        yield comma + json_bytes({"object": "embedding", "index": index, "embedding": vector})
    usage = {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens}
    yield b'],"model":' + json_bytes(answer.model.name) + b',"usage":' + json_bytes(usage) + b"}"


EMBEDDINGS = Asked(request=EmbeddingsRequest, answer=asking.embed, shape=_embeddings)


def add_routes(router: APIRouter, service: Service) -> None:
    """Add the surface's routes."""

    @router.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        return await EMBEDDINGS.respond(service, request)

    @router.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": [_model(service, model) for model in service.models]})

    @router.get("/v1/models/{name}")
    async def model(name: str) -> Response:
        return JSONResponse(_model(service, service.models.get(name, None)))


def _model(service: Service, model: ServedModel) -> dict[str, Any]:
    """`created` is when this process began to serve: bundles carry no date."""
    return {
        "id": model.identity.name,
        "object": "model",
        "created": int(service.since.timestamp()),
        "owned_by": "drlongformer",
    }
