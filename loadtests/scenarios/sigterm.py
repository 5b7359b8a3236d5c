"""SIGTERM with requests in flight and half-open peers: all requests are answered, and the process ends in time with code 0."""

from __future__ import annotations

import asyncio
import time

from loadtests.bench import ROUTE, Bench, Bodies, sender
from loadtests.exposition import Page
from loadtests.openloop import Asked, Outcome, drive, statuses
from loadtests.report import Report
from loadtests.server import Server, serving
from loadtests.wire import Client

TOKENS = 200
DRAIN_SECONDS, STOP_SECONDS = 2, 30
HALF_HEAD = b"POST /embed HTTP/1.1\r\nHost: loc"
HALF_BODY = b'POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"inputs'


async def run(bench: Bench) -> Report:
    """Fill, half-open, signal, wait."""
    report = Report(scenario="sigterm")
    flights, halves = (200, 100) if not bench.short else (40, 20)
    settings = {"SERVER__DRAIN_SECONDS": str(DRAIN_SECONDS), "SERVER__STOP_SECONDS": str(STOP_SECONDS)}
    async with serving(store=bench.store, settings=settings) as server:
        client = server.client()
        bodies = (await Bodies.measured(client, bench.seed)).same(TOKENS, flights)
        peers = [await _half(server, HALF_HEAD if number % 2 else HALF_BODY) for number in range(halves)]
        flying = asyncio.create_task(drive([Asked(at=0.0, body=body) for body in bodies], sender(client)))
        inside = await _taken(client, flights)
        begin = time.monotonic()
        server.terminate()
        outcomes = await flying
        code = await server.stopped(seconds=DRAIN_SECONDS + STOP_SECONDS + 5)
        seconds = time.monotonic() - begin
        await client.close()
        for writer in peers:
            writer.close()
    _judge(report, outcomes, code=code, seconds=seconds)
    report.rows.append(
        {
            "requests": flights,
            "in the service at the signal": inside,
            "half-open peers": halves,
            "answered": statuses(outcomes).get("200", 0),
            "s until the last answer": max(outcome.ended for outcome in outcomes),
            "s from the signal to the exit": seconds,
            "exit code": code,
        }
    )
    return report


def _judge(report: Report, outcomes: list[Outcome], *, code: int, seconds: float) -> None:
    report.hold("all in flight are answered", set(statuses(outcomes)) == {"200"}, str(statuses(outcomes)))
    report.hold("exit code 0", code == 0, str(code))
    longest = DRAIN_SECONDS + STOP_SECONDS
    report.hold(f"in time, {longest} s", seconds <= longest, f"{seconds:.1f} s")
    report.hold("half-open peers do not delay the end", seconds <= max(*(each.ended for each in outcomes), DRAIN_SECONDS) + 5)


async def _half(server: Server, sent: bytes) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(sent)
    await writer.drain()
    return writer


async def _taken(client: Client, count: int) -> int:
    """Wait until the service has all requests, answered or not; how many of them are not yet answered."""
    while True:
        page = Page(await client.page())
        inside = round(page.total("inflight_documents"))
        if inside + page.total("http_requests_total", route=ROUTE, status="200") >= count:
            return inside
        await asyncio.sleep(0.01)
