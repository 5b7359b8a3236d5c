"""Bytes that are not strictly JSON are refused with their place, never with their content."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drlongformer.api.json_body import MAX_DEPTH, MAX_DIGITS, parse
from drlongformer.api.json_strings import LONG_BYTES, MAX_OUTSIDE_BYTES, MAX_VALUES, PIECE_BYTES, REST_BYTES
from drlongformer.errors import BodyTooLarge, InputError, InvalidRequest, MalformedBody

CANARY = "Canari"

REFUSED: dict[str, bytes] = {
    "empty": b"",
    "blank": b"   ",
    "not JSON": b"inputs=Canari",
    "cut": b'{"inputs": "Canari',
    "trailing": b'{"inputs": "Canari"} Canari',
    "trailing comma": b'{"inputs": "Canari",}',
    "single quotes": b"{'inputs': 'Canari'}",
    "comment": b'{"inputs": "Canari"} // Canari',
    "byte order mark": b'\xef\xbb\xbf{"inputs": "Canari"}',
    "latin-1": '{"inputs": "Canari né"}'.encode("latin-1"),
    "utf-16": '{"inputs": "Canari"}'.encode("utf-16"),
    "overlong": b'{"inputs": "Canari \xc0\xaf"}',
    "surrogate bytes": b'{"inputs": "Canari \xed\xa0\x80"}',
    "high surrogate": b'{"inputs": "Canari \\ud800"}',
    "low surrogate": b'{"inputs": "Canari \\uDC00"}',
    "reversed surrogates": b'{"inputs": "Canari \\udc00\\ud800"}',
    "surrogate in a key": b'{"Canari \\ud800": 1}',
    "NaN": b'{"inputs": "Canari", "min_score": NaN}',
    "Infinity": b'{"min_score": Infinity}',
    "-Infinity": b'{"min_score": -Infinity}',
    "1e999": b'{"min_score": 1e999}',
    "-1e999": b'{"min_score": -1e999}',
    "control character": b'{"inputs": "Canari \x01"}',
    "bad escape": b'{"inputs": "Canari \\x"}',
    "two values": b"1 2",
    "unending string of quotes": b'"' + b'\\"' * 1_000_000,
    "unending string of backslashes": b'"' + b"\\" * 999_999,
}


AGAINST_OUR_RULES: dict[str, bytes] = {
    "long fraction": b"[1." + b"5" * 1_000_000 + b"e999]",
    "huge integer": b'{"top_k": ' + b"9" * 5000 + b"}",
    "deep list": b"[" * 2000 + b"]" * 2000,
    "endless list": b"[" * 90_000,
    "deep object": b'{"a":' * 100 + b"1" + b"}" * 100,
    "key twice": b'{"inputs": "Canari", "inputs": "other"}',
    "inner key twice": b'{"inputs": [{"text": "Canari", "text": "b"}]}',
    "large object": b"{" + b",".join(b'"%d":1' % number for number in range(101)) + b"}",
}

TOO_LARGE: dict[str, bytes] = {
    "many lists": b"[" + b"[]," * 1_000_000 + b"[]]",
    "many objects": b"[" + b"{}," * 1_000_000 + b"{}]",
    "many numbers": b"[" + b"1," * 1_000_000 + b"1]",
    "many strings": b"[" + b'"",' * 1_000_000 + b'""]',
    "many keys": b"{" + b",".join(b'"%d":1' % number for number in range(100_001)) + b"}",
    "many quotes": b'"' * 1_000_001,
    "many open lists": b"[" * 200_000,
}


@pytest.mark.parametrize("name", AGAINST_OUR_RULES)
def test_json_that_breaks_a_rule_is_not_called_malformed(name: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(AGAINST_OUR_RULES[name])
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize("name", TOO_LARGE)
def test_more_values_than_are_read_are_told_as_a_size(name: str) -> None:
    with pytest.raises(BodyTooLarge, match=f"more than {MAX_VALUES} JSON values, the limit"):
        parse(TOO_LARGE[name])


@pytest.mark.parametrize("body", [b" " * MAX_OUTSIDE_BYTES + b"1", b"1" * (MAX_OUTSIDE_BYTES + 1), b'["a" ' + b" " * 2_000_000])
def test_what_stands_outside_of_strings_is_bounded(body: bytes) -> None:
    with pytest.raises(BodyTooLarge, match=f"outside of strings, the limit is {MAX_OUTSIDE_BYTES}"):
        parse(body)


def test_the_digits_of_a_number_are_bounded_exactly() -> None:
    assert parse(b"9" * MAX_DIGITS) == 10**MAX_DIGITS - 1
    for number in (b"9" * (MAX_DIGITS + 1), b"0." + b"1" * (MAX_DIGITS - 1)):
        with pytest.raises(InvalidRequest, match=f"a number of {MAX_DIGITS + 1} characters, the limit is {MAX_DIGITS}"):
            parse(number)


LONG_UNITS = ("a", "é", "\N{GRINNING FACE}", "\u202f\n", '\\"', "\\", "\\\\ud83d", "a\x7f", "\ud83d\ude00", "l'œdème ")


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("unit", LONG_UNITS)
def test_long_strings_are_read_as_json_reads_them_wherever_they_are_cut(unit: str, escaped: bool) -> None:
    unit = unit.encode("utf-16", "surrogatepass").decode("utf-16")  # two halves of a letter as one
    length = len(json.dumps(unit, ensure_ascii=escaped).encode()) - 2
    text = unit * (PIECE_BYTES // length + 2)
    for before in range(12):
        moved = "b" * before + text
        assert parse(json.dumps(moved, ensure_ascii=escaped).encode()) == moved
    value = [text, {text: [text]}, text[:LONG_BYTES], text[: LONG_BYTES - 3]]
    assert parse(json.dumps(value, ensure_ascii=escaped).encode()) == value


def test_many_short_strings_are_read_however_long_the_body() -> None:
    value = [{"text": f"Toux, jour {number} " * 60, f"nom {number}": number} for number in range(REST_BYTES // 300)]
    body = json.dumps(value, ensure_ascii=False).encode()
    assert len(body) > 3 * REST_BYTES
    assert parse(body) == value


def test_names_that_were_lifted_are_still_told_when_they_stand_twice() -> None:
    long = "n" * (LONG_BYTES + 1)
    with pytest.raises(InvalidRequest, match="names one of them twice"):
        parse(f'{{"{long}": 1, "{long}": 2}}'.encode())


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (b"\xff", "not UTF-8 at byte {byte}$"),
        (b"\\q", "line 2, column {column}: Invalid"),
        (b"\\u12", "line 2, column {inside}: Invalid"),
        (b"\\u12G4", "line 2, column {inside}: Invalid"),
        (b"\x01", "line 2, column {column}: Invalid control character"),
        (b'" x "', "line 2, column {after}: Expecting ',' delimiter"),
    ],
)
@pytest.mark.parametrize("far", [10, LONG_BYTES, PIECE_BYTES - 3, 3 * PIECE_BYTES])
def test_what_is_wrong_in_a_long_string_is_told_by_its_place_in_the_body(broken: bytes, told: str, far: int) -> None:
    start = b'{"x": "' + "é".encode() * LONG_BYTES + b'",\n"\xc3\xa9": "' + "é".encode() * far
    column = len(start.decode().split("\n")[1]) + 1
    told = told.format(byte=len(start), column=column, inside=column + 1, after=column + 2)
    with pytest.raises(MalformedBody, match=told):
        parse(start + broken + b'z", "b": "' + b"b" * far + b'"}')


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude00", "\\ude00\\ud83d", "\\ud83d\\ud83d\\ude00", "\\ud83d\\\\ude00"])
def test_half_a_letter_is_refused_wherever_a_long_string_is_cut(half: str) -> None:
    for before in (10, LONG_BYTES, *range(PIECE_BYTES - 18, PIECE_BYTES + 2)):
        with pytest.raises(MalformedBody, match="a lone surrogate"):
            parse(f'["{"b" * before}{half}{"b" * 20}"]'.encode())


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_strict_json_is_refused_without_being_quoted(name: str) -> None:
    with pytest.raises(MalformedBody) as raised:
        parse(REFUSED[name])
    assert CANARY not in str(raised.value)
    assert len(str(raised.value)) < 200


def test_paired_surrogate_escapes_are_one_character() -> None:
    assert parse(b'["\\ud83d\\ude00"]') == ["\N{GRINNING FACE}"]


def values(value: Any) -> int:
    """How many JSON values there are in one, itself included."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(values, inside))


