"""The shipped composition, started for real in a folder of its own: what is asked of it, how its commands are called.

Works with `docker compose` and with `podman-compose`; images must be there already (`make image`). The certificate, the keys
and the folders come from deploy/compose/setup, the store holds two versions of the embedded model. Project and addresses are
others than those of a composition that serves on the same machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from loadtests.scenarios.swaps import two_versions
from loadtests.server import free_port
from loadtests.wire import Client

ROOT = Path(__file__).parents[1]
SUBNET = "172.30.251"
PROJECT = ("-p", "drlongformer-rehearsal", "-f", "docker-compose.yml", "-f", "docker-compose.cpu.yml")
REPLICAS = ("drlongformer-1", "drlongformer-2")
STARTED = (*REPLICAS, "nginx", "prometheus")
"""What is started. Left out: the exporter of GPU figures, which needs one, and Grafana, unless asked for."""

SERVICE_USER = 10001
READY_SECONDS = 180.0


class CommandFailed(Exception):
    """A command of the composition ended with another exit code than 0; the end of what it said is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """A composition that runs. compose: the command and its files; environment: what .env would say."""

    compose: Sequence[str]
    environment: dict[str, str]
    folder: Path
    store: Path
    model: str
    port: int

    @property
    def engine(self) -> str:
        """The program that runs single containers."""
        return self.environment["ENGINE"]

    async def run(self, *command: str) -> str:
        """What a program prints, with the composition's environment. Raises CommandFailed."""
        # Files, not pipes: what an engine leaves running (a name server of its network) would keep a pipe open for ever.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=os.environ | self.environment, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err
            )
            await process.wait()
            if process.returncode:
                raise CommandFailed(f"{' '.join(command)}: {process.returncode}: {_read(err)[-2000:]}")
            return _read(out)

    async def call(self, *words: str) -> str:
        """A verb of the composition."""
        return await self.run(*self.compose, *words)

    async def inside(self, service: str, *command: str) -> str:
        """A command in a container that runs."""
        return await self.call("exec", "-T", service, *command)

    async def key(self, name: str) -> str:
        """A new API key, made as an operator makes it."""
        return (await self.call("--profile", "keys", "run", "--rm", "-T", "keys", "create", name)).split()[-1]

    async def activate(self, version: int) -> None:
        """Have a version served, as an operator does."""
        await self.call("--profile", "models", "run", "--rm", "-T", "models", "activate", self.model, str(version))

    async def roll(self) -> None:
        """Make the replicas anew, one after the other, by the shipped script."""
        await self.run("deploy/compose/roll", *self.compose)

    def audit(self) -> list[dict[str, Any]]:
        """The audit lines that all replicas have written, those that were made anew too."""
        return [json.loads(line) for line in (self.folder / "audit" / "audit.jsonl").read_text(encoding="utf-8").splitlines()]

    async def said(self, service: str) -> str:
        """What a container has written to both its streams since it was made."""
        return await self.run("sh", "-c", 'exec "$@" 2>&1', "sh", *self.compose, "logs", service)

    async def query(self, query: str) -> list[float]:
        """The values that Prometheus finds."""
        told = await self.inside("prometheus", "promtool", "query", "instant", "http://localhost:9090", query)
        return [float(line.rpartition("=> ")[2].split(" @")[0]) for line in told.splitlines() if "=> " in line]

    def client(self, *, key: str | None = None) -> Client:
        """A caller, through TLS."""
        tls = ssl.create_default_context(cafile=str(self.folder / "tls" / "server.crt"))
        return Client(host="localhost", port=self.port, key=key, tls=tls)

    async def ready(self) -> None:
        """Wait until the proxy finds a replica that is. Raises TimeoutError."""
        client = self.client()
        async with asyncio.timeout(READY_SECONDS):
            while True:
                with contextlib.suppress(OSError, EOFError):
                    if (await client.get("/readyz")).status == 200:
                        break
                await asyncio.sleep(0.5)
        await client.close()


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def engine_of(compose: Sequence[str]) -> str:
    """docker or podman."""
    return "podman" if Path(compose[0]).name.startswith("podman") else "docker"


def found() -> list[str]:
    """The command that starts compositions here. Raises FileNotFoundError where there is none."""
    if shutil.which("docker-compose") or Path("/usr/libexec/docker/cli-plugins/docker-compose").exists():
        return ["docker", "compose"]
    if shutil.which("podman-compose"):
        return ["podman-compose"]
    raise FileNotFoundError("neither `docker compose` nor `podman-compose` is here; name one with --compose")


@contextlib.asynccontextmanager
async def composed(compose: Sequence[str], *, image: str) -> AsyncIterator[Composition]:
    """Set up, but not yet started; everything is stopped and removed in the end. Raises CommandFailed."""
    with tempfile.TemporaryDirectory() as name:
        made = _described(compose, Path(name), image)
        await made.run("deploy/compose/setup")
        try:
            yield made
        finally:
            await made.call("down", "-t", "45")


def _described(compose: Sequence[str], home: Path, image: str) -> Composition:
    """A composition whose folders lie in `home`, with its store written."""
    folder, store = home / "deployment", home / "store"
    home.chmod(0o755)
    model = two_versions(ROOT / "model_store", store)
    for path in (store, *store.rglob("*")):
        os.chown(path, SERVICE_USER, SERVICE_USER)
    port = free_port()
    environment = {
        "ENGINE": engine_of(compose),
        "DEPLOYMENT": str(folder),
        "MODEL_STORE": str(store),
        "SERVICE_IMAGE": image,
        "SUBNET": SUBNET,
        "LISTEN": f"127.0.0.1:{port}",
        "LISTEN_GRAFANA": f"127.0.0.1:{free_port()}",
    }
    return Composition(
        compose=[*compose, *PROJECT], environment=environment, folder=folder, store=store, model=model, port=port
    )
