"""The bodies of requests, read strictly; their JSON schemas are what `/openapi.json` shows.

A request is first JSON (`json_body.py`), then one of the models here, then frozen options for the pipeline. Nothing is coerced
("5" is no number, true no integer) and unknown fields are refused. What pydantic says of a mismatch can quote the input, so its
messages are replaced by our own, and a field that does not exist is never named back.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, WithJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from drlongformer.api.json_body import MAX_DEPTH, MAX_VALUES
from drlongformer.api.problems import FieldError, SchemaMismatch
from drlongformer.serving.requests import (
    ClassifyOptions,
    EmbedOptions,
    FillMaskOptions,
    NerOptions,
    Priority,
    RequestOptions,
)
from drlongformer.types import Document

MAX_REPORTED = 20
OWN = "drlongformer"
"""The type of errors whose message is already ours."""


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class DocumentBody(_Body):
    """One document with the caller's own name for it."""

    text: str
    id: Annotated[str, Field(max_length=256)] | None = Field(None, description="The caller's own name, at most 256 characters.")


def _documents(value: Any, info: ValidationInfo) -> list[Any]:
    """Every accepted form of `inputs` as a list of objects; what has another form is left for the model to refuse."""
    if isinstance(value, str):
        return [{"text": value}]
    if not isinstance(value, list):
        raise PydanticCustomError(OWN, 'must be a string, or a list of strings or of objects with "id" and "text"')
    limit = (info.context or {})["max_documents"]
    if not 1 <= len(value) <= limit:
        raise PydanticCustomError(
            OWN, "holds {actual} documents, from 1 to {limit} are accepted", {"actual": len(value), "limit": limit}
        )
    return [{"text": item} if isinstance(item, str) else item for item in value]


_INPUTS_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "minItems": 1, "items": {"type": "string"}},
        {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/DocumentBody"}},
    ],
    "description": "One text, or several; an `id` of at most 256 characters comes back with its result and is never logged. "
    f"A whole body nests at most {MAX_DEPTH} levels and holds at most {MAX_VALUES} JSON values.",
}

Inputs = Annotated[list[DocumentBody], BeforeValidator(_documents), WithJsonSchema(_INPUTS_SCHEMA)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Words = Annotated[list[Name], Field(min_length=1, max_length=1000)]


def _representable(value: Any) -> Any:
    """An integer beyond every float as the largest one, so that it is refused for its size and not as no number."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return sys.float_info.max if value > 0 else -sys.float_info.max
    return value


class CommonRequest(_Body):
    """What every task route understands."""

    inputs: Inputs
    model: Name | None = Field(None, description="`name` or `name:version`; may be left out where one model has the task.")
    head: Name | None = Field(None, description="Which of the model's heads for this task; its first if left out.")
    overflow: Literal["windows", "refuse", "truncate"] = Field(
        "windows", description="Past the model's length: read overlapping windows, refuse, or cut and say so."
    )
    truncate_side: Literal["head", "tail"] = Field("head", description="With `truncate`: keep the beginning or the end.")
    priority: Priority = Field("interactive", description="`bulk` lets `interactive` requests go first.")
    on_error: Literal["fail", "report"] = Field(
        "fail", description="Whether one bad document refuses the request, or its result tells the problem."
    )
    offsets: Literal["codepoint", "utf16"] = Field("codepoint", description="What character offsets count.")

    @property
    def documents(self) -> tuple[Document, ...]:
        """The inputs as the pipeline takes them."""
        return tuple(Document(index=index, text=body.text, id=body.id) for index, body in enumerate(self.inputs))

    def common(self, deadline_seconds: float) -> RequestOptions:
        """The options that all tasks share."""
        return RequestOptions(
            model=self.model,
            head=self.head,
            overflow=self.overflow,
            truncate_side=self.truncate_side,
            priority=self.priority,
            deadline_seconds=deadline_seconds,
            on_error=self.on_error,
        )


class TokenizeRequest(CommonRequest):
    """`POST /tokenize`."""


class EmbedRequest(CommonRequest):
    """`POST /embed`."""

    pooling: Literal["cls", "mean"] | None = Field(None, description="The model's own if left out.")
    normalize: bool = Field(True, description="Whether vectors have length 1.")
    dimensions: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Keep the first so many, renormalised."
    )
    encoding: Literal["float", "base64"] = Field("float", description="`base64`: little-endian float32.")

    def options(self, deadline_seconds: float) -> EmbedOptions:
        """The pipeline's options."""
        return EmbedOptions(
            common=self.common(deadline_seconds), pooling=self.pooling, normalize=self.normalize, dimensions=self.dimensions
        )


class NerRequest(CommonRequest):
    """`POST /ner`."""

    aggregation: Literal["simple", "first", "average", "max", "none"] | None = Field(
        None, description="How tokens become entities, with Hugging Face's meanings; the model's own decoder if left out."
    )
    labels: Words | None = Field(None, description="Keep only these.")
    min_score: Annotated[float, Field(ge=0, le=1), BeforeValidator(_representable)] = Field(
        0.0, description="Keep entities of at least this score."
    )
    return_text: bool = Field(True, description="Whether entities carry their text.")
    redact: bool = Field(False, description="Also give the text with each entity replaced by `[LABEL]`.")

    def options(self, deadline_seconds: float) -> NerOptions:
        """The pipeline's options."""
        return NerOptions(
            common=self.common(deadline_seconds),
            aggregation=self.aggregation,
            labels=None if self.labels is None else tuple(self.labels),
            min_score=self.min_score,
            redact=self.redact,
        )


class ClassifyRequest(CommonRequest):
    """`POST /classify`."""

    top_k: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="The best so many labels; all if left out."
    )
    function: Literal["softmax", "sigmoid", "none"] | None = Field(None, description="The model's own if left out.")

    def options(self, deadline_seconds: float) -> ClassifyOptions:
        """The pipeline's options."""
        return ClassifyOptions(common=self.common(deadline_seconds), top_k=self.top_k, function=self.function)


