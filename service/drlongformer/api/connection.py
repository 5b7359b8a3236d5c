r"""h11's reading of HTTP, made stricter: a head bounded to the byte, one framing of a body, versions and targets that we speak.

    bytes -> h11 -> Request -> head too long? version? two framings? target -> Request
                 \-> RemoteProtocolError, and `refusal` says in our words what was wrong, never with what was sent

h11 itself bounds only a head that is still incomplete after a read, so one that comes in a single read could be far longer.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

import h11

from drlongformer.api.problems import HeadersTooLarge
from drlongformer.errors import InputError, MalformedBody

VERSIONS: Final = (b"1.0", b"1.1")

_ABSOLUTE = re.compile(rb"https?://[^/?#]+([/?][^#]*)?", re.IGNORECASE)

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

    def __init__(self, *, max_header_bytes: int) -> None:
        super().__init__(h11.SERVER, max_header_bytes)
        self._max_header_bytes = max_header_bytes
        self.refusal: InputError | None = None
        self.method: bytes | None = None

    def next_event(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        """As h11's own. Raises RemoteProtocolError, and then `refusal` is set."""
        in_head = self.their_state is h11.IDLE
        held = self._held_bytes() if in_head else 0
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.refusal = self._explained(error, held if in_head else None)
            raise
        return self._checked(event, held - self._held_bytes()) if isinstance(event, h11.Request) else event

    def _held_bytes(self) -> int:
        return len(self.trailing_data[0])

    def _explained(self, error: h11.RemoteProtocolError, held: int | None) -> InputError:
        """`held`: bytes of the head that came so far, None where a body is read."""
        if held is not None and error.error_status_hint == 431:
            return self._too_large(f"{held} bytes or more")
        message = str(error).lower()
        return MalformedBody(next((told for words, told in _SENTENCES if words in message), "the request is not HTTP"))

    def _checked(self, request: h11.Request, head_bytes: int) -> h11.Request:
        self.method = request.method
        if head_bytes > self._max_header_bytes:
            self._refuse(self._too_large(f"{head_bytes} bytes"))
        if request.http_version not in VERSIONS:
            self._refuse(MalformedBody("the version of HTTP is neither 1.0 nor 1.1"))
        names = {name for name, _ in request.headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            self._refuse(MalformedBody("Content-Length and Transfer-Encoding are both given; a body has one length"))
        return self._of_origin(request)

    def _of_origin(self, request: h11.Request) -> h11.Request:
        """The request with the path as its target; proxies write `http://host/path`."""
        if request.target.startswith(b"/") or request.target == b"*":
            return request
        absolute = _ABSOLUTE.fullmatch(request.target)
        if absolute is None:
            self._refuse(MalformedBody("the target is neither a path nor an http address"))
        target = absolute[1] or b"/"
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
