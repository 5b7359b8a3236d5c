"""`/v2/...`: the Open Inference Protocol, as `tritonclient.http` and KServe speak it.

A model takes one input, `text` (BYTES), and has an output for each of its tasks: `embedding` as FP32 `[n, d]`, the others as
`[n]` JSON texts in BYTES, each a result as our own routes write it. A request asks for one output; without a wish it is the
model's first. `parameters` are the task's own fields; `timeout` is in microseconds, and `priority` 2 and above is our `bulk`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from drlongformer import __version__
from drlongformer.api import answers
from drlongformer.api.compat import asking
from drlongformer.api.compat.asking import Asked
from drlongformer.api.compat.bodies import json_bytes
from drlongformer.api.compat.tensors import HEADER, Inference, inference, packed
from drlongformer.api.requests import ClassifyRequest, EmbedRequest, FillMaskRequest, NerRequest, TokenizeRequest
from drlongformer.api.routes import LARGE_BYTES, Service, begin, require_coding
from drlongformer.api.schemas import CommonRequest, read
from drlongformer.errors import InvalidRequest
from drlongformer.serving.models import ServedModel
from drlongformer.serving.reading import Steps, finished
from drlongformer.serving.requests import Answer, Embedding
from drlongformer.types import HIDDEN

EMBEDDING: Final = "embedding"

OUTPUTS: Final[Mapping[str, Asked[Any, Any]]] = {
    EMBEDDING: Asked(request=EmbedRequest, answer=asking.embed, shape=answers.embed),
    "ner": Asked(request=NerRequest, answer=asking.ner, shape=answers.ner),
    "classify": Asked(request=ClassifyRequest, answer=asking.classify, shape=answers.classify),
    "fill-mask": Asked(request=FillMaskRequest, answer=asking.fill_mask, shape=answers.fill_mask),
    "tokenize": Asked(request=TokenizeRequest, answer=asking.tokenize, shape=answers.tokenize),
}


_NO_PLACE: Final[Mapping[str, str]] = {
    "chunks": "a tensor holds one vector for each document; /embed answers with chunks",
    "on_error": "a tensor holds a vector for each document and no problem; /embed reports each",
    "encoding": "a tensor's form is told by its binary_data",
}


def add_routes(router: APIRouter, service: Service) -> None:
    """Add the surface's routes."""

    @router.get("/v2/health/live")
    async def live() -> Response:
        service.models.require_alive()
        return JSONResponse({"live": True})

    @router.get("/v2/health/ready")
    async def ready() -> Response:
        service.lifecycle.require_ready()
        service.models.require_alive()
        return JSONResponse({"ready": True})

    @router.get("/v2")
    async def server() -> Response:
        return JSONResponse({"name": "drlongformer", "version": __version__, "extensions": ["binary_tensor_data"]})

    @router.get("/v2/models/{name}")
    @router.get("/v2/models/{name}/versions/{version}")
    async def metadata(name: str, version: str | None = None) -> Response:
        return JSONResponse(_metadata(service, _model(service, name, version)))

    @router.get("/v2/models/{name}/ready")
    @router.get("/v2/models/{name}/versions/{version}/ready")
    async def model_ready(name: str, version: str | None = None) -> Response:
        service.lifecycle.require_ready()
        model = _model(service, name, version)
        return JSONResponse({"name": model.identity.name, "ready": True})

    @router.post("/v2/models/{name}/infer")
    @router.post("/v2/models/{name}/versions/{version}/infer")
    async def infer(name: str, request: Request, version: str | None = None) -> Response:
        return await _infer(service, request, name if version is None else f"{name}:{version}")


def _model(service: Service, name: str, version: str | None) -> ServedModel:
    return service.models.get(name if version is None else f"{name}:{version}", None)


def outputs(model: ServedModel) -> tuple[str, ...]:
    """The outputs of a model, its first the one that is given without a wish."""
    tasks = {EMBEDDING if task == "embed" else task for task in model.bundle.tasks} | {"tokenize"}
    return tuple(name for name in OUTPUTS if name in tasks)


def _metadata(service: Service, model: ServedModel) -> dict[str, Any]:
    identity = model.identity
    served = sorted(each.identity.version for each in service.models if each.identity.name == identity.name)
    return {
        "name": identity.name,
        "versions": [str(version) for version in served],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": name, "datatype": "FP32", "shape": [-1, model.engine.widths[HIDDEN]]}
            if name == EMBEDDING
            else {"name": name, "datatype": "BYTES", "shape": [-1]}
            for name in outputs(model)
        ],
    }


