"""Logs that cannot hold a text: one line an event, JSON or plain, from named fields.

Only fields named in `FIELDS` are written beside the message, and of an exception only its type and the code it came from:
its message or the lines of a traceback could carry what a patient's file says. The access line is written by `api/exchange.py`.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, TextIO

LOGGER = "drlongformer"

FIELDS = (
    "request_id",
    "method",
    "route",
    "status",
    "problem",
    "duration_seconds",
    "tokenize_seconds",
    "queue_seconds",
    "compute_seconds",
    "documents",
    "tokens",
    "body_bytes",
    "model",
    "error",
    "where",
)
"""All that may stand in a line besides time, level, logger and message."""


def get(name: str) -> logging.Logger:
    """The logger of one module of this package."""
    return logging.getLogger(f"{LOGGER}.{name}")


def origin(error: BaseException) -> dict[str, str]:
    """What may be told of an unexpected exception: its type, and the innermost places of the code it passed."""
    return {"error": type(error).__name__, "where": _where(error.__traceback__)}


def _where(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)[-5:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))


class _Formatter(logging.Formatter):
    """Takes a record apart: the first line of its message, the known fields, the origin of its exception."""

    def message(self, record: logging.LogRecord) -> str:
        """The first line only: asyncio puts the representation of futures, and so of exceptions, into the ones after it."""
        first, *_ = record.getMessage().splitlines() or [""]
        return "".join(character if character.isprintable() else "?" for character in first)

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        found = {name: getattr(record, name) for name in FIELDS if getattr(record, name, None) is not None}
        if record.exc_info and record.exc_info[1] is not None:
            found |= origin(record.exc_info[1])
        return found

    def time(self, record: logging.LogRecord) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, then the fields."""
        line = {
            "time": self.time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message(record),
            **self.fields(record),
        }
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(_Formatter):
    """For people: time, level, message, then `field=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """The same as the JSON line, without the logger's name."""
        fields = " ".join(f"{name}={value}" for name, value in self.fields(record).items())
        return f"{self.time(record)} {record.levelname.lower():7} {self.message(record)} {fields}".rstrip()


def configure(*, style: Literal["json", "text"], level: str, stream: TextIO | None = None) -> None:
    """Send every logger of the process through one PHI-free handler; uvicorn's own access lines hold URLs, so they are off."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in (LOGGER, "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(level.upper())
    logging.getLogger("uvicorn.access").disabled = True
    logging.captureWarnings(capture=True)
