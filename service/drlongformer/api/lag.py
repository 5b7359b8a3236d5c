"""How late the event loop wakes a sleeper: what every request in the process feels when something holds the loop."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from prometheus_client import Histogram

INTERVAL_SECONDS = 0.25


async def watch(lag_seconds: Histogram) -> NoReturn:
    """Observe the lag until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + INTERVAL_SECONDS
        await asyncio.sleep(INTERVAL_SECONDS)
        lag_seconds.observe(max(0.0, loop.time() - due))
