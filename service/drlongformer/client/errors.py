"""What can go wrong when the service is asked, in one tree; a refusal carries the service's own problem (RFC 9457).

    ClientError
    ├── InvalidSetting     an address, a file or a number that a client cannot work with; raised where it is made
    ├── Unreachable        no answer came: the name, the connection or HTTP itself failed
    │   └── Untrusted          TLS failed, say over a certificate; never tried again
    ├── OutOfTime          the time that the call was given passed
    ├── UnexpectedAnswer   an answer that is not of the contract's form
    └── Refused            the service answered with a problem
        ├── BadRequest         the request can be mended (4xx), or cannot even be sent as it is
        │   ├── NotAllowed         no valid key, or one without the scope (401, 403)
        │   └── TooLong            over a limit on bytes, tokens or windows (413)
        ├── Busy               come back later (429, 502, 503); told after the last attempt
        └── Failed             the service failed (500), or did not answer before the deadline it was told (504)

Messages are the service's own: limits and figures, never a word of a text. What cannot be sent (a lone surrogate, no text where
one belongs, an option that no route has) is refused or reported here, by a problem of the form that the service's have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from drlongformer.errors import DrLongformerError

_NUMBERED: Final = re.compile(r"\b(document|pair|question|sentence) (\d+)\b")
"""How the service's sentences name one of a request's documents."""
_PLACED: Final = re.compile(r"^(inputs(?:\.sentences)?|(?:embed\.)?chunks)\.(\d+)")
"""The same, where a sentence begins with its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """What is wrong with one field of the request: the path to it, and a sentence."""

    loc: tuple[str | int, ...]
    msg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The body of a refusal; `instance` is the request's id, which the service's log has too."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = ""
    errors: tuple[FieldError, ...] = ()

    @property
    def kind(self) -> str:
        """The last part of its type, say `document-too-long`."""
        return self.type.rpartition("/")[2]

    @property
    def names_a_document(self) -> bool:
        """Whether one of the request's documents is at fault, and not the request as a whole."""
        return any(_names_one(error.loc) for error in self.errors)

    def moved(self, start: int) -> Problem:
        """The problem of a request whose first document is number `start` of the call."""
        errors = tuple(FieldError(loc=_moved(error.loc, start), msg=_renumbered(error.msg, start)) for error in self.errors)
        return replace(self, detail=_renumbered(self.detail, start), errors=errors)


def _renumbered(sentence: str, start: int) -> str:
    """The service's own sentence, its documents counted from the first of the call."""
    sentence = _PLACED.sub(lambda found: f"{found[1]}.{int(found[2]) + start}", sentence)
    return _NUMBERED.sub(lambda found: f"{found[1]} {int(found[2]) + start}", sentence)


def _names_one(loc: tuple[str | int, ...]) -> bool:
    its = loc[:1] in (("inputs",), ("chunks",)) or loc[:2] == ("embed", "chunks")
    return its and any(isinstance(part, int) for part in loc)


def _moved(loc: tuple[str | int, ...], start: int) -> tuple[str | int, ...]:
    if not _names_one(loc):
        return loc
    place = next(index for index, part in enumerate(loc) if isinstance(part, int))
    return (*loc[:place], int(loc[place]) + start, *loc[place + 1 :])


class ClientError(DrLongformerError):
    """The root of the client's errors."""


class InvalidSetting(ClientError):
    """An address, a file or a number that a client cannot work with."""


class Unreachable(ClientError):
    """No answer came."""


class Untrusted(Unreachable):
    """TLS failed: one side does not trust the other's certificate, or what answers speaks no TLS."""


class OutOfTime(ClientError):
    """The time that the call was given passed."""


class UnexpectedAnswer(ClientError):
    """The answer is not of the contract's form."""


class Refused(ClientError):
    """The service answered with a problem; `retry_after_seconds` says when to come back, if it told."""

    def __init__(self, problem: Problem, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem
        self.retry_after_seconds = retry_after_seconds

    def moved(self, start: int) -> Refused:
        """The same refusal, with places that count from the first document of the call."""
        return type(self)(self.problem.moved(start), retry_after_seconds=self.retry_after_seconds)


class BadRequest(Refused):
    """The request can be mended; `problem.instance` is empty where it was never sent."""


class NotAllowed(BadRequest):
    """No valid key was sent, or one without the scope."""


class TooLong(BadRequest):
    """Over a limit on bytes, tokens or windows."""


class Busy(Refused):
    """The service asks to come back later, and every attempt was used up."""


class Failed(Refused):
    """The service failed."""


def refusal(problem: Problem, *, retry_after_seconds: float | None) -> Refused:
    """The error for a problem, by its status."""
    kinds: dict[int, type[Refused]] = {401: NotAllowed, 403: NotAllowed, 413: TooLong, 429: Busy, 502: Busy, 503: Busy}
    kind = kinds.get(problem.status, BadRequest if problem.status < 500 else Failed)
    return kind(problem, retry_after_seconds=retry_after_seconds)


def unsent(sentence: str, *, loc: tuple[str | int, ...]) -> Problem:
    """What is wrong with something that cannot be sent; `loc` counts from the first document of the call."""
    place = ".".join(map(str, loc))
    told = FieldError(loc=loc, msg=sentence)
    return Problem(
        type="/problems/invalid-request", title="Invalid request", status=422, detail=f"{place}: {sentence}", errors=(told,)
    )
