"""What all requests have in common, and how they are read: strictly, and without an echo.

A request is first JSON (`json_body.py`), then one of the models of `requests.py`, then frozen options for the pipeline. Nothing
is coerced ("5" is no number, true no integer) and unknown fields are refused. What pydantic says of a mismatch can quote the
input, so its messages are replaced by our own, and a field that does not exist is never named back. With `on_error: report` a
unit that is none (null for a text) refuses nobody but itself: something empty stands in its place, with what is wrong.
"""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from drlongformer.api.chunks import are_lists
from drlongformer.api.inputs import FORMS, MAX_ID, OWN, Body
from drlongformer.api.problems import FieldError, SchemaMismatch, placed
from drlongformer.errors import InputError, InvalidRequest
from drlongformer.serving.requests import Caller, Priority, RequestOptions
from drlongformer.types import Unit

MAX_REPORTED = 20
LARGEST_TOLD = 1e15

I = TypeVar("I")

Name = Annotated[str, Field(min_length=1, max_length=200)]


class CommonRequest(Body, Generic[I]):
    """What every task route understands."""

    inner: ClassVar[Mapping[str, type[Body]]] = {}
    """The bodies that `inputs` is made of, by the form they come in, and those of other fields, by the field."""

    stand_in: ClassVar[Mapping[str, Any]] = {"text": ""}
    """What is read in place of one of several units that breaks the schema, where its own result tells of that."""

    inputs: I
    model: Name | None = Field(None, description="`name` or `name:version`; may be left out where one model has the task.")
    head: Name | None = Field(None, description="Which of the model's heads for this task; its first if left out.")
    overflow: Literal["windows", "refuse", "truncate"] = Field(
        "windows", description="Past the model's length: read overlapping windows, refuse, or cut and say so."
    )
    truncate_side: Literal["head", "tail"] = Field(
        "head", description="Keep the beginning or the end; only with `overflow` `truncate`."
    )
    priority: Priority = Field("interactive", description="`bulk` lets `interactive` requests go first.")
    on_error: Literal["fail", "report"] = Field(
        "fail", description="Whether one bad document refuses the request, or its result tells the problem."
    )
    offsets: Literal["codepoint", "utf16"] = Field("codepoint", description="What character offsets count.")

    _caller: Caller = PrivateAttr(default=Caller())
    _faults: Mapping[int, InputError] = PrivateAttr(default_factory=dict)

    @field_validator("truncate_side")
    @classmethod
    def _of_a_cut(cls, side: str, info: ValidationInfo) -> str:
        if info.data.get("overflow", "truncate") != "truncate":
            raise PydanticCustomError(OWN, "says which side a cut keeps; nothing is cut without overflow 'truncate'")
        return side

    def fault(self, index: int) -> InputError | None:
        """What is wrong with a unit that has something else in its place."""
        return self._faults.get(index)

    def with_faults(self, faults: Mapping[int, InputError]) -> Self:
        """The same request, in which these units, by their index, are to be told of and not read."""
        body = self.model_copy()
        body._faults = faults
        return body

    def asked_by(self, caller: Caller, *, priority: Priority) -> Self:
        """The same request, in this caller's turns and in this lane."""
        body = self.model_copy(update={"priority": priority})
        body._caller = caller
        return body

    @property
    @abstractmethod
    def units(self) -> Sequence[Unit]:
        """The inputs as the pipeline takes them."""

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
            caller=self._caller,
        )


B = TypeVar("B", bound=CommonRequest[Any])

_MESSAGES: Mapping[str, str] = {
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "model_type": 'must be a string or an object with "text" and "id"',
    "literal_error": "must be {expected}",
    "greater_than_equal": "is {actual}, the least is {ge}",
    "less_than_equal": "is {actual}, the limit is {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "has {actual} characters, the limit is {max_length}",
    "too_short": "holds {actual_length}, the least is {min_length}",
    "too_long": "holds {actual_length}, the limit is {max_length}",
}
"""Our sentence for each type of pydantic's errors; only figures and names of the schema go in."""


def read(model: type[B], value: Any, *, max_documents: int) -> B:
    """A JSON value as one of the requests. Raises SchemaMismatch, which lists the fields at fault."""
    if not isinstance(value, dict):
        raise SchemaMismatch((FieldError(loc=(), msg="the body must be a JSON object"),))
    context = {"max_documents": max_documents}
    faults: dict[int, InputError] = {}
    told: list[FieldError] = []
    sound = value
    while True:  # what is told of units together with another field is seen only once the units are sound
        try:
            body = model.model_validate(sound, context=context)
            return body.with_faults(faults) if faults else body
        except ValidationError as error:
            details = error.errors(include_url=False)  # of an input only its length is told
        told += [_told(model, detail) for detail in details[:MAX_REPORTED]]
        found = _of_units(model, details) if value.get("on_error") == "report" else {}
        if not found.keys() - faults.keys() or max(found) >= _count(value["inputs"]):
            raise SchemaMismatch(tuple(dict.fromkeys(told))[:MAX_REPORTED])
        faults = {**found, **faults}
        sound = _without(value, faults, model.stand_in)


