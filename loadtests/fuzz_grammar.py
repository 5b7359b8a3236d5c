"""Bad requests without end, from one seed: right ones first, then broken in one or more of the ways that peers break them.

    task's body -> JSON that breaks its schema -> bytes that are not quite JSON -> packed -> framed -> headed -> broken as bytes

Each way has a name, so that a run can tell what it tried. The canary stands wherever a caller can write; it is in no place that
the service promises to give back (`X-Request-Id`).
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from loadtests.fuzz_framing import CANARY, framed
from loadtests.fuzz_heads import (
    Draft,
    Way,
    another_value,
    any_framing,
    get,
    header_cut_in_lines,
    header_lost,
    header_misspelt,
    header_twice,
    large_header,
    many_headers,
    method,
    target,
    version,
)

TEXT: Final = f"{CANARY} tousse depuis 3 jours."
SURELY_BAD: Final = 0.97
"""The share of bodies that no schema takes, whatever else is wrong: right ones cost twenty times as much."""
OPTIONS: Final = {"a": CANARY, "b": TEXT}

BODIES: Final[Mapping[str, Any]] = {
    "/embed": {"inputs": TEXT, "pooling": "mean", "dimensions": 8},
    "/ner": {"inputs": [TEXT, {"id": CANARY, "text": TEXT}], "labels": None, "min_score": 0.5},
    "/classify": {"inputs": [TEXT], "top_k": 2, "function": "softmax"},
    "/fill-mask": {"inputs": f"{CANARY} <mask>.", "top_k": 3},
    "/similarity": {"inputs": {"source": TEXT, "sentences": [TEXT, "Le patient va bien."]}},
    "/multiple-choice": {"inputs": {"question": TEXT, "options": OPTIONS, "context": TEXT}},
    "/tokenize": {"inputs": TEXT, "offsets": "utf16"},
}

STRINGS: Final = (
    "",
    " \n\t",
    CANARY,
    CANARY * 60,
    "\x00",
    "\u200b\u2060\ufeff",
    "\u202e" + CANARY,
    "مريض " + CANARY,
    "\ufdfa" * 40,
    "e\u0301" * 300,
    "👩🏽‍⚕️" * 50,
    "\U0010ffff\uffff",
    "<mask>",
    f"</s>{CANARY}<s>",
    f"../../{CANARY}",
    f"'; DROP TABLE {CANARY}; --",
    f"{{{{7*7}}}}{CANARY}%s%n",
    f"${{jndi:ldap://{CANARY}}}",
)
NUMBERS: Final = (0, -1, 1.5, 10**30, -(10**30), 1e308, -0.0, 2**63, 1e-320)
WORDS: Final = (
    "inputs",
    "model",
    "head",
    "overflow",
    "truncate_side",
    "priority",
    "on_error",
    "offsets",
    "pooling",
    "normalize",
    "dimensions",
    "encoding",
    "aggregation",
    "labels",
    "min_score",
    "return_text",
    "redact",
    "top_k",
    "function",
    "targets",
    "multiple",
    "text",
    "id",
    "source",
    "sentences",
    "text1",
    "text2",
    "question",
    "options",
    "context",
    "__class__",
    CANARY,
)
TOKENS: Final = (
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
    b"\\ud800",
    b"\\udc00",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"[" * 40,
    b"{",
    b"}",
    b"]",
    b'"',
    b",",
    b":",
    b"//",
    b"'",
    b"\r\n",
    b"\xef\xbb\xbf",
    b"9" * 1200,
    b"\\u00",
    b"\\",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """A request as it goes over the wire."""

    wire: bytes
    ways: tuple[str, ...]


def attack(random: Random, *, authorization: bytes = b"") -> Attack:
    """The next request; `authorization` is the value of a header that is right."""
    path = random.choice(list(BODIES))
    value = json.loads(json.dumps(BODIES[path]))
    draft = Draft(target=path.encode())
    draft.headers = [(b"Host", b"localhost"), (b"Content-Type", b"application/json"), (b"Connection", b"close")]
    if authorization:
        draft.headers.append((b"Authorization", authorization))
    kinds = random.choices(list(_KINDS), weights=[_KINDS[kind][0] for kind in _KINDS], k=random.choice((1, 1, 1, 2, 3)))
    if random.random() < SURELY_BAD:
        value[random.choice((CANARY, "", "__class__", "parameters"))] = anything(random)  # no schema has them
    if "schema" in kinds:
        for _ in range(random.choice((1, 1, 2, 4))):
            value = break_schema(value, random)
        draft.ways.append("schema")
    draft.content = json.dumps(value, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    for kind in dict.fromkeys(kinds):
        if kind not in ("schema", "bytes"):
            way = random.choice(_KINDS[kind][1])
            way(draft, random)
            draft.ways.append(f"{kind}: {way.__name__.lstrip('_').replace('_', ' ')}")
    lines, content = framed(draft.framing, draft.content, random)
    head = b"%b %b %b\r\n" % (draft.method, draft.target, draft.version)
    wire = head + b"".join(b"%b: %b\r\n" % header for header in (*draft.headers, *lines)) + b"\r\n" + content
    if "bytes" in kinds:
        wire = break_bytes(wire, random)
    return Attack(wire=wire, ways=tuple(draft.ways) + (("bytes",) if "bytes" in kinds else ()))


def break_schema(value: Any, random: Random) -> Any:
    """The value with something in it that its schema does not have."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        name = random.choice(list(value))
        match random.randrange(4):
            case 0:
                del value[name]
            case 1:
                value[random.choice(WORDS)] = anything(random)
            case _:
                value[name] = break_schema(value[name], random)
        return value
    if isinstance(value, list) and value and random.random() < 0.7:
        place = random.randrange(len(value))
        value[place] = break_schema(value[place], random)
        return value * random.choice((1, 1, 1, 3, 70))
    return anything(random)


