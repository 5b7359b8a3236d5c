"""Documents, pairs and questions as JSON, each as it is sent; what is none of these is told by its place in the call.

    "Toux."  Document(text="Toux.", id="a")  {"text": "Toux.", "id": "a"}  ->  bytes
    None, 3.5, a text with a lone surrogate                                ->  BadRequest, or with `on_error="report"` a failure

One that is reported travels as null, or as its id alone, which the service refuses in its place; why is kept here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from drlongformer.client.errors import BadRequest, Problem, unsent


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text with the caller's own name for it, which comes back with its result and is never logged."""

    text: str
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question with its options by name, and the text it is asked about, if any."""

    question: str
    options: Mapping[str, str]
    context: str | None = None
    id: str | None = None


class Unfit(ValueError):
    """What cannot be sent, and why in a sentence that quotes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """An iterator of units as JSON. unfit: what is wrong with those that could not be sent, by their index, as far as it came.

    form: a unit as a JSON value, or Unfit. report: whether an unfit one is passed over. at: where units stand in the body.
    """

    asked: Iterable[Any]
    form: Callable[[Any], Any]
    report: bool = False
    at: tuple[str, ...] = ("inputs",)
    unfit: dict[int, Problem] = field(default_factory=dict)

    def __iter__(self) -> Iterator[bytes]:
        """Raises BadRequest at the first unit that cannot be sent, unless it is to be reported."""
        for index, unit in enumerate(self.asked):
            try:
                written = as_json(self.form(unit))
            except Unfit as error:
                problem = unsent(str(error), loc=(*self.at, index))
                if not self.report:
                    raise BadRequest(problem) from None
                self.unfit[index], written = problem, _in_place_of(unit)
            yield written


def document(unit: Any) -> Any:
    """A text, with an id or without. Raises Unfit."""
    if isinstance(unit, str):
        return unit
    if isinstance(unit, Document):
        return {"text": unit.text, **known(id=unit.id)}
    if isinstance(unit, Mapping):
        return dict(unit)
    raise Unfit(f"must be a string, a Document or a mapping with text and id, not {_kind(unit)}")


def pair(unit: Any) -> Any:
    """Two texts. Raises Unfit."""
    if isinstance(unit, Mapping):
        return dict(unit)
    texts = tuple(unit) if isinstance(unit, Iterable) and not isinstance(unit, str) else ()
    if len(texts) != 2:
        raise Unfit(f"must be two strings, or a mapping with text1, text2 and id, not {_kind(unit)}")
    return {"text1": texts[0], "text2": texts[1]}


def sentence(unit: Any) -> Any:
    """A text alone. Raises Unfit."""
    if not isinstance(unit, str):
        raise Unfit(f"must be a string, not {_kind(unit)}")
    return unit


def question(unit: Any) -> Any:
    """A question with its options. Raises Unfit."""
    if isinstance(unit, Mapping):
        return dict(unit)
    if not isinstance(unit, Question):
        raise Unfit(f"must be a Question, or a mapping of its fields, not {_kind(unit)}")
    options: Any = unit.options  # whatever the caller put there
    options = dict(options) if isinstance(options, Mapping) else options
    return {"question": unit.question, "options": options, **known(context=unit.context, id=unit.id)}


def several(inputs: Any, called: str, *, at: tuple[str, ...] = ("inputs",)) -> Iterable[Any]:
    """What can be gone through. Raises BadRequest."""
    if isinstance(inputs, str | bytes) or not isinstance(inputs, Iterable):
        raise BadRequest(unsent(f"must be {called}, not {_kind(inputs)}", loc=at))
    return inputs


def as_json(value: Any) -> bytes:
    """One JSON value in UTF-8. Raises Unfit; Python's own errors would quote it."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        raise Unfit("holds a lone surrogate, which no text in UTF-8 has") from None
    except (TypeError, ValueError, RecursionError):
        raise Unfit("holds something that JSON has no form for") from None


def placed_json(value: Any, *, at: tuple[str | int, ...]) -> bytes:
    """One JSON value of a field. Raises BadRequest, which names the field."""
    try:
        return as_json(value)
    except Unfit as error:
        raise BadRequest(unsent(str(error), loc=at)) from None


def known(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def _in_place_of(unit: Any) -> bytes:
    """Something that is refused under the unit's own id, if it has one that can be sent."""
    name = unit.get("id") if isinstance(unit, Mapping) else getattr(unit, "id", None)
    try:
        return as_json({"id": name}) if isinstance(name, str) else b"null"
    except Unfit:
        return b"null"


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