def _of_units(model: type[CommonRequest[Any]], details: Sequence[ErrorDetails]) -> dict[int, InputError]:
    """What is wrong with each unit of a list; nothing where something else is wrong too."""
    fields: defaultdict[int, dict[FieldError, None]] = defaultdict(dict)
    for detail in details:
        match [part for part in detail["loc"] if part not in FORMS]:
            case (
                ["inputs", int(index), *_]
                | ["inputs", "sentences", int(index), *_]
                | ["chunks", int(index), *_]
                | ["embed", "chunks", int(index), *_]
            ):
                fields[index][_told(model, detail)] = None
            case _:
                return {}
    return {index: _fault(tuple(its)[:MAX_REPORTED]) for index, its in fields.items()}


def _fault(fields: Sequence[FieldError]) -> InputError:
    first, *others = (InvalidRequest(placed(field), location=field.loc) for field in fields)
    first.others = tuple(others)
    return first


def _without(value: Mapping[str, Any], faults: Mapping[int, InputError], stand_in: Mapping[str, Any]) -> dict[str, Any]:
    """The body, with something in place of the faulty units that keeps their ids, and none of their chunks."""
    changed: dict[str, Any] = {**value, "inputs": _sound_units(value["inputs"], faults, stand_in)}
    if "chunks" in value:
        changed["chunks"] = _sound_chunks(value["chunks"], faults)
    embed = value.get("embed")
    if isinstance(embed, Mapping) and "chunks" in embed:
        changed["embed"] = {**embed, "chunks": _sound_chunks(embed["chunks"], faults)}
    return changed


def _sound_units(inputs: Any, faults: Mapping[int, InputError], stand_in: Mapping[str, Any]) -> Any:
    if isinstance(inputs, str):
        return [stand_in]
    if isinstance(inputs, Mapping):  # a source and its sentences
        return {**inputs, "sentences": ["" if index in faults else each for index, each in enumerate(inputs["sentences"])]}
    return [{**stand_in, **_id_of(each)} if index in faults else each for index, each in enumerate(inputs)]


def _count(inputs: Any) -> int:
    return 1 if isinstance(inputs, str) else len(inputs["sentences"] if isinstance(inputs, Mapping) else inputs)


def _sound_chunks(chunks: Any, faults: Mapping[int, InputError]) -> Any:
    """The ranges of each document, of faulty ones none; ranges that stand alone are those of the only one."""
    if not isinstance(chunks, list) or not are_lists(chunks):
        return [[]] if isinstance(chunks, list) and faults else chunks
    return [[] if index in faults else each for index, each in enumerate(chunks)]


def _id_of(unit: Any) -> dict[str, str]:
    name = unit.get("id") if isinstance(unit, Mapping) else None
    return {"id": name} if isinstance(name, str) and len(name) <= MAX_ID else {}


def _told(model: type[CommonRequest[Any]], detail: ErrorDetails) -> FieldError:
    if detail["type"] == "extra_forbidden":
        *place, unknown = detail["loc"]  # the caller's own word, which may be that of a form
        form = next((part for part in place if part in FORMS), "")
        parent = [part for part in place if part not in FORMS]
        body = model.inner.get(str(parent[0])) or model.inner[str(form)] if parent else model
        known = body.model_fields
        return FieldError(loc=tuple(parent), msg=_unknown_field(str(unknown), list(known)))
    loc = tuple(part for part in detail["loc"] if part not in FORMS)
    if detail["type"] == OWN:
        return FieldError(loc=loc, msg=detail["msg"])
    sentence = _MESSAGES.get(detail["type"], "is not valid")
    return FieldError(loc=loc, msg=sentence.format(**{**detail.get("ctx", {}), "actual": _actual(detail.get("input"))}))


def _actual(value: object) -> str:
    """The figure that is compared with a limit: a string's length, never the string, or a number that has few digits."""
    if isinstance(value, str):
        return str(len(value))
    if not isinstance(value, int | float) or not abs(value) < LARGEST_TOLD:
        return "beyond all bounds"
    return str(value) if isinstance(value, int) else f"{value:g}"


def _unknown_field(name: str, known: Sequence[str]) -> str:
    """The name itself could be part of a document, so only the schema's own names are told."""
    close = difflib.get_close_matches(name, known, n=1) if len(name) <= 40 else []
    meant = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    return f"holds an unknown field; {meant}"
