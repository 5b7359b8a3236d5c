"""The shipped nginx configuration is one that nginx takes, and does what its comments say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from loadtests import proxy
from loadtests.proxy import Proxy, proxying
from loadtests.server import free_port
from loadtests.wire import read_reply

nginx = proxy.program()
needs_nginx = pytest.mark.skipif(nginx is None, reason="there is no nginx here; Debian's package of that name has it")
CANARY = "Jean-Zebulon"


@needs_nginx
def test_nginx_takes_the_shipped_configuration(tmp_path: Path) -> None:
    assert nginx is not None
    folder = tmp_path / "nginx"
    proxy.configure(folder, port=free_port(), replicas=[8001, 8002])
    done = subprocess.run(proxy.command(nginx, folder, "-t"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr
    assert (folder / "nginx.conf").read_bytes() == (proxy.SHIPPED / "nginx.conf").read_bytes()


class Replica:
    """A service of a few lines that notes what reaches it, and answers with a status."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.heads: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line.split(": ")[1]) for line in head.split("\r\n") if line.startswith("Content-Length")), 0)
        await reader.readexactly(length)
        self.heads.append(head)
        writer.write(b"HTTP/1.1 %d Any\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}" % self.status)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def before_one(replica: Replica) -> AsyncIterator[Proxy]:
    async with (
        await asyncio.start_server(replica, "127.0.0.1", 0) as server,
        proxying([server.sockets[0].getsockname()[1]]) as before,
    ):
        yield before


@needs_nginx
async def test_a_request_goes_to_the_next_replica_if_one_refuses_or_says_503() -> None:
    stopping, good = Replica(503), Replica(200)
    async with (
        await asyncio.start_server(stopping, "127.0.0.1", 0) as first,
        await asyncio.start_server(good, "127.0.0.1", 0) as second,
    ):
        ports = [first.sockets[0].getsockname()[1], second.sockets[0].getsockname()[1], free_port()]
        async with proxying(ports[:2]) as before:
            client = before.client()
            assert [(await client.ask("/embed", b"{}")).status for _ in range(8)] == [200] * 8
            await client.close()
        async with proxying(ports[1:]) as before:  # nobody listens on the last
            client = before.client()
            assert [(await client.ask("/embed", b"{}")).status for _ in range(8)] == [200] * 8
            await client.close()
    assert stopping.heads
    assert len(good.heads) == 16


@needs_nginx
async def test_a_slow_body_never_reaches_the_service_and_no_caller_writes_trusted_headers() -> None:
    replica = Replica(200)
    async with before_one(replica) as before:
        client = before.client()
        reader, writer = await client.connect()
        forged = {"X-Remote-User": CANARY, "X-Forwarded-For": "8.8.8.8", "X-Request-Id": "own-1"}
        message = client.message("/embed", b'{"inputs": "Toux."}', forged)
        writer.write(message[:-5])
        await writer.drain()
        await asyncio.sleep(0.5)
        assert replica.heads == []
        writer.write(message[-5:])
        assert (await read_reply(reader)).status == 200
        writer.close()
        await client.close()
    [head] = replica.heads
    assert CANARY not in head
    assert "X-Forwarded-For: 127.0.0.1\r\n" in head
    assert "X-Request-Id: own-1\r\n" in head
    assert "Host: localhost\r\n" in head


@needs_nginx
async def test_neither_query_strings_nor_paths_nor_bodies_are_written_anywhere() -> None:
    replica = Replica(200)
    async with before_one(replica) as before:
        client = before.client()
        await client.ask(f"/embed?patient={CANARY}", json.dumps({"inputs": CANARY * 500_000}).encode())
        await client.ask(f"/{CANARY}", b"{}", {"User-Agent": CANARY, "Referer": CANARY})
        lines = [json.loads(line) for line in before.log.splitlines() if line.startswith("{")]
        files = [path.read_bytes() for path in before.folder.rglob("*") if path.is_file()]
        await client.close()
    assert [line["route"] for line in lines] == ["/embed", "other"]
    assert not any(CANARY.encode() in content for content in files)


@needs_nginx
async def test_metrics_are_not_for_callers_and_a_body_too_large_is_refused() -> None:
    replica = Replica(200)
    async with before_one(replica) as before:
        client = before.client()
        assert (await client.get("/metrics")).status == 404
        assert (await client.get("/debug/slow")).status == 404
        reader, writer = await client.connect()
        writer.write(b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n")
        assert (await read_reply(reader)).status == 413
        writer.close()
        await client.close()
    assert replica.heads == []