@pytest.mark.parametrize(
    "some",
    ['"a"', '"{,[{"', "1", "[]", "{ }", "[ \\n]", "[1]", '{"a": 1}', '{"a": {}, "b": [[], 2]}'],
)
def test_the_number_of_values_is_bounded_exactly(some: str) -> None:
    some = some.replace("\\n", "\n")
    each = values(json.loads(some))
    count, rest = divmod(MAX_VALUES - 1, each)
    parts = [some] * count + ["0"] * rest
    assert values(json.loads(f"[{','.join(parts)}]")) == MAX_VALUES
    assert len(parse(f"[{','.join(parts)}]".encode())) == count + rest
    with pytest.raises(BodyTooLarge, match=f"more than {MAX_VALUES} JSON values"):
        parse(f"[{','.join([*parts, '0'])}]".encode())


def test_nesting_is_bounded_exactly() -> None:
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(InvalidRequest, match=f"deeper than {MAX_DEPTH} levels"):
        parse(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_a_byte_order_mark_is_told_in_our_words() -> None:
    with pytest.raises(MalformedBody, match="begins with a byte order mark"):
        parse(b"\xef\xbb\xbf{}")


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
    | st.text()
)
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(_VALUES, st.booleans())
def test_all_other_json_is_read_as_json_reads_it(value: Any, escaped: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=escaped).encode("utf-8")) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(InputError):
        parse(body)
