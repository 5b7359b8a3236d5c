"""A service process of a scenario's own: started, found ready, looked at from outside, stopped.

It is the command that users run, `drlongformer serve`, in a process of its own, with its log in a file that is shown if it
does not start. `command` can name another program that serves the same way: the soak's positive control, or a peer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.wire import Client

SERVE = (str(Path(sys.executable).with_name("drlongformer")), "serve")
START_SECONDS = 120.0
MIB = 1024 * 1024


class NotStarted(Exception):
    """A process that ended, or was not ready in time; the end of its log is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running service. ready_seconds: from its start to the first 200 of /readyz."""

    process: asyncio.subprocess.Process
    port: int
    log: Path
    ready_seconds: float

    def client(self, *, key: str | None = None) -> Client:
        """A client of it."""
        return Client(host="127.0.0.1", port=self.port, key=key)

    @property
    def resident_bytes(self) -> int:
        """Memory resident now."""
        return self._memory("VmRSS")

    @property
    def peak_bytes(self) -> int:
        """Most memory that was ever resident."""
        return self._memory("VmHWM")

    @property
    def cpu_seconds(self) -> float:
        """Time of processors that it has used."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def sockets(self) -> int:
        """Sockets that it holds open: the one it listens on, the event loop's own pair, and one a connection."""
        links = (Path(entry.path) for entry in os.scandir(f"/proc/{self.process.pid}/fd"))
        return sum(_leads_to_socket(link) for link in links)

    def _memory(self, name: str) -> int:
        [kilobytes] = re.findall(rf"{name}:\s+([0-9]+) kB", self._proc("status"))
        return int(kilobytes) * 1024

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.process.pid}/{name}").read_text(encoding="utf-8")

    def terminate(self) -> None:
        """Ask it to drain and stop."""
        self.process.send_signal(signal.SIGTERM)

    async def stopped(self, *, seconds: float = 60.0) -> int:
        """Its exit code, once it has ended. Raises TimeoutError."""
        return await asyncio.wait_for(self.process.wait(), seconds)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _leads_to_socket(link: Path) -> bool:
    try:
        return str(link.readlink()).startswith("socket:")
    except FileNotFoundError:  # closed since it was listed
        return False


@contextlib.asynccontextmanager
async def serving(
    *,
    store: Path = Path("model_store"),
    port: int = 0,
    settings: Mapping[str, str] | None = None,
    command: Sequence[str] = SERVE,
    key: str | None = None,
) -> AsyncIterator[Server]:
    """A service on the bundles of `store`, stopped at the end. settings: names without prefix. Raises NotStarted."""
    async with contextlib.AsyncExitStack() as at_the_end:
        folder = Path(at_the_end.enter_context(tempfile.TemporaryDirectory()))
        server = await start(folder, store=store, port=port, settings=settings, command=command, key=key)
        at_the_end.push_async_callback(_end, server.process)
        yield server


async def start(
    folder: Path,
    *,
    store: Path,
    port: int = 0,
    settings: Mapping[str, str] | None = None,
    command: Sequence[str] = SERVE,
    key: str | None = None,
) -> Server:
    """Start a service whose log lies in `folder`, and wait until it is ready. The caller ends it. Raises NotStarted."""
    port = port or free_port()
    log = folder / f"service-{time.monotonic_ns()}.log"
    own = {f"DRLONGFORMER_{name}": value for name, value in {"SERVER__DRAIN_SECONDS": "0.5", **(settings or {})}.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DRLONGFORMER_")}
    begin = time.perf_counter()
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            *command, "--port", str(port), "--store", str(store), stdout=written, stderr=written, env=inherited | own
        )
    try:
        async with asyncio.timeout(START_SECONDS):
            await _ready(process, Client(host="127.0.0.1", port=port, key=key))
    except BaseException as error:
        await _end(process)
        raise NotStarted(f"{command}: {log.read_text(encoding='utf-8')[-2000:]}") from error
    return Server(process=process, port=port, log=log, ready_seconds=time.perf_counter() - begin)


async def _ready(process: asyncio.subprocess.Process, client: Client) -> None:
    while process.returncode is None:
        with contextlib.suppress(OSError, EOFError):
            if (await client.get("/readyz")).status == 200:
                await client.close()
                return
        await asyncio.sleep(0.02)
    raise NotStarted(f"exit code {process.returncode}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and after a while SIGKILL: nothing of a scenario outlives it."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 45)
    except TimeoutError:
        process.kill()
        await process.wait()
