"""Between the steps of `core.py` and httpx: the settings of a connection, a step as a request, its end as an outcome."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, TypedDict

import httpx
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from drlongformer import __version__
from drlongformer.client.core import Outcome, Policy, Reply, Send
from drlongformer.client.errors import InvalidSetting, OutOfTime, Unreachable, Untrusted

DEFAULT_URL = "http://127.0.0.1:8000"
CONCURRENCY = 4
CONNECT_SECONDS = 10.0
GRACE_SECONDS = 5.0
"""What an answer may take beyond the time the service was given: it tells of the deadline itself."""


class Options(TypedDict, total=False):
    """How the service is reached and asked.

    key: an API key. ca: file of the authority that signed the service's certificate, instead of the public ones.
    certificate: files of an own certificate and its key. trust_env: whether proxies and authorities of the environment
    count. headers: sent with every request. deadline_seconds: for one request with all its attempts. retries: attempts after
    the first. request_bytes: of documents in one request, at most. concurrency: requests of one call that are under way
    together. progress: whether calls show a bar.
    """

    key: str | None
    ca: Path | str | None
    certificate: tuple[Path | str, Path | str] | None
    trust_env: bool
    headers: Mapping[str, str]
    deadline_seconds: float
    retries: int
    request_bytes: int
    concurrency: int
    progress: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where the service is and how it is reached (see `Options`); the key is left out of every repr. Raises InvalidSetting."""

    url: str
    key: str | None = field(default=None, repr=False)
    ca: Path | str | None = None
    certificate: tuple[Path | str, Path | str] | None = None
    trust_env: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        _check_url(self.url)
        if self.key is not None and not (self.key and self.key.isascii() and self.key.isprintable()):
            raise InvalidSetting(f"the key ({len(self.key)} characters) is empty or holds a character that no header can carry")

    @classmethod
    def of(cls, url: str, options: Mapping[str, Any]) -> Connection:
        """The connection that these `Options` describe."""
        return cls(url=url, **_those(options, cls))

    def arguments(self) -> dict[str, Any]:
        """Arguments of httpx's clients."""
        headers = {"User-Agent": f"drlongformer/{__version__}", **self.headers}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        return {
            "base_url": self.url,
            "headers": headers,
            "trust_env": self.trust_env,
            "verify": self._verified(),
            "limits": httpx.Limits(max_connections=None, max_keepalive_connections=32),
        }

    def _verified(self) -> ssl.SSLContext | bool:
        if self.ca is None and self.certificate is None:
            return True
        with _naming(self.ca):
            context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            with _naming(*self.certificate):
                context.load_cert_chain(*self.certificate)
        return context


@contextmanager
def _naming(*files: Path | str | None) -> Iterator[None]:
    """What is wrong with files of TLS, told with their names; Python's own errors have none."""
    try:
        yield
    except OSError as error:  # SSLError is one
        named = " and ".join(str(file) for file in files)
        raise InvalidSetting(f"{named} cannot be read as PEM: {error.strerror or type(error).__name__}") from None


def _check_url(url: str) -> None:
    """Raises InvalidSetting; an address may hold a password, so it is not quoted."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidSetting(f"the address must begin with http:// or https:// and name a host, as {DEFAULT_URL} does")


def concurrency(options: Mapping[str, Any]) -> int:
    """How many requests of a call may be under way together. Raises InvalidSetting."""
    asked: int = options.get("concurrency", CONCURRENCY)
    if asked < 1:
        raise InvalidSetting(f"concurrency is {asked}, the least is 1")
    return asked


def policy(options: Mapping[str, Any]) -> Policy:
    """The conduct that these `Options` describe."""
    return Policy(**_those(options, Policy))


def _those(options: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Options that are fields of a dataclass."""
    return {each.name: options[each.name] for each in fields(kind) if each.name in options}


def arguments(step: Send) -> dict[str, Any]:
    """A step as the arguments of httpx's `request`; the service is told how long it has."""
    headers = {"X-Request-Timeout": f"{max(step.seconds, 0.001):.3f}"}
    if step.body is not None:
        headers["Content-Type"] = "application/json"
    seconds = step.seconds + GRACE_SECONDS
    return {
        "method": step.method,
        "url": step.path,
        "content": step.body,
        "headers": headers,
        "timeout": httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
    }


def reply(response: httpx.Response) -> Reply:
    """A response that was read whole."""
    return Reply(status=response.status_code, headers=response.headers, body=response.content)


def failure(error: httpx.HTTPError, step: Send) -> Outcome:
    """What came instead of an answer. Raises OutOfTime where the time is used up."""
    if _is_of_tls(error):
        return Untrusted(f"{step.path} was not asked, for TLS failed: {error}")
    kind = type(error).__name__
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        raise OutOfTime(f"{step.path} was not answered within {step.seconds:.3g} seconds ({kind})") from None
    return Unreachable(f"{step.path} was not answered: {kind}: {error}")


def _is_of_tls(error: BaseException) -> bool:
    """Whether TLS itself refused, which another attempt does not change; a connection that ended within it may come again."""
    while not isinstance(error, ssl.SSLError):
        cause = error.__cause__ or error.__context__
        if cause is None:
            return False
        error = cause
    return not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)


class Bar(Protocol):
    """What is told of documents that are done."""

    def advance(self, documents: int) -> None:
        """So many more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Silent:
    def advance(self, documents: int) -> None:
        """Nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    progress: Progress

    def advance(self, documents: int) -> None:
        """Move the bar."""
        self.progress.advance(self.progress.task_ids[0], documents)


class _ShownProgress(AbstractContextManager[Bar]):
    """A bar on the terminal while documents are answered."""

    def __init__(self, name: str, total: int | None) -> None:
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, transient=False)
        self._progress.add_task(name, total=total)

    def __enter__(self) -> Bar:
        self._progress.start()
        return _Shown(progress=self._progress)

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()


def bar(name: str, total: int | None, *, shown: bool) -> AbstractContextManager[Bar]:
    """The progress of one call."""
    return _ShownProgress(name, total) if shown else nullcontext(_Silent())
