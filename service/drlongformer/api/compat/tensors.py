"""Bodies of the Open Inference Protocol: JSON, and the extension in which the bytes of tensors follow it.

Inference-Header-Content-Length: 120
{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 14}}]}  [4]abcd[2]ef
                                                                                        each length a little-endian uint32
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drlongformer.api.json_body import parse_steps
from drlongformer.errors import InvalidRequest, MalformedBody
from drlongformer.serving.reading import Steps

HEADER: Final = "inference-header-content-length"
_LENGTH: Final = struct.Struct("<I")


class _Part(BaseModel):
    """The protocol lets fields be added, so unknown ones are left out."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, hide_input_in_errors=True)


class InputTensor(_Part):
    """One input."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: list[Any] | None = None


class OutputWish(_Part):
    """One output that is wanted."""

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class InferBody(_Part):
    """The JSON of an inference request."""

    id: str | None = None
    inputs: list[InputTensor]
    outputs: list[OutputWish] = Field(default_factory=list)
    parameters: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What is asked: texts, and the one output that is wanted, None for the model's first; binary: whether as bytes."""

    id: str | None
    texts: tuple[str, ...]
    output: str | None
    binary: bool
    parameters: Mapping[str, Any]


def inference(sent: bytes, header_length: str | None) -> Steps[Inference]:
    """A request's body. Raises MalformedBody and InvalidRequest, which never quote it."""
    size = _header_size(sent, header_length)
    value = yield from parse_steps(sent[:size])
    yield
    try:
        body = InferBody.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise InvalidRequest(f"{'.'.join(map(str, first['loc'])) or 'the body'}: {first['msg']}") from None
    if len(body.outputs) > 1:
        raise InvalidRequest(f"outputs: {len(body.outputs)} are wanted, one can be had of each request")
    wish = body.outputs[0] if body.outputs else None
    binary = (wish.parameters.get("binary_data") if wish else None) or body.parameters.get("binary_data_output")
    return Inference(
        id=body.id,
        texts=_texts(body.inputs, sent[size:]),
        output=wish.name if wish else None,
        binary=binary is True,
        parameters={name: value for name, value in body.parameters.items() if name != "binary_data_output"},
    )


def _header_size(sent: bytes, told: str | None) -> int:
    if told is None:
        return len(sent)
    if not told.isdecimal() or len(told) > 10 or int(told) > len(sent):
        raise MalformedBody(f"Inference-Header-Content-Length must be a number up to the body's {len(sent)} bytes")
    return int(told)


def _texts(inputs: Sequence[InputTensor], rest: bytes) -> tuple[str, ...]:
    if [tensor.name for tensor in inputs] != ["text"] or inputs[0].datatype != "BYTES":
        raise InvalidRequest(f"inputs: {len(inputs)} tensors; there must be one, of the name 'text' and the datatype BYTES")
    tensor, size = inputs[0], inputs[0].parameters.get("binary_data_size")
    if size is None:
        found = tuple(_strings(tensor.data or []))
    elif size == len(rest) and tensor.data is None:
        found = tuple(_elements(rest))
    else:
        raise InvalidRequest(
            f"inputs.0: binary_data_size must be the {len(rest)} bytes that follow the JSON, without data beside"
        )
    if not tensor.shape or tensor.shape[0] != len(found) or any(length != 1 for length in tensor.shape[1:]):
        raise InvalidRequest(f"inputs.0.shape: must be [{len(found)}] or [{len(found)}, 1], for as many texts were sent")
    return found


def _strings(data: Sequence[Any]) -> Iterator[str]:
    """Elements of a tensor in JSON, flat or nested as its shape is."""
    for element in data:
        if isinstance(element, list):
            yield from _strings(element)
        elif isinstance(element, str):
            yield element
        else:
            raise InvalidRequest("inputs.0.data: must hold strings alone")


def _elements(rest: bytes) -> Iterator[str]:
    place = 0
    while place < len(rest):
        start = place + _LENGTH.size
        stop = start + (_LENGTH.unpack_from(rest, place)[0] if start <= len(rest) else len(rest))
        if stop > len(rest):
            raise MalformedBody(f"the tensor's bytes end within an element, after {len(rest)} bytes")
        try:
            yield rest[start:stop].decode()
        except UnicodeDecodeError as error:
            raise MalformedBody(f"an element of the tensor is not UTF-8, at byte {start + error.start} of its bytes") from None
        place = stop


def packed(elements: Sequence[bytes]) -> bytes:
    """Elements of a BYTES tensor, each behind its length."""
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)
