"""A real server on loopback for the tests that need sockets: bad bytes, slow peers, drains."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from drlongformer.api.app import build, create_app
from drlongformer.api.lifecycle import Lifecycle
from drlongformer.api.record import Record
from drlongformer.api.server import DrainingServer, HttpConfig, listen
from drlongformer.errors import InputError
from drlongformer.settings import Models, Server, Settings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers on a free port of loopback."""

    server: DrainingServer
    port: int
    thread: threading.Thread

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def exchange(self, sent: bytes) -> bytes:
        """Everything that comes back until the server closes."""
        with self.connect() as peer:
            with contextlib.suppress(ConnectionError):  # it may refuse while we still write
                peer.sendall(sent)
            return until_closed(peer)


def until_closed(peer: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := peer.recv(65536):
            received += chunk
    return received


@contextlib.contextmanager
def running(
    app: ASGIApp,
    *,
    settings: Settings,
    lifecycle: Lifecycle,
    refused: Callable[[Record, InputError], None] = lambda _record, _error: None,
) -> Iterator[Running]:
    """Serve `app` in a thread, and stop it in the end."""
    bound = listen("127.0.0.1", 0)
    server = DrainingServer(
        HttpConfig(app, settings=settings, refused=refused), lifecycle=lifecycle, drain_seconds=settings.server.drain_seconds
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield Running(server=server, port=bound.getsockname()[1], thread=thread)
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        bound.close()
    assert not thread.is_alive()


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextlib.contextmanager
def embedded() -> Iterator[Running]:
    """The embedded model, served as it is shipped, on one thread."""
    settings = Settings(models=Models(store=ROOT / "model_store", threads=1), server=Server(drain_seconds=0))
    service = build(settings)
    with running(create_app(service), settings=settings, lifecycle=service.lifecycle) as it:
        yield it
