"""Bytes that two readers could take for different requests; each is refused with 400, and the connection closed."""

from __future__ import annotations

HEAD = b"POST /size HTTP/1.1\r\nHost: localhost\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + SMUGGLED

FORMS = {
    "length and chunks": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n" + CHUNKED,
    "two lengths": b"Content-Length: 3\r\nContent-Length: 0\r\n\r\nabc" + SMUGGLED,
    "the same length twice": b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + SMUGGLED,
    "a list of lengths": b"Content-Length: 3, 3\r\n\r\nabc" + SMUGGLED,
    "a signed length": b"Content-Length: +3\r\n\r\nabc" + SMUGGLED,
    "a hexadecimal length": b"Content-Length: 0x3\r\n\r\nabc" + SMUGGLED,
    "a length with a gap": b"Content-Length: 1 0\r\n\r\nabc" + SMUGGLED,
    "a length with an underscore": b"Content-Length: 1_0\r\n\r\nabc" + SMUGGLED,
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED,
    "a tab before the colon": b"Transfer-Encoding\t: chunked\r\n\r\n" + CHUNKED,
    "another coding": b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKED,
    "a list of codings": b"Transfer-Encoding: identity, chunked\r\n\r\n" + CHUNKED,
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "a quoted coding": b'Transfer-Encoding: "chunked"\r\n\r\n' + CHUNKED,
    "a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKED,
    "a folded coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKED,
    "a folded header": b"X-Note: a\r\n\tb\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a header in a header": b"X-Note: a\nContent-Length: 100\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a bare CR": b"X-Note: a\rContent-Length: 100\r\n\r\n" + SMUGGLED,
    "a NUL": b"Content-Length: 0\x00\r\n\r\n" + SMUGGLED,
    "a header without a name": b": chunked\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
}

LOOSE = {
    "lines end in LF": HEAD.replace(b"\r\n", b"\n") + b"Content-Length: 0\n\n" + SMUGGLED,
    "chunks in HTTP/1.0": HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "chunk too long": HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n" + SMUGGLED,
    "negative chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + SMUGGLED,
    "0x chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n" + SMUGGLED,
    "chunk lines end in LF": HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n" + SMUGGLED,
}
