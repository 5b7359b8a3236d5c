"""Who asked what, apart from the logs: one JSON line a request, with the key, the named user, the study and counts; no text.

`docs/audit.md` publishes the form of a line. Users and studies are named by headers, and believed only from the addresses of
proxies that are trusted. A file that was moved away (rotation) is opened anew. A line that cannot be written is an error in the
log, and the request is answered all the same.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.types import Scope

from drlongformer import __version__, logs
from drlongformer.api.gate import OPEN_ROUTES
from drlongformer.api.record import Record
from drlongformer.settings import Audit, SettingsError

STDOUT: Final = Path("-")
REFUSED: Final = "?"
"""Stands for a name that does not look like one: what callers write freely is not kept."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/=+-]{0,127}")

logger = logs.get("audit")


class AuditLine(BaseModel):
    """One request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: datetime = Field(description="When it was answered, UTC.")
    request_id: str = Field(description="As in `X-Request-Id` and in the log.")
    key: str | None = Field(description="Id of its key; null where none is asked, or none was recognised.")
    user: str | None = Field(description="The user that a trusted proxy named; `?` for a name that is none.")
    study: str | None = Field(description="The study or department that a trusted proxy named; `?` likewise.")
    method: str = Field(description="HTTP method, `other` for an unknown one.")
    route: str = Field(description="Template of the route, `other` where none was reached.")
    status: int = Field(description="HTTP status of the answer.")
    problem: str | None = Field(description="Kind of refusal, null for an answer.")
    documents: int | None = Field(description="Documents of the request, null where it was refused before they were counted.")
    tokens: int | None = Field(description="Tokens that were computed, null for a refusal.")
    model: str | None = Field(description="`name:version` of the model that answered.")
    service: str = Field(__version__, description="Version of the service.")


class AuditLog:
    """Writes the lines of one service."""

    def __init__(self, settings: Audit, path: Path) -> None:
        """Raises SettingsError for a file that cannot be written, and for headers that nobody is trusted to send."""
        if (settings.user_header or settings.study_header) and not settings.trusted_proxies:
            raise SettingsError(
                "a header that names users or studies is believed from DRLONGFORMER_AUDIT__TRUSTED_PROXIES alone"
            )
        self._settings = settings
        self._path = path
        self._trusted = [_network(address) for address in settings.trusted_proxies]
        self._broken = False
        try:
            self._file = self._open()
        except OSError as error:
            raise SettingsError(f"the audit file {path} cannot be written: {error.strerror}") from None

    @classmethod
    def of(cls, settings: Audit) -> AuditLog | None:
        """The audit log that was asked for. Raises SettingsError."""
        return None if settings.file is None else cls(settings, settings.file)

    def write(self, scope: Scope, record: Record, *, route: str, method: str) -> None:
        """Write the line of one answered request; probes and documents have none."""
        if route in OPEN_ROUTES:
            return
        trusted, headers = self._trusts(scope), Headers(scope=scope)
        line = AuditLine(
            time=datetime.now(UTC),
            request_id=record.request_id,
            key=record.key.id if record.key else None,
            user=_named(headers, self._settings.user_header) if trusted else None,
            study=_named(headers, self._settings.study_header) if trusted else None,
            method=method,
            route=route,
            status=record.status or 500,
            problem=record.problem,
            documents=record.documents,
            tokens=record.tokens,
            model=record.model,
        )
        self._append(line.model_dump_json().encode() + b"\n")

    def _append(self, line: bytes) -> None:
        try:
            if self._path != STDOUT and not self._is_current():
                os.close(self._file)
                self._file = self._open()
            while line:  # as good as always one write, of a file opened to append: lines never mix
                line = line[os.write(self._file, line) :]
        except OSError as error:
            if not self._broken:
                logger.error("audit lines cannot be written", extra=logs.origin(error))  # noqa: TRY400 - type and place are told
            self._broken = True
        else:
            if self._broken:
                logger.warning("audit lines are written again")
            self._broken = False

    def _open(self) -> int:
        if self._path == STDOUT:
            return sys.stdout.fileno()
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _is_current(self) -> bool:
        """Whether the file is still the one of this path."""
        try:
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        except FileNotFoundError:
            return False

    def _trusts(self, scope: Scope) -> bool:
        """Whether the peer of the connection is a trusted proxy."""
        host = (scope.get("client") or ("", 0))[0]
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


def _named(headers: Headers, header: str | None) -> str | None:
    """The name that a header gives: null without it, `?` where it is given twice or does not look like one."""
    values = headers.getlist(header) if header else []
    if not values:
        return None
    return values[0] if len(values) == 1 and _NAME.fullmatch(values[0]) else REFUSED


def _network(address: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(address, strict=False)
    except ValueError:
        raise SettingsError(
            "DRLONGFORMER_AUDIT__TRUSTED_PROXIES lists addresses or networks, as 127.0.0.1 or 10.0.0.0/8"
        ) from None
