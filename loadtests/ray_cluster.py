"""A Ray cluster of this machine alone, with the service on it as `deploy/ray/serve.yaml` says; stopped at the end.

Two commands, as an operator gives them: `ray start --head --block` and `serve run`. Bounded in cores and memory, on loopback,
behind a token, without dashboard and without reports to Ray's makers. Everything that Ray writes lies in one folder, removed at
the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from loadtests.server import free_port
from loadtests.wire import Client

SHIPPED = Path(__file__).parents[1] / "deploy" / "ray" / "serve.yaml"
CORES = 2
STORE_BYTES = 100_000_000
START_SECONDS = 240.0
ENVIRONMENT = {
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "drlongformer.scale.front:middlewares",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_automatic_object_spilling_enabled": "0",
}
"""What docs/scale.md has every node start with."""

_HERE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_worker_register_timeout_seconds": "240",
    "RAY_agent_register_timeout_ms": "240000",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    "PYTHONWARNINGS": "ignore",
}
"""A cluster of one host listens on loopback alone (Ray's switch for it, of any system), starts little, and may start slowly."""

_PORTS = (
    "ray-client-server-port",
    "node-manager-port",
    "object-manager-port",
    "dashboard-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
)
"""Given ahead: a node that has to ask its agents for theirs gives up after 15 seconds."""

_REPLICA = "ray::ServeReplica"


class NotStarted(Exception):
    """A cluster that ended, or was not ready in time; the end of its log is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A running cluster: where it answers, where it writes, how it is asked to deploy.

    ready_seconds: from the start of Ray to ready replicas.
    """

    port: int
    folder: Path
    process: int
    address: str
    environment: Mapping[str, str]
    ready_seconds: float

    def client(self) -> Client:
        """A client of it."""
        return Client(host="127.0.0.1", port=self.port)

    def replicas(self) -> tuple[int, ...]:
        """The processes of the replicas: those below our own process alone."""
        return tuple(pid for pid, name in _below(self.process) if name.startswith(_REPLICA))

    async def deploy(self, changes: Mapping[str, Any]) -> None:
        """`serve run` once more, with other settings: Ray replaces the replicas one after the other."""
        file = self.folder / "serve.yaml"
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        content["applications"][0]["args"]["settings"] |= changes
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        if await _serve(self.address, self.folder, self.environment):
            raise NotStarted(_logs(self.folder))

    def written(self) -> Sequence[Path]:
        """Every file that Ray and the replicas wrote."""
        return [path for path in self.folder.rglob("*") if path.is_file()]


def configuration(shipped: str, *, port: int, store: Path, replicas: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The shipped file for this machine: a free port on loopback, one thread a replica, no keys unless `settings` has some."""
    content: dict[str, Any] = yaml.safe_load(shipped)
    content["http_options"] |= {"host": "127.0.0.1", "port": port}
    [service] = content["applications"]
    models = {"store": str(store), "threads": 1}
    service["args"]["settings"] = {"server": {"insecure_no_keys": True}, "models": models, **settings}
    [deployment] = service["deployments"]
    deployment["ray_actor_options"] = {"num_cpus": 0.5}
    deployment["autoscaling_config"] |= {"min_replicas": replicas, "max_replicas": replicas}
    return content


@contextlib.asynccontextmanager
async def cluster(store: Path, *, replicas: int = 2, settings: Mapping[str, Any] | None = None) -> AsyncIterator[Cluster]:
    """A cluster that serves the bundles of `store`. Raises NotStarted."""
    async with contextlib.AsyncExitStack() as at_the_end:
        name = at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
        folder, port, begin = Path(name), free_port(), time.monotonic()
        shipped = SHIPPED.read_text(encoding="utf-8")
        content = configuration(shipped, port=port, store=store, replicas=replicas, settings=settings or {})
        (folder / "serve.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        gcs, environment = free_port(), _inherited() | ENVIRONMENT | _HERE | token
        head = await _command("ray", _head(gcs, folder), folder, environment)
        at_the_end.push_async_callback(_end, head)
        deadline = begin + START_SECONDS
        await _listening(gcs, head, deadline)
        address = f"127.0.0.1:{gcs}"
        while head.returncode is None and time.monotonic() < deadline:
            if await _serve(address, folder, environment) == 0:  # it is refused while the head has no node yet
                break
        await _ready(head, Client(host="127.0.0.1", port=port), folder, replicas, deadline)
        yield Cluster(
            port=port,
            folder=folder,
            process=head.pid,
            address=address,
            environment=environment,
            ready_seconds=time.monotonic() - begin,
        )


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("DRLONGFORMER_", "RAY_"))}


def _head(port: int, folder: Path) -> tuple[str, ...]:
    bounds = ("--num-cpus", str(CORES), "--object-store-memory", str(STORE_BYTES), "--temp-dir", str(folder / "ray"))
    places = ("--node-ip-address", "127.0.0.1", "--port", str(port), *(f"--{name}={free_port()}" for name in _PORTS))
    quiet = ("--no-monitor", "--include-dashboard=false", "--include-log-monitor=false", "--disable-usage-stats")
    return ("start", "--head", "--block", *bounds, *places, *quiet)


async def _command(
    program: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> asyncio.subprocess.Process:
    with (folder / f"{program}.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name(program), *arguments, stdout=log, stderr=log, env=environment, cwd=SHIPPED.parents[2]
        )


async def _serve(address: str, folder: Path, environment: Mapping[str, str]) -> int:
    """Deploy what the folder's file says; the exit code."""
    arguments = ("run", str(folder / "serve.yaml"), "--address", address, "--non-blocking")
    return await (await _command("serve", arguments, folder, environment)).wait()


async def _listening(port: int, head: asyncio.subprocess.Process, deadline: float) -> None:
    while head.returncode is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
            return
        await asyncio.sleep(0.2)


async def _ready(head: asyncio.subprocess.Process, client: Client, folder: Path, replicas: int, deadline: float) -> None:
    while head.returncode is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, EOFError):
            started = sum(name.startswith(_REPLICA) for _, name in _below(head.pid))
            if started >= replicas and (await client.get("/readyz")).status == 200:
                await client.close()
                return
        await asyncio.sleep(0.2)
    raise NotStarted(_logs(folder))


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8")[-2000:] for path in folder.glob("*.log"))


def _below(pid: int) -> list[tuple[int, str]]:
    """Every process below one, with its name."""
    found: list[tuple[int, str]] = []
    with contextlib.suppress(OSError):  # one that has ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text(encoding="utf-8").split()):
                name = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found += [(child, name), *_below(child)]
    return found


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, on which Ray stops what it started; then SIGKILL to whatever of ours is left."""
    ours = [pid for pid, _ in _below(process.pid)]
    if process.returncode is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 20)
    for pid in (*ours, process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await process.wait()
