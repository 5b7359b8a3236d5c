"""A process whose engine hangs, whose device is lost, or whose batching loop has died, ends itself.

A container that is only unhealthy is not restarted, an engine that hangs in native code cannot be stopped from outside its
thread, and a process that lost a device does not find it again. So: tell it in one line, answer all who wait with 503, and end
with an exit code that says which it was, whatever threads still run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final

from drlongformer import logs
from drlongformer.api.lifecycle import Lifecycle
from drlongformer.errors import DeviceLost, EngineFailed
from drlongformer.serving.models import Models
from drlongformer.serving.pipeline import Pipeline

CHECK_SECONDS: Final = 1.0
FAREWELL_SECONDS: Final = 2.0
"""How long callers may take to be told; an engine that hangs is not waited for longer."""

EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h: an engine hangs, or the batching has died."""

DEVICE_EXIT_CODE: Final = 71
"""EX_OSERR of sysexits.h: a device is lost; where it is lost again after a restart, the host needs care."""

logger = logs.get("watchdog")


def end(code: int) -> None:
    """End the process at once; an ordinary exit would wait for the engine's thread."""
    logging.shutdown()
    os._exit(code)


async def watch(models: Models, pipeline: Pipeline, lifecycle: Lifecycle, *, end: Callable[[int], None] = end) -> None:
    """Check every second, until cancelled or the end."""
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        try:
            models.require_alive()
        except EngineFailed as error:
            code = DEVICE_EXIT_CODE if isinstance(error, DeviceLost) else EXIT_CODE
            logger.critical("%s; the process ends with code %d", error, code)
            lifecycle.drain()
            if isinstance(error, DeviceLost):  # the other devices may still finish what they have
                await _within_farewell(pipeline.drain())
            await _within_farewell(pipeline.stop())
            await asyncio.sleep(0.1)  # the answers go out
            end(code)
            return


async def _within_farewell(work: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(work, FAREWELL_SECONDS)