async def _infer(service: Service, request: Request, model: str) -> Response:
    service.lifecycle.require_started()
    require_coding(request)
    sent = await request.body()
    steps = inference(sent, request.headers.get(HEADER))
    asked = await service.pipeline.beside(steps) if len(sent) > LARGE_BYTES else finished(steps)
    there = outputs(service.models.get(model, None))
    output = asked.output or there[0]
    if output not in there:
        raise InvalidRequest(f"outputs: this model has no such output; there are {', '.join(there)}")
    kind = OUTPUTS[output]
    most = service.settings.limits.max_documents
    if output == EMBEDDING:
        _check_tensor(asked.parameters)
    call = await begin(service, request, lambda _sent: _body(asked, kind.request, model, max_documents=most))
    seconds = min(call.seconds, _timeout_seconds(asked.parameters))
    written = _Written(asked, output, _vectors if output == EMBEDDING else partial(_texts, kind.shape))
    response = await call.reply(written.pieces, kind.answer(service, call.body, seconds))
    if asked.binary:
        response.headers[HEADER] = str(written.header_bytes)
        response.headers["content-type"] = "application/octet-stream"
    return response


def _body(asked: Inference, kind: type[CommonRequest[Any]], model: str, *, max_documents: int) -> Steps[CommonRequest[Any]]:
    """The request in our own words."""
    fields = {name: field for name, field in asked.parameters.items() if name not in ("timeout", "priority")}
    fields |= _lane(asked.parameters.get("priority")) | {"inputs": list(asked.texts), "model": model}
    yield
    return read(kind, fields, max_documents=max_documents)


def _check_tensor(parameters: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for what a tensor of vectors has no place for."""
    for name, why in _NO_PLACE.items():
        if name in parameters:
            raise InvalidRequest(f"parameters.{name}: {why}", location=("parameters", name))


def _lane(priority: Any) -> dict[str, Any]:
    """Triton's 0 is the default and 1 the first, later ones wait; our own names may be sent too."""
    if isinstance(priority, bool) or (isinstance(priority, int) and priority < 0):
        raise InvalidRequest("parameters.priority: must be 0, 1 (first) or above, or the name of a lane")
    if isinstance(priority, int):
        return {} if priority == 0 else {"priority": "interactive" if priority == 1 else "bulk"}
    return {} if priority is None else {"priority": priority}


def _timeout_seconds(parameters: Mapping[str, Any]) -> float:
    timeout = parameters.get("timeout")
    if timeout is None:
        return float("inf")
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 1:
        raise InvalidRequest("parameters.timeout: must be a number of microseconds above 0")
    return timeout / 1e6


class _Written:
    """The answer in the protocol's form, and once its pieces are made how many bytes its JSON has."""

    def __init__(
        self,
        asked: Inference,
        output: str,
        tensor: Callable[[CommonRequest[Any], Answer[Any], str], tuple[str, list[int], Any]],
    ) -> None:
        self._asked, self._output, self._tensor = asked, output, tensor
        self.header_bytes = 0

    def pieces(self, body: CommonRequest[Any], answer: Answer[Any], instance: str) -> Iterator[bytes]:
        """JSON, and with `binary` the tensor's bytes after it."""
        datatype, shape, values = self._tensor(body, answer, instance)
        tensor: dict[str, Any] = {"name": self._output, "datatype": datatype, "shape": shape}
        rest = b""
        if not self._asked.binary:
            tensor["data"] = values.ravel().tolist() if datatype == "FP32" else [each.decode() for each in values]
        else:
            rest = values.astype("<f4").tobytes() if datatype == "FP32" else packed(values)
            tensor["parameters"] = {"binary_data_size": len(rest)}
        told = {"model_name": answer.model.name, "model_version": str(answer.model.version)}
        if self._asked.id is not None:
            told["id"] = self._asked.id
        header = json_bytes(told | {"outputs": [tensor]})
        self.header_bytes = len(header)
        yield header
        yield rest


def _vectors(_body: CommonRequest[Any], answer: Answer[Embedding], _instance: str) -> tuple[str, list[int], Any]:
    vectors = np.stack([found.vector for found in asking.answers(answer)])
    return "FP32", list(vectors.shape), vectors


def _texts(
    shape: Callable[[Any, Answer[Any], str], Iterator[bytes]], body: CommonRequest[Any], answer: Answer[Any], instance: str
) -> tuple[str, list[int], Any]:
    """Each result as our own route writes it."""
    results = json.loads(b"".join(shape(body, answer, instance)))["results"]
    return "BYTES", [len(results)], [json_bytes(result) for result in results]