class FillMaskRequest(CommonRequest):
    """`POST /fill-mask`."""

    top_k: Annotated[int, Field(ge=1, le=1000)] = Field(
        5, description="Predictions for each mask, at most 1000; `token` keeps its leading space."
    )
    targets: Words | None = Field(None, description="Score only these words, at most 1000; each must be one token.")

    def options(self, deadline_seconds: float) -> FillMaskOptions:
        """The pipeline's options."""
        return FillMaskOptions(
            common=self.common(deadline_seconds),
            top_k=self.top_k,
            targets=None if self.targets is None else tuple(self.targets),
        )


B = TypeVar("B", bound=CommonRequest)

_MESSAGES: Mapping[str, str] = {
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "model_type": 'must be a string or an object with "text" and "id"',
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must hold at least {min_length}, holds {actual_length}",
    "too_long": "must hold at most {max_length}, holds {actual_length}",
}
"""Our sentence for each type of pydantic's errors; only figures and names of the schema go in."""


def read(model: type[B], value: Any, *, max_documents: int) -> B:
    """A JSON value as one of the requests. Raises SchemaMismatch, which lists the fields at fault."""
    if not isinstance(value, dict):
        raise SchemaMismatch((FieldError(loc=(), msg="the body must be a JSON object"),))
    try:
        return model.model_validate(value, context={"max_documents": max_documents})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[:MAX_REPORTED]
        fields = dict.fromkeys(_told(model, detail) for detail in details)
    raise SchemaMismatch(tuple(fields))


def _told(model: type[CommonRequest], detail: ErrorDetails) -> FieldError:
    if detail["type"] == "extra_forbidden":
        *parent, unknown = detail["loc"]
        known = (DocumentBody if parent else model).model_fields
        return FieldError(loc=tuple(parent), msg=_unknown_field(str(unknown), list(known)))
    if detail["type"] == OWN:
        return FieldError(loc=detail["loc"], msg=detail["msg"])
    sentence = _MESSAGES.get(detail["type"], "is not valid")
    return FieldError(loc=detail["loc"], msg=sentence.format(**detail.get("ctx", {})))


def _unknown_field(name: str, known: Sequence[str]) -> str:
    """The name itself could be part of a document, so only the schema's own names are told."""
    close = difflib.get_close_matches(name, known, n=1) if len(name) <= 40 else []
    meant = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    return f"holds an unknown field; {meant}"
