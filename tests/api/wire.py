"""All bad requests made by hand, as they go over the wire: for whoever wants to send them to a whole service."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from tests.api.bad import Bad
from tests.api.bad_bodies import NOT_HTTP_AS_WE_SPEAK_IT, NOT_JSON, NOT_POSSIBLE, NOT_THE_SCHEMA, ON_OTHER_ROUTES
from tests.api.bad_bytes import FORMS, HEAD, LOOSE
from tests.api.bad_pairs import NOT_PAIRS, NOT_QUESTIONS

BAD = [
    *NOT_JSON,
    *NOT_THE_SCHEMA,
    *NOT_PAIRS,
    *NOT_QUESTIONS,
    *NOT_POSSIBLE,
    *NOT_HTTP_AS_WE_SPEAK_IT,
    *ON_OTHER_ROUTES,
]

LIMITS: Mapping[str, str] = {
    "DRLONGFORMER_LIMITS__MAX_BODY_BYTES": "20000",
    "DRLONGFORMER_LIMITS__MAX_DOCUMENTS": "3",
    "DRLONGFORMER_LIMITS__MAX_CHARACTERS": "2000",
    "DRLONGFORMER_LIMITS__MAX_WINDOWS": "4",
}
"""The limits that they break."""


def hand_made() -> dict[str, bytes]:
    """Each by its name."""
    made = {f"{number} {bad.name}": _wire(bad) for number, bad in enumerate(BAD)}
    return made | {name: HEAD + form for name, form in FORMS.items()} | LOOSE


def _wire(bad: Bad) -> bytes:
    headers = {"Host": "localhost", "Connection": "close", **bad.headers, "Content-Length": str(len(bad.content))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{bad.method} {quote(bad.path, safe='/%:.')} HTTP/1.1\r\n{lines}\r\n".encode() + bad.content
