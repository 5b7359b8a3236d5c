"""Bytes of a request to JSON values, more strictly than `json.loads`: what is refused here never reaches anything else.

Refused: bytes that are not UTF-8, NaN and Infinity, numbers that overflow to infinity or have very many digits, lone surrogates
(they cannot be tokenized or sent back), keys that occur twice (readers differ in which one counts), nesting deeper than any
schema here, and more values than any request has: a body of millions of empty lists would hold up the event loop, and with it
everybody, for seconds. Strings come first (`json_strings.py`), so that no body, however large, is read in one long call.
"""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NoReturn

from drlongformer.api.json_strings import decode, lift, not_json, require_characters
from drlongformer.errors import InvalidRequest, MalformedBody
from drlongformer.serving.reading import Steps, finished

MAX_DEPTH: Final = 32
MAX_MEMBERS: Final = 100
MAX_DIGITS: Final = 1000


def parse(body: bytes) -> Any:
    """The JSON value of a body, in one go; see `parse_steps`."""
    return finished(parse_steps(body))


def parse_steps(body: bytes) -> Steps[Any]:
    """The JSON value of a body, in steps of milliseconds.

    Raises MalformedBody for what is not JSON, and says where, never what; InvalidRequest for JSON that breaks a rule of ours,
    and BodyTooLarge for more values than are read.
    """
    if not body:
        raise MalformedBody("the body is empty, JSON was expected")
    if body.startswith(codecs.BOM_UTF8):
        raise MalformedBody("the body begins with a byte order mark, which JSON does not have")
    lifted = yield from lift(body)
    text = decode(lifted.rest, lifted.place)
    unique = partial(_unique, lifted=lifted.strings)
    yield
    try:
        value = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_integer, object_pairs_hook=unique
        )
    except json.JSONDecodeError as error:
        raise not_json(body, lifted.place(len(text[: error.pos].encode())), error.msg) from None
    except RecursionError:
        raise InvalidRequest(f"the body is nested deeper than {MAX_DEPTH} levels, the limit") from None
    yield
    return _complete(value, lifted.strings, check=lifted.escapes)


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedBody(f"{name} is not JSON")


def _check_digits(digits: str) -> None:
    if len(digits) > MAX_DIGITS:
        raise InvalidRequest(f"the body holds a number of {len(digits)} characters, the limit is {MAX_DIGITS}")


def _integer(digits: str) -> int:
    _check_digits(digits)
    return int(digits)


def _finite(digits: str) -> float:
    _check_digits(digits)
    number = float(digits)
    if not math.isfinite(number):
        raise MalformedBody("the body holds a number that is too large")
    return number


def _unique(pairs: list[tuple[str, Any]], lifted: Mapping[str, str]) -> dict[str, Any]:
    if len(pairs) > MAX_MEMBERS:
        raise InvalidRequest(f"an object has {len(pairs)} members, the limit is {MAX_MEMBERS}")
    members = {lifted.get(name, name): value for name, value in pairs}
    if len(members) < len(pairs):
        twice = len(pairs) - len(members)
        raise InvalidRequest(f"an object of {len(pairs)} members names {'one' if twice == 1 else twice} of them twice")
    return members


def _complete(value: Any, lifted: Mapping[str, str], *, check: bool) -> Any:
    """The value with its long strings in their places; its other strings checked for lone surrogates if need be.

    Breadth first, level by level, a step of Python for each value: other threads run in between.
    """
    whole = [value]
    level: list[dict[str, Any] | list[Any]] = [whole]
    for _ in range(MAX_DEPTH + 1):
        level = [child for parent in level for child in _settle(parent, lifted, check=check)]
        if not level:
            return whole[0]
    raise InvalidRequest(f"the body is nested deeper than {MAX_DEPTH} levels, the limit")


def _settle(parent: dict[str, Any] | list[Any], lifted: Mapping[str, str], *, check: bool) -> list[dict[str, Any] | list[Any]]:
    """Complete the strings of one container; the containers in it."""
    if check and isinstance(parent, dict):
        for name in parent:
            require_characters(name)
    inner = []
    for place, child in parent.items() if isinstance(parent, dict) else enumerate(parent):
        if isinstance(child, (dict, list)):
            inner.append(child)
        elif isinstance(child, str):
            if child in lifted:
                parent[place] = lifted[child]  # type: ignore[index]  # a name of a dict, a place of a list
            elif check:
                require_characters(child)
    return inner
