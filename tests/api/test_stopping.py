"""The end of a server: those who are answered are waited for, idle peers are not, a second signal ends all."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from drlongformer.api.app import create_app
from drlongformer.api.lifecycle import Lifecycle
from drlongformer.api.routes import Service
from drlongformer.serving.metrics import Metrics
from drlongformer.settings import Server, Settings
from tests.api import services
from tests.api.serving import running, until_closed, wait_until

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(server=Server(drain_seconds=0, stop_seconds=30))


def asking() -> bytes:
    body = json.dumps({"inputs": "Toux et fièvre."}).encode()
    head = f"POST /embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def accepted(served: Service) -> float:
    """Requests that are answered, or will be."""
    answered = sum(services.samples(served, "http_requests_total").values())
    return answered + services.samples(served, "inflight_documents")[()]


def test_all_in_flight_are_answered_and_half_open_peers_are_not_waited_for(tmp_path: Path) -> None:
    served = services.service(tmp_path, engine=services.slow_engine(0.2), tree=SETTINGS)
    with (
        running(create_app(served), settings=SETTINGS, lifecycle=served.lifecycle) as server,
        contextlib.ExitStack() as open_peers,
    ):
        halves = [open_peers.enter_context(server.connect()) for _ in range(20)]
        for number, half in enumerate(halves):
            half.sendall(asking()[: 20 if number % 2 else -5])
        peers = [open_peers.enter_context(server.connect()) for _ in range(40)]
        for peer in peers:
            peer.sendall(asking())
        wait_until(lambda: accepted(served) == len(peers))
        assert services.samples(served, "inflight_documents")[()] > len(peers) / 2
        started = time.monotonic()
        server.server.handle_exit(signal.SIGTERM, None)
        assert all(until_closed(peer).startswith(b"HTTP/1.1 200 ") for peer in peers)
        server.thread.join(timeout=20)
        assert not server.thread.is_alive()
        assert time.monotonic() - started < 9  # the time that a body may take is 10


def test_a_second_signal_ends_at_once_and_tells_who_waits(tmp_path: Path) -> None:
    tree = Settings(server=Server(drain_seconds=30, stop_seconds=30))
    served = services.service(tmp_path, engine=services.slow_engine(60), tree=tree)
    with running(create_app(served), settings=tree, lifecycle=served.lifecycle) as server, server.connect() as peer:
        peer.sendall(asking())
        wait_until(lambda: services.samples(served, "inflight_documents")[()] == 1)
        started = time.monotonic()
        for _ in range(2):
            server.server.handle_exit(signal.SIGTERM, None)
        assert until_closed(peer).startswith(b"HTTP/1.1 503 ")
        server.thread.join(timeout=20)
        assert not server.thread.is_alive()
        assert time.monotonic() - started < 5


def test_a_peer_that_does_not_read_its_answer_is_not_waited_for() -> None:
    async def large(_request: Request) -> Response:
        return Response(b"x" * 50_000_000)

    app, lifecycle = Starlette(routes=[Route("/", large)]), Lifecycle(Metrics.create())
    with running(app, settings=SETTINGS, lifecycle=lifecycle) as server, socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(("127.0.0.1", server.port))
        peer.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert peer.recv(10)
        started = time.monotonic()
        server.server.handle_exit(signal.SIGTERM, None)
        server.thread.join(timeout=20)
        assert not server.thread.is_alive()
        assert time.monotonic() - started < 9


SERVING = """
import sys
from pathlib import Path
from drlongformer import logs
from drlongformer.api.app import create_app
from drlongformer.api.server import DrainingServer, HttpConfig, listen
from drlongformer.settings import Server, Settings
from tests.api import services

logs.configure(style="json", level="info")
tree = Settings(server=Server(drain_seconds=60, stop_seconds=60))
served = services.service(Path(sys.argv[1]), engine=services.slow_engine(60), tree=tree)
config = HttpConfig(create_app(served), settings=tree, refused=lambda record, error: None)
with listen("127.0.0.1", 0) as bound:
    print(bound.getsockname()[1], flush=True)
    DrainingServer(config, lifecycle=served.lifecycle, drain_seconds=60).run(sockets=[bound])
"""


@contextlib.contextmanager
def process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server in a process of its own that takes a minute to answer, to drain and to stop; and its port."""
    command = [sys.executable, "-c", SERVING, str(folder / "store")]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        with running:
            try:
                assert running.stdout is not None
                yield running, int(running.stdout.readline())
            finally:
                running.kill()


@pytest.mark.parametrize("apart_seconds", [0.0, 0.4])
def test_signals_after_the_first_hasten_the_stop_of_a_real_process_without_a_word_of_alarm(
    apart_seconds: float, tmp_path: Path
) -> None:
    with process(tmp_path) as (running, port), socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
        peer.sendall(asking())
        wait_until(lambda: in_flight(port) == 1, 30)
        started = time.monotonic()
        running.send_signal(signal.SIGTERM)
        wait_until(lambda: "draining" in (tmp_path / "log").read_text())
        for _ in range(3):
            with contextlib.suppress(ProcessLookupError):
                running.send_signal(signal.SIGTERM)
            time.sleep(apart_seconds)
        assert until_closed(peer).startswith(b"HTTP/1.1 503 ")
        assert running.wait(30) == 0
        assert time.monotonic() - started < 20
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {line["level"] for line in lines} == {"info"}
    assert [line["message"] for line in lines].count("stopping at once") == 1


def in_flight(port: int) -> float:
    """Documents that the process is answering, once it serves."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    return float(re.findall(r"^drlongformer_inflight_documents (.*)$", text, re.MULTILINE)[0])
