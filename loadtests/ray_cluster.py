"""A Ray cluster of this machine alone, with the service on it as `deploy/ray/serve.yaml` says; stopped at the end.

Two commands, as an operator gives them: `ray start --head --block` and `serve run`. Bounded in cores and memory, on loopback,
behind a token, without dashboard and without reports to Ray's makers. Everything that Ray writes lies in one folder, removed at
the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from loadtests.server import free_port
from loadtests.wire import Client

SHIPPED = Path(__file__).parents[1] / "deploy" / "ray" / "serve.yaml"
CORES = 2
STORE_BYTES = 100_000_000
MEMORY_BYTES = 2_000_000_000
"""What should be free: a cluster of two replicas of a small model takes 1.05 GB (measured as the sum of its processes' PSS)."""
START_SECONDS = 420.0
END_SECONDS = 5.0
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
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_health_check_timeout_ms": "120000",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
    "PYTHONWARNINGS": "ignore",
    "PYTHONUNBUFFERED": "1",
}
"""A cluster of one host listens on loopback alone (Ray's switch for it, of any system), starts little, and may start slowly.

Nor does it take a busy machine's pauses for the end of a node or proxy, or end a replica for the memory that others hold.
"""

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

    def client(self, *, key: str | None = None) -> Client:
        """A client of it."""
        return Client(host="127.0.0.1", port=self.port, key=key)

    def processes(self, name: str) -> tuple[int, ...]:
        """The processes whose name begins so: of those below our own process alone."""
        return tuple(pid for pid, found in _below(self.process) if found.startswith(name))

    def replicas(self) -> tuple[int, ...]:
        """The processes of the replicas."""
        return self.processes(_REPLICA)

    async def deploy(self, settings: Mapping[str, Any], *, autoscaling: Mapping[str, Any]) -> None:
        """`serve run` once more, with other settings: Ray replaces the replicas one after the other."""
        file = self.folder / "serve.yaml"
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        [service] = content["applications"]
        service["args"]["settings"] |= settings
        service["deployments"][0]["autoscaling_config"] |= autoscaling
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        if await _serve(self.address, self.folder, self.environment):
            raise NotStarted(_logs(self.folder))

    def written(self) -> Sequence[Path]:
        """Every file that Ray and the replicas wrote."""
        return [path for path in self.folder.rglob("*") if path.is_file()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A cluster's size, settings in place of this machine's, and lengths of queues in place of the shipped file's."""

    replicas: int = 2
    settings: Mapping[str, Any] = field(default_factory=dict)
    queues: Mapping[str, int] = field(default_factory=dict)


def free_memory() -> int:
    """Bytes that could be had on this machine now."""
    [kilobytes] = re.findall(r"MemAvailable:\s+([0-9]+) kB", Path("/proc/meminfo").read_text(encoding="utf-8"))
    return int(kilobytes) * 1024


def configuration(shipped: str, *, port: int, store: Path, wanted: Wanted) -> dict[str, Any]:
    """The shipped file for this machine: a free port on loopback, one thread a replica, no keys unless settings name some."""
    content: dict[str, Any] = yaml.safe_load(shipped)
    content["http_options"] |= {"host": "127.0.0.1", "port": port}
    [service] = content["applications"]
    models = {"store": str(store), "threads": 1}
    service["args"]["settings"] = {"server": {"insecure_no_keys": True}, "models": models, **wanted.settings}
    [deployment] = service["deployments"]
    deployment |= {"ray_actor_options": {"num_cpus": 0.5}, **wanted.queues}
    deployment["autoscaling_config"] |= {"min_replicas": wanted.replicas, "max_replicas": wanted.replicas}
    return content


@contextlib.asynccontextmanager
async def cluster(store: Path, wanted: Wanted = Wanted()) -> AsyncIterator[Cluster]:
    """A cluster that serves the bundles of `store`. Raises NotStarted."""
    async with contextlib.AsyncExitStack() as at_the_end:
        name = at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
        folder, port, begin = Path(name), free_port(), time.monotonic()
        shipped = SHIPPED.read_text(encoding="utf-8")
        content = configuration(shipped, port=port, store=store, wanted=wanted)
        (folder / "serve.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        token = secrets.token_hex(32)
        environment = _inherited() | ENVIRONMENT | _HERE | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        deadline = begin + START_SECONDS
        head, address = await _up(folder, environment, deadline)
        at_the_end.push_async_callback(_end, head, token)
        await _ready(head, Client(host="127.0.0.1", port=port), folder, wanted.replicas, deadline)
        yield Cluster(
            port=port,
            folder=folder,
            process=head.pid,
            address=address,
            environment=environment,
            ready_seconds=time.monotonic() - begin,
        )


async def _up(folder: Path, environment: Mapping[str, str], deadline: float) -> tuple[asyncio.subprocess.Process, str]:
    """A node that has taken what is to be served, and its address; one that ends of itself is followed by another.

    Ray gives a node 30 seconds to start, and its agent 15, on a busy machine too.
    """
    while True:
        port = free_port()
        head = await _command("ray", _head(port, folder), folder, environment)
        async with contextlib.AsyncExitStack() as unless_up:
            unless_up.push_async_callback(_end, head, environment["RAY_AUTH_TOKEN"])
            await _node(head, folder, deadline)
            while head.returncode is None and time.monotonic() < deadline:
                if await _serve(f"127.0.0.1:{port}", folder, environment) == 0:
                    unless_up.pop_all()
                    return head, f"127.0.0.1:{port}"
        if time.monotonic() > deadline:
            raise NotStarted(_logs(folder))


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("DRLONGFORMER_", "RAY_"))}


def _head(port: int, folder: Path) -> tuple[str, ...]:
    memory = ("--memory", str(MEMORY_BYTES), "--object-store-memory", str(STORE_BYTES))  # else Ray refuses where little is free
    bounds = ("--num-cpus", str(CORES), *memory, "--temp-dir", str(folder / "ray"))
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


async def _node(head: asyncio.subprocess.Process, folder: Path, deadline: float) -> None:
    """Wait until the node says that it runs: a second program that starts meanwhile could cost it its 30 seconds."""
    while head.returncode is None and time.monotonic() < deadline:
        if b"Ray runtime started" in (folder / "ray.log").read_bytes():
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


def _carrying(token: str) -> list[int]:
    """Every process that was started with this token: those whose parent has ended as well."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # one that has ended meanwhile, or is another user's
            found += [int(folder.name)] if token.encode() in (folder / "environ").read_bytes() else []
    return found


async def _end(head: asyncio.subprocess.Process, token: str) -> None:
    """SIGTERM, on which Ray begins to stop what it started; then SIGKILL to whatever of ours is left, by its number."""
    ours = [pid for pid, _ in _below(head.pid)]
    if head.returncode is None:
        head.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(head.wait(), END_SECONDS)
    for pid in {*ours, *_carrying(token)}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await head.wait()
