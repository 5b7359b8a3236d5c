"""A hundred megabytes of headers, on several connections at once: each is closed at the limit, and memory stays."""

from __future__ import annotations

import asyncio
import contextlib

from loadtests.bench import Bench, Bodies, sender
from loadtests.exposition import Page, adds_up
from loadtests.openloop import closed_loop
from loadtests.report import Report, Target
from loadtests.server import MIB, Server, serving

LINE = b"X-Filling: " + b"a" * 1000 + b"\r\n"
CHUNK = LINE * 64


async def run(bench: Bench) -> Report:
    """Flood, and look at memory before and after."""
    report = Report(scenario="headers")
    size, connections = 100 * MIB, bench.many(20, 4)
    async with serving(store=bench.store) as server:
        client = server.client()
        bodies = (await Bodies.measured(client, bench.seed)).same(200, 40)
        before = await closed_loop(bodies, sender(client), callers=4)
        resident, peak = server.resident_bytes, server.peak_bytes
        floods = await asyncio.gather(*(_flood(server, size) for _ in range(connections)))
        grown, grown_peak = server.resident_bytes - resident, server.peak_bytes - peak
        after = await closed_loop(bodies, sender(client), callers=4)
        page = Page(await client.page())
        report.laws += adds_up(page, client.tally)
        await client.close()
    refused = page.total("http_requests_total", status="413")
    report.hold(
        "every flood was cut off", all(sent < size for sent, _ in floods), f"{max(sent for sent, _ in floods)} bytes at most"
    )
    report.hold("each was refused with 413 once", refused == connections, f"{refused:g} of {connections}")
    report.hold("callers before and after are answered", all(each.answered for each in (*before, *after)))
    report.rows.append(
        {
            "connections": connections,
            "bytes that each would send": size,
            "bytes that the kernel took, at most": max(sent for sent, _ in floods),
            "s until cut off, at most": max(seconds for _, seconds in floods),
            "MiB resident more": grown / MIB,
            "MiB peak more": grown_peak / MIB,
        }
    )
    report.targets.append(Target(what="MiB of memory more", value=max(grown, grown_peak) / MIB, bound=5.0))
    return report


async def _flood(server: Server, size: int) -> tuple[int, float]:
    """Bytes that could be sent before the connection was closed, and seconds."""
    begin, sent = asyncio.get_running_loop().time(), 0
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.transport.set_write_buffer_limits(high=len(CHUNK))
    with contextlib.suppress(ConnectionError):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        while sent < size:
            writer.write(CHUNK)
            await writer.drain()
            sent += len(CHUNK)
    writer.transport.abort()
    return sent, asyncio.get_running_loop().time() - begin
