"""Logging as a server sets it up, captured, and put back afterwards: its configuration is the process's."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from typing import Literal

from drlongformer import logs


@contextlib.contextmanager
def captured(style: Literal["json", "text"] = "json", level: str = "debug") -> Iterator[io.StringIO]:
    """Everything that is logged inside, as it would be written."""
    with restored():
        stream = io.StringIO()
        logs.configure(style=style, level=level, stream=stream)
        yield stream


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Undo what `logs.configure` did."""
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in (logs.LOGGER, "uvicorn")]
    handlers, level, levels = root.handlers, root.level, [logger.level for logger in ours]
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)
        for logger, before in zip(ours, levels, strict=True):
            logger.setLevel(before)
        logging.captureWarnings(capture=False)
        logging.getLogger("uvicorn.access").disabled = False
