r"""h11's reading of HTTP, made stricter: a head bounded to the byte, one framing of a body, versions and targets that we speak.

    bytes -> h11 -> Request -> head too long? written in one way only? version? framing? host? target -> Request
                 \-> RemoteProtocolError, and `refusal` says in our words what was wrong, never with what was sent

h11 itself bounds only a head that is still incomplete after a read, so one that comes in a single read could be far longer. It
also mends what proxies and servers are known to mend differently (folded headers, lines that end without CR, a length given
twice), and what is read differently can smuggle a request past a proxy: here it is refused. One empty line before a request is
passed over (RFC 9112, 2.2): old clients send it behind a body, and it belongs to no request.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

import h11

from drlongformer.api.problems import ForeignHost, HeadersTooLarge, MalformedHead
from drlongformer.errors import BodyTooLarge, InputError, MalformedBody

VERSIONS: Final = (b"1.0", b"1.1")

_ABSOLUTE = re.compile(rb"https?://([^/?#]+)([/?][^#]*)?", re.IGNORECASE)

_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_FOLDED = re.compile(rb"\n[ \t]")
_EMPTY_LINE: Final = b"\r\n"
_BARE = re.compile(rb"(?<!\r)\n")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]*)(:[0-9]*)?", re.IGNORECASE)

FREE_CHUNKS: Final = 1024
CHUNK_BYTES: Final = 1024
"""A body may come in `FREE_CHUNKS`, and one more for each so many bytes: to read a chunk costs as much as to read a KB, and all
that one read of the socket brings is taken in one go."""
MAX_TOLD_DIGITS: Final = 30

_SENTENCES: Final = (
    ("request line", "the request line is not that of HTTP/1.1"),
    ("header line", "a header line is not written NAME: VALUE"),
    ("continuation line", "a header line is not written NAME: VALUE"),
    ("missing mandatory host", "the Host header is missing"),
    ("multiple host", "the Host header stands more than once"),
    ("conflicting content-length", "the Content-Length headers contradict each other"),
    ("bad content-length", "Content-Length is not a whole number of bytes"),
    ("transfer-encoding", "the only Transfer-Encoding that is read is chunked"),
    ("chunk", "the body is not in the chunks that Transfer-Encoding announces"),
)
"""What h11's messages hold, and our sentence: its own can quote the request."""


