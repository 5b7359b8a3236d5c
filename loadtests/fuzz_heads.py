"""A generated request while it is made, and the ways to break its first line and its headers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from loadtests.fuzz_framing import CANARY, FRAMINGS, SMUGGLED

GETS: Final = (
    "/models",
    f"/models/{CANARY}",
    "/livez",
    "/readyz",
    "/health",
    "/usage",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/",
)


@dataclass(slots=True, kw_only=True)
class Draft:
    """A request while it is made; `ways` are the names of what was done to it."""

    method: bytes = b"POST"
    target: bytes = b"/ner"
    version: bytes = b"HTTP/1.1"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    content: bytes = b""
    framing: str = "length"
    ways: list[str] = field(default_factory=list)


Way = Callable[[Draft, Random], None]


def any_framing(draft: Draft, random: Random) -> None:
    """Any framing but the plain one."""
    draft.framing = random.choice(list(FRAMINGS))
    draft.ways.append(f"framing {draft.framing}")


def method(draft: Draft, random: Random) -> None:
    """Another method."""
    draft.method = random.choice(
        (
            b"GET",
            b"PUT",
            b"DELETE",
            b"PATCH",
            b"HEAD",
            b"OPTIONS",
            b"TRACE",
            b"CONNECT",
            b"CANARI1931",
            b"post",
            b"",
            b"P\x00ST",
            b"PRI",
        )
    )


def target(draft: Draft, random: Random) -> None:
    """Another target."""
    task = draft.target
    draft.target = random.choice(
        (
            b"/" + CANARY.encode(),
            task + b"/",
            b"/" + task,
            task.upper(),
            task + b"?x=" + CANARY.encode(),
            task + b"#" + CANARY.encode(),
            b"*",
            b"",
            b"/%00",
            b"/%zz",
            b"/../../etc/passwd",
            b"/..%2f..%2fetc/passwd",
            b"http://" + CANARY.encode() + task,
            b"http://localhost" + task,
            b"//" + CANARY.encode() + task,
            b"/" + b"a" * 20000,
            b"/models/" + b"%C3%28",
            "/é".encode(),
            b"/ner HTTP/1.1\r\nX: y",
            b"\\ner",
            b"ner",
            b"https://localhost",
            b"/models/" + CANARY.encode() + b":1",
        )
    )


def get(draft: Draft, random: Random) -> None:
    """A route that tells of the service."""
    draft.method, draft.target = random.choice((b"GET", b"HEAD", b"POST", b"DELETE")), random.choice(GETS).encode()


def version(draft: Draft, random: Random) -> None:
    """Another version of HTTP."""
    draft.version = random.choice(
        (
            b"HTTP/1.0",
            b"HTTP/0.9",
            b"HTTP/2.0",
            b"HTTP/1.2",
            b"HTTP/11",
            b"HTTPS/1.1",
            b"http/1.1",
            b"",
            b"HTTP/1.1 " + CANARY.encode(),
        )
    )


_NAMES: Final = (
    b"Host",
    b"Content-Type",
    b"Content-Encoding",
    b"Content-Length",
    b"Authorization",
    b"X-Request-Timeout",
    b"X-Request-Id",
    b"traceparent",
    b"Expect",
    b"Upgrade",
    b"Connection",
    b"Accept",
    b"Accept-Encoding",
    b"Origin",
    b"Cookie",
    b"Range",
    b"Forwarded",
    b"X-Forwarded-For",
    b"X-User",
    b"TE",
    b"Trailer",
    CANARY.encode(),
)
_VALUES: Final = (
    b"",
    CANARY.encode(),
    b"application/x-www-form-urlencoded",
    b"application/json; charset=latin-1",
    b"gzip, gzip",
    b"br",
    b"deflate",
    b"0",
    b"-1",
    b"nan",
    b"1e9",
    b"9" * 400,
    b"0.0000001",
    b"Bearer",
    b"Bearer " + CANARY.encode(),
    b"Basic " + CANARY.encode(),
    b"Bearer " + CANARY.encode() + b"." + CANARY.encode(),
    b"Bearer \xff\xfe.\x80",
    b"100-continue",
    b"websocket",
    b"h2c",
    b"Upgrade, HTTP2-Settings",
    b"evil.example",
    b"localhost:99999",
    b"127.0.0.1.evil.example",
    b"[::1]:x",
    b"localhost, evil.example",
    b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00",
    b"\xe9\xff",
    b"a\tb",
    b"a" * 5000,
    b"../../" + CANARY.encode() + b"/",
    b"x" * 65,
)
_GIVEN_BACK: Final = (b"X-Request-Id", CANARY.encode())
"""A caller's own name for a request, which the service promises to give back and to log."""


def another_value(draft: Draft, random: Random) -> None:
    """A header that peers send, with a value of another."""
    name = random.choice(_NAMES)
    draft.headers = [header for header in draft.headers if header[0] != name]
    value = random.choice([each for each in _VALUES if (name, each) != _GIVEN_BACK])
    draft.headers.insert(random.randrange(len(draft.headers) + 1), (name, value))


def header_twice(draft: Draft, random: Random) -> None:
    """One header twice."""
    name, value = random.choice(draft.headers)
    draft.headers.append((name, random.choice((value, random.choice(_VALUES)))))


def header_lost(draft: Draft, random: Random) -> None:
    """One header less."""
    del draft.headers[random.randrange(len(draft.headers))]


def header_misspelt(draft: Draft, random: Random) -> None:
    """A header whose name is none."""
    name, value = random.choice(draft.headers)
    bad = random.choice((name + b" ", b" " + name, b"\t" + name, name + b"\x00", b"", b"(" + name, name.replace(b"o", b"\xf6")))
    draft.headers.append((bad, value))


def header_cut_in_lines(draft: Draft, random: Random) -> None:
    """A header whose value ends its line."""
    word = CANARY.encode()
    draft.headers.append(
        (b"X-" + word, random.choice((b"a\r\n b", b"a\nb: c", b"a\rb", b"a\x00b", b"a\x0bb", b"a\r\n\r\n" + SMUGGLED)))
    )


def many_headers(draft: Draft, random: Random) -> None:
    """Many headers."""
    draft.headers += [(b"X-%d" % number, CANARY.encode()) for number in range(random.choice((50, 500, 3000)))]


def large_header(draft: Draft, random: Random) -> None:
    """A large header."""
    draft.headers.append((b"X-Large", CANARY.encode() * random.choice((1500, 1700, 20000))))
