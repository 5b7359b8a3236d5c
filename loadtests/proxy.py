"""The shipped nginx in front of services of our own: `deploy/nginx/nginx.conf` as it is, other replicas, port, certificate.

Only the files that say where, whom, and how much of one address, are written anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.server import free_port
from loadtests.wire import Client

SHIPPED = Path(__file__).parents[1] / "deploy" / "nginx"
RAISED = {
    "rate=100r/s": "rate=10000r/s",
    "connections_of_address 200": "connections_of_address 4000",
    "burst=200": "burst=4000",
}
"""Limits of one address, because here all callers are one."""
_SERVER = "server drlongformer:8000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A running nginx, and how to trust it."""

    process: asyncio.subprocess.Process
    port: int
    folder: Path

    def client(self) -> Client:
        """A client of it, through TLS."""
        tls = ssl.create_default_context(cafile=str(self.folder / "tls" / "server.crt"))
        return Client(host="localhost", port=self.port, tls=tls)

    @property
    def log(self) -> str:
        """Everything that it wrote."""
        return (self.folder / "nginx.log").read_text(encoding="utf-8")


def program() -> str | None:
    """Where nginx is, or None."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def configure(folder: Path, *, port: int, replicas: Sequence[int]) -> None:
    """Write the shipped configuration into `folder`, for these ports on loopback."""
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
    folder.chmod(0o755)  # nginx's workers are nobody
    upstream = folder / "upstream.conf"
    [line] = [line for line in upstream.read_text(encoding="utf-8").splitlines() if line.strip().startswith(_SERVER)]
    lines = "\n".join(line.replace(_SERVER, f"server 127.0.0.1:{replica}") for replica in replicas)
    upstream.write_text(upstream.read_text(encoding="utf-8").replace(line, lines), encoding="utf-8")
    listen = (folder / "listen.conf").read_text(encoding="utf-8")
    listen = listen.replace("listen 443", f"listen 127.0.0.1:{port}").replace("listen [::]:443 ssl;\n", "")
    (folder / "listen.conf").write_text(listen, encoding="utf-8")
    limits = (folder / "limits.conf").read_text(encoding="utf-8")
    for shipped, raised in RAISED.items():
        assert shipped in limits, shipped
        limits = limits.replace(shipped, raised)
    (folder / "limits.conf").write_text(limits, encoding="utf-8")
    _certificate(folder / "tls")


def _certificate(folder: Path) -> None:
    folder.mkdir()
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "server.key"), "-out", str(folder / "server.crt")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own words


def command(nginx: str, folder: Path, *more: str) -> list[str]:
    """How nginx is called on a folder with its configuration."""
    return [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), *more]


@contextlib.asynccontextmanager
async def proxying(replicas: Sequence[int]) -> AsyncIterator[Proxy]:
    """nginx before these ports, stopped at the end. Raises FileNotFoundError where there is no nginx."""
    nginx = program()
    if nginx is None:
        raise FileNotFoundError("there is no nginx; Debian's package of that name has it")
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        configure(folder, port=port, replicas=replicas)
        with (folder / "nginx.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*command(nginx, folder, "-g", "daemon off;"), stdout=log, stderr=log)
        proxy = Proxy(process=process, port=port, folder=folder)
        try:
            await _listening(proxy)
            yield proxy
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _listening(proxy: Proxy) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            (await asyncio.open_connection("127.0.0.1", proxy.port))[1].close()
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"nginx does not listen: {proxy.log}")