class StrictConnection(h11.Connection):
    """One connection of a peer. `refusal` and `method` tell of the request that was refused, once one was."""

    def __init__(self, *, max_header_bytes: int, max_body_bytes: int, hosts: frozenset[str] | None = None) -> None:
        """`hosts`: the names under which the service may be asked, in lower case; None for all."""
        super().__init__(h11.SERVER, max_header_bytes)
        self._max_header_bytes = max_header_bytes
        self._max_body_bytes = max_body_bytes
        self._hosts = hosts
        self._chunks = self._chunk_bytes = 0
        self._passed_over = False
        self.refusal: InputError | None = None
        self.method: bytes | None = None

    def next_event(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        """As h11's own. Raises RemoteProtocolError, and then `refusal` is set."""
        if self.their_state is h11.IDLE and not self._passed_over and self._at_empty_line():
            return h11.NEED_DATA
        held = self.trailing_data[0] if self.their_state is h11.IDLE else None
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.refusal = self._explained(error, held)
            raise
        if isinstance(event, h11.Request):
            return self._checked(event, (held or b"")[: len(held or b"") - len(self.trailing_data[0])])
        if self.their_state is h11.SEND_BODY:
            self._check_chunk(event)
        return event

    def _at_empty_line(self) -> bool:
        """Pass over one whole empty line where a request begins; true while only half of it has come."""
        if self.trailing_data[0].startswith(_EMPTY_LINE):
            self._receive_buffer._extract(len(_EMPTY_LINE))  # h11 reads it as a request without a line
            self._passed_over = True
        return self.trailing_data == (_EMPTY_LINE[:1], False)

    def _explained(self, error: h11.RemoteProtocolError, held: bytes | None) -> InputError:
        """`held`: what came so far of the head and of what follows it, None where a body is read."""
        if held is not None and error.error_status_hint == 431:
            return self._too_large(f"{len(held)} bytes or more")
        message = str(error).lower()
        if held is not None and "content-length" in message:
            lengths = {length for length in _LENGTH.findall(_END_OF_HEAD.split(held, maxsplit=1)[0]) if length.isdigit()}
            if len(lengths) == 1 and (too_large := self._too_long(lengths.pop())):
                return too_large
        told = next((told for words, told in _SENTENCES if words in message), "the request is not HTTP")
        return MalformedBody(told) if held is None else MalformedHead(told)

    def _too_long(self, digits: bytes) -> InputError | None:
        """The refusal of a length of any number of digits."""
        digits = digits.lstrip(b"0")
        if len(digits) <= len(str(self._max_body_bytes)) and int(digits or b"0") <= self._max_body_bytes:
            return None
        actual = digits.decode() if len(digits) <= MAX_TOLD_DIGITS else f"a number of {len(digits)} digits of"
        return BodyTooLarge(f"the body has {actual} bytes, the limit is {self._max_body_bytes}")

    def _check_chunk(self, event: h11.Event | type[h11.NEED_DATA | h11.PAUSED]) -> None:
        """Refuse chunks that announce too much before it comes, and a body in far more chunks than it has need of."""
        announced: int = getattr(self._reader, "_bytes_in_chunk", 0)
        if announced > self._max_body_bytes:
            self._refuse(BodyTooLarge(f"a chunk is larger than a body may be, the limit is {self._max_body_bytes} bytes"))
        if isinstance(event, h11.Data) and event.chunk_start:
            self._chunks += 1
        if isinstance(event, h11.Data):
            self._chunk_bytes += len(event.data)
            if self._chunks > FREE_CHUNKS + self._chunk_bytes // CHUNK_BYTES:
                self._refuse(
                    BodyTooLarge(
                        f"{self._chunk_bytes} bytes came in {self._chunks} chunks, the limit is {FREE_CHUNKS} and one more for "
                        f"every {CHUNK_BYTES} bytes"
                    )
                )

    def _checked(self, request: h11.Request, head: bytes) -> h11.Request:
        self.method = request.method
        self._passed_over = False
        self._chunks = self._chunk_bytes = 0
        if len(head) > self._max_header_bytes:
            self._refuse(self._too_large(f"{len(head)} bytes"))
        if request.http_version not in VERSIONS:
            self._refuse(MalformedHead("the version of HTTP is neither 1.0 nor 1.1"))
        self._check_framing(request, head)
        return self._of_origin(request)

    def _check_framing(self, request: h11.Request, head: bytes) -> None:
        """Refuse what another reader of the same bytes may take for another request."""
        names = {name for name, _ in request.headers}
        if _FOLDED.search(head):
            self._refuse(MalformedHead("a header goes on in the next line; folded headers are not read"))
        if _BARE.search(head):
            self._refuse(MalformedHead("a line of the head ends without CR"))
        if {b"content-length", b"transfer-encoding"} <= names:
            self._refuse(MalformedHead("Content-Length and Transfer-Encoding are both given; a body has one length"))
        if b"transfer-encoding" in names and request.http_version != b"1.1":
            self._refuse(MalformedHead("Transfer-Encoding is given in HTTP/1.0, which does not know it"))
        lengths = _LENGTH.findall(head)
        if len(lengths) > 1 or any(b"," in length for length in lengths):
            self._refuse(MalformedHead("Content-Length is given more than once"))
        for name, value in request.headers:  # there is one, or in HTTP/1.0 none, which no browser sends
            if name == b"host":
                self._check_host(value)

    def _check_host(self, value: bytes) -> None:
        if self._hosts is None:
            return
        host = _HOST.fullmatch(value.decode("latin-1").strip())
        if host is None or host[1].lower().rstrip(".") not in self._hosts:
            self._refuse(
                ForeignHost(
                    "the Host header names another service than this one, which listens on loopback and asks for no key; ask "
                    "for localhost, or name further hosts in DRLONGFORMER_SERVER__ALLOWED_HOSTS"
                )
            )

    def _of_origin(self, request: h11.Request) -> h11.Request:
        """The request with the path as its target; proxies write `http://host/path`."""
        if request.target.startswith(b"/") or request.target == b"*":
            return request
        absolute = _ABSOLUTE.fullmatch(request.target)
        if absolute is None:
            self._refuse(MalformedHead("the target is neither a path nor an http address"))
        self._check_host(absolute[1])
        target = absolute[2] or b"/"
        return h11.Request(
            method=request.method,
            target=target if target.startswith(b"/") else b"/" + target,
            headers=list(request.headers),
            http_version=request.http_version,
        )

    def _too_large(self, actual: str) -> InputError:
        return HeadersTooLarge(f"the request line and headers have {actual}, the limit is {self._max_header_bytes}")

    def _refuse(self, refusal: InputError) -> NoReturn:
        self.refusal = refusal
        raise h11.RemoteProtocolError(str(refusal))