def anything(random: Random, depth: int = 0) -> Any:
    """Some JSON value."""
    kind = random.randrange(9 if depth < 4 else 5)
    if kind == 0:
        return random.choice((None, True, False))
    if kind in (1, 2):
        return random.choice(NUMBERS)
    if kind in (3, 4):
        return random.choice(STRINGS)
    if kind in (5, 6):
        return [anything(random, depth + 1) for _ in range(random.randrange(4))]
    if kind == 7:
        return {random.choice(WORDS): anything(random, depth + 1) for _ in range(random.randrange(4))}
    nested: Any = CANARY
    for _ in range(random.choice((3, 31, 33, 200))):
        nested = [nested] if random.random() < 0.5 else {CANARY: nested}
    return nested


def break_bytes(wire: bytes, random: Random) -> bytes:
    """A few bytes flipped, lost, doubled or put in, anywhere in the request."""
    broken = bytearray(wire)
    for _ in range(random.choice((1, 1, 2, 5, 20))):
        place = random.randrange(len(broken) + 1) if broken else 0
        match random.randrange(5):
            case 0:
                broken[place : place + 1] = bytes((random.randrange(256),))
            case 1:
                del broken[place : place + random.choice((1, 2, 10))]
            case 2:
                broken[place:place] = random.choice(TOKENS)
            case 3:
                broken[place:place] = broken[place : place + random.randrange(30)]
            case _:
                broken[place : place + 1] = b"\n" if random.random() < 0.5 else b""
    return bytes(broken)


def _bomb(draft: Draft, random: Random) -> None:
    letters = CANARY[:1].encode() * random.choice((70_000, 3_000_000))
    _packed(draft, gzip.compress(b'{"inputs": "' + letters + b'"}', 9, mtime=0))


def _packed(draft: Draft, content: bytes) -> None:
    draft.content = content
    draft.headers.append((b"Content-Encoding", b"gzip"))


def _broken_gzip(draft: Draft, random: Random) -> None:
    whole = gzip.compress(draft.content, mtime=0)
    cut = random.randrange(1, len(whole))
    _packed(
        draft,
        random.choice(
            (
                draft.content,
                whole[:cut],
                whole + whole,
                whole + CANARY.encode(),
                whole[:cut] + bytes((whole[cut - 1] ^ 0x55,)) + whole[cut:],
                zlib.compress(draft.content),
                gzip.compress(whole, mtime=0),
                whole[:10] + b"\x00\x00\x00\xff\xff" * 500,
                b"\x1f\x8b",
            )
        ),
    )


def _packed_well(draft: Draft, random: Random) -> None:
    _packed(draft, gzip.compress(draft.content, random.choice((0, 1, 9)), mtime=0))


def _bytes_of_json(draft: Draft, random: Random) -> None:
    draft.content = break_bytes(draft.content, random)


def _cut_short(draft: Draft, random: Random) -> None:
    draft.content = draft.content[: random.randrange(len(draft.content) or 1)]


def _name_twice(draft: Draft, random: Random) -> None:
    name = random.choice(WORDS)
    draft.content = draft.content[:-1] + f', "{name}": 1, "{name}": "{CANARY}"}}'.encode()


def _another_charset(draft: Draft, random: Random) -> None:
    draft.content = (draft.content.decode("utf-8", "replace") + "é").encode(
        random.choice(("utf-16", "utf-32", "utf-8-sig", "cp1252")), "replace"
    )


def _deep(draft: Draft, random: Random) -> None:
    depth = random.choice((33, 2000, 20_000))
    draft.content = random.choice((b"[" * depth, b'{"a":' * depth, b'{"inputs": ' + b"[" * depth + b"]" * depth + b"}"))


def _many_values(draft: Draft, random: Random) -> None:
    unit = random.choice((b"[]", b"1", b'""', b'{"a":1}'))
    draft.content = (
        b'{"inputs": [' + b",".join([unit] * random.choice((65, 5000, 100_001 if random.random() < 0.05 else 200))) + b"]}"
    )


def _no_json(draft: Draft, random: Random) -> None:
    draft.content = random.choice(
        (
            b"",
            b" ",
            CANARY.encode(),
            b"inputs=" + CANARY.encode(),
            b"<a>" + CANARY.encode() + b"</a>",
            b"\x80\x04\x95" + CANARY.encode(),
            random.randbytes(60),
        )
    )


_KINDS: Final[Mapping[str, tuple[int, Sequence[Way]]]] = {
    "schema": (30, ()),
    "bytes": (15, ()),
    "json": (20, (_bytes_of_json, _cut_short, _name_twice, _another_charset, _deep, _many_values, _no_json)),
    "framing": (12, (any_framing,)),
    "line": (8, (method, target, get, version)),
    "headers": (
        14,
        (
            another_value,
            another_value,
            header_twice,
            header_lost,
            header_misspelt,
            header_cut_in_lines,
            many_headers,
            large_header,
        ),
    ),
    "gzip": (4, (_broken_gzip, _broken_gzip, _packed_well, _bomb)),
}
