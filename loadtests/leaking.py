"""The soak's positive control: the service as it is, but 16 KiB are kept of every request; a soak must flag it.

python -m loadtests.leaking --port 0 --store model_store
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from drlongformer import logs, settings
from drlongformer.api.app import build, create_app
from drlongformer.api.exchange import account_refused
from drlongformer.api.server import DrainingServer, HttpConfig, listen

LEAK_BYTES: Final = 16 * 1024
_kept: list[bytes] = []


class Leaking:
    """ASGI middleware that forgets nothing."""

    def __init__(self, app: ASGIApp, leak_bytes: int) -> None:
        self._app = app
        self._leak_bytes = leak_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keep, and pass on."""
        _kept.append(b"x" * self._leak_bytes)
        await self._app(scope, receive, send)


def main() -> None:
    """Serve, and leak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--leak-bytes", type=int, default=LEAK_BYTES)
    options = parser.parse_args()
    chosen = settings.load({"server": {"port": options.port}, "models": {"store": options.store}})
    logs.configure(style=chosen.logs.format, level=chosen.logs.level)
    service = build(chosen)
    with listen(chosen.server.host, chosen.server.port) as bound:
        app = Leaking(create_app(service), options.leak_bytes)
        config = HttpConfig(app, settings=chosen, refused=partial(account_refused, service.metrics))
        server = DrainingServer(config, lifecycle=service.lifecycle, drain_seconds=chosen.server.drain_seconds)
        logs.get("app").info("listening on http://%s:%d", *bound.getsockname()[:2])
        server.run(sockets=[bound])


if __name__ == "__main__":
    main()
