"""Bytes of a request to JSON values, more strictly than `json.loads`: what is refused here never reaches anything else.

Refused: bytes that are not UTF-8, NaN and Infinity, numbers that overflow to infinity, lone surrogates (they cannot be
tokenized or sent back), keys that occur twice (readers differ in which one counts), nesting deeper than any schema here, and
more values than any request has: a body of millions of empty lists would hold up the event loop, and with it everybody, for
seconds. They are counted before anything is built.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

from drlongformer.errors import MalformedBody

MAX_DEPTH: Final = 32
MAX_MEMBERS: Final = 100
MAX_VALUES: Final = 100_000
# A string, or what was meant as one up to the end; possessive, so that no body makes it look twice at a byte.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def parse(body: bytes) -> Any:
    """The JSON value of a body. Raises MalformedBody, which says where, never what."""
    if not body:
        raise MalformedBody("the body is empty, JSON was expected")
    text = _decode(body)
    _check_values(body)
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise MalformedBody(f"the body is not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise MalformedBody(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:  # Python refuses integers of thousands of digits
        raise MalformedBody("the body holds a number of too many digits") from None
    _check_depth(value)
    if _SURROGATE_ESCAPE.search(text):
        _refuse_lone_surrogates(value)
    return value


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the body is not UTF-8 at byte {error.start}") from None


def _check_values(body: bytes) -> None:
    """Count strings, and outside of them whatever begins or parts values."""
    values, end = 0, 0
    for string in _STRING.finditer(body):
        values += 1 + _marks(body[end : string.start()])
        end = string.end()
        if values > MAX_VALUES:
            break
    else:
        values += _marks(body[end:])
    if values > MAX_VALUES:
        raise MalformedBody(f"the body holds more than {MAX_VALUES} values")


def _marks(gap: bytes) -> int:
    return gap.count(b",") + gap.count(b"[") + gap.count(b"{")


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedBody(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise MalformedBody("the body holds a number that is too large")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_MEMBERS:
        raise MalformedBody(f"an object has {len(pairs)} members, at most {MAX_MEMBERS} are read")
    members = dict(pairs)
    if len(members) < len(pairs):
        raise MalformedBody(f"an object of {len(pairs)} members names one of them twice")
    return members


def _check_depth(value: Any) -> None:
    """Breadth first, only containers, so that a long flat list costs one pass."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) if isinstance(child, (dict, list))]
        if not level:
            return
    raise MalformedBody(f"the body is nested deeper than {MAX_DEPTH} levels")


def _children(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse_lone_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedBody("a string holds a lone surrogate, which is no character") from None
