"""uvicorn, held to our rules: headers bounded in size and time, malformed HTTP told as a problem, and a drain before the stop.

    SIGTERM -> drain (readyz 503, `Connection: close`, still serving) for drain_seconds -> stop listening -> wait stop_seconds
            -> cut off what still runs -> exit 0

Ctrl-C skips the drain. A second signal hastens the stop, whatever the first waits for: whoever still waits is told so with 503,
engines stop in the batch they are in, and the process exits 0 as after the first. Further SIGTERMs change nothing.
Peers that send no more of their body, or read no more of their answer, are cut off while others are waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, cast

import h11
import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol, RequestResponseCycle
from uvicorn.server import HANDLED_SIGNALS

from drlongformer import logs
from drlongformer.api.connection import StrictConnection
from drlongformer.api.exchange import frame
from drlongformer.api.lifecycle import Lifecycle
from drlongformer.api.problems import HeadersTooSlow, MalformedHead, respond
from drlongformer.api.record import BROKEN, LEFT, Record, begin
from drlongformer.api.security import own_hosts
from drlongformer.errors import InputError
from drlongformer.settings import Settings, SettingsError

BACKLOG = 2048

SHED_SECONDS = 1.0
"""While the server stops: how long a peer may leave its body incomplete, or its answer unread."""

logger = logs.get("server")
_quiet = logs.get("protocol")
_quiet.setLevel("ERROR")


class HttpConfig(uvicorn.Config):
    """uvicorn's configuration, with what our protocol needs besides; `refused` is called for each request that is not HTTP."""

    def __init__(self, app: ASGIApp, *, settings: Settings, refused: Callable[[Record, InputError], None]) -> None:
        super().__init__(
            app,
            http=BoundedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=settings.server.idle_seconds,
            timeout_graceful_shutdown=settings.server.stop_seconds,
        )
        self.max_header_bytes = settings.limits.max_header_bytes
        self.max_body_bytes = settings.limits.max_body_bytes
        self.header_seconds = settings.limits.header_seconds
        self.hosts = own_hosts(settings.server)
        self.refused = refused


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 that closes connections whose headers do not come in time, and refuses what is not HTTP as a problem."""

    config: HttpConfig
    conn: StrictConnection
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, config: HttpConfig, *args: Any, **named: Any) -> None:
        super().__init__(config, *args, **named)
        self.conn = StrictConnection(
            max_header_bytes=config.max_header_bytes, max_body_bytes=config.max_body_bytes, hosts=config.hosts
        )
        self.logger = _quiet  # what it warns of is refused, counted and logged here, with the request's id

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own does
        """Start the clock."""
        super().connection_made(transport)
        self._watch_headers()

    def data_received(self, data: bytes) -> None:
        """Stop the clock when headers are complete, start it with the first byte of the next."""
        super().data_received(data)
        self._watch_headers()

    def eof_received(self) -> None:
        """A peer that shuts its side down has left: most who leave are seen by nothing else."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cast(Scope, cycle.scope)[LEFT] = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._forget()
        super().connection_lost(exc)

    def _should_upgrade(self) -> bool:
        """Never: whoever asks for another protocol is answered in this one, without a line in the log."""
        return False

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's sentence, ours goes out
        """Tell of broken HTTP; a request that is running counts itself."""
        self._tell(self.conn.refusal or MalformedHead("the request is not HTTP"))

    def _tell(self, error: InputError) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            scope = cast(Scope, cycle.scope)
            scope[BROKEN], record = error, begin(scope)
        else:
            record = Record()
            self.config.refused(record, error)
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send_problem(error, record)
        self.transport.close()

    def _send_problem(self, error: InputError, record: Record) -> None:
        response = respond(error, instance=record.request_id)
        response.headers.update({**frame(record), "Connection": "close"})
        for event in (
            h11.Response(
                status_code=response.status_code,
                headers=[*self.server_state.default_headers, *response.raw_headers],
                reason=STATUS_PHRASES[response.status_code],
            ),
            h11.Data(data=b"" if self.conn.method == b"HEAD" else bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")

    def _watch_headers(self) -> None:
        """The time runs from a connection's start, or a later request's first byte, to the end of its headers."""
        if self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.config.header_seconds, self._too_slow)

    def _too_slow(self) -> None:
        """Refuse a head that began and did not end in time; a connection on which nothing came is only closed."""
        came = len(self.conn.trailing_data[0])
        if came and not self.transport.is_closing():
            seconds = self.config.header_seconds
            self._tell(HeadersTooSlow(f"the headers did not arrive within {seconds:g} seconds; {came} bytes came"))
        else:
            self.transport.close()

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class DrainingServer(uvicorn.Server):
    """A server that goes on serving for a while after SIGTERM."""

    def __init__(self, config: HttpConfig, *, lifecycle: Lifecycle, drain_seconds: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain_seconds = drain_seconds
        self._asked = False
        self._stop_at: float | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's own, but a SIGTERM while the process ends does not make a failure of it, nor is one sent again then."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, signal.SIG_IGN if self._asked and sig == signal.SIGTERM else handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the shape of a signal handler
        """Note the signal only: a handler runs between any two instructions, and must not wait for a lock."""
        if self._asked:
            self.should_exit = self.force_exit = True
        elif sig == signal.SIGINT:
            self.should_exit = True
        self._asked = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: begin the drain when asked, end it when it is over."""
        if self._asked and self._stop_at is None:
            self._lifecycle.drain()
            self._stop_at = time.monotonic() + self._drain_seconds
            logger.info("draining")
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening and wait for those who are being answered, and for nobody else."""
        shedding = asyncio.create_task(self._shed())
        try:
            await super().shutdown(sockets)
            if self.force_exit:
                await self._end_at_once()
        finally:
            shedding.cancel()

    async def _end_at_once(self) -> None:
        """Cancel who is being answered, then end the application as uvicorn itself does not where it is forced."""
        logger.info("stopping at once")
        if tasks := list(self.server_state.tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=SHED_SECONDS)
        await self.lifespan.shutdown()

    async def _shed(self) -> None:
        """Cut off peers that did nothing for a while, although it is their turn."""
        unread: dict[H11Protocol, int] = {}
        while True:
            await asyncio.sleep(SHED_SECONDS)
            connections = [each for each in self.server_state.connections if isinstance(each, H11Protocol)]
            for connection in connections:
                cycle: RequestResponseCycle | None = connection.cycle
                left = connection.transport.get_write_buffer_size()
                stuck = 0 < unread.get(connection, 0) <= left
                if stuck or (cycle is not None and cycle.more_body and not cycle.response_complete):
                    connection.transport.abort()
                unread[connection] = left


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that an address that cannot be had is told before models are loaded. Raises SettingsError."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(f"cannot listen on {host} port {port}: {error.strerror}") from None
