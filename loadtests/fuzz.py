"""A running service under bad requests: generated ones from a seed (`fuzz_grammar.py`), and on demand those of the tests.

Two services of the embedded model, one after the other: one that asks no key, one that asks for keys and writes an audit
stream. Each is sent half of the requests over raw sockets, a new connection each. The laws; each breach is counted:

    no answer 5xx                              no process that ended
    no canary in an answer that refuses, in the logs, the audit, the metrics or a file
    every connection is answered or closed within seconds, and in the end a right request is answered and nothing is in flight

Prints counts by status and by what was broken, and one JSON line last; exit code 1 where a law is broken.

    python -m loadtests.fuzz --requests 100000 --hand-made --seed 0
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

from drlongformer.api import keys
from drlongformer.api.keys import Key, KeyFile
from loadtests.fuzz_framing import CANARY
from loadtests.fuzz_grammar import TEXT, Attack, attack

STATUS: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
LATE_SECONDS: Final = 60.0
"""Longer than any of the service's own limits below, however busy the machine is."""
LINGER_SECONDS: Final = 0.05
"""How long a kept connection is listened to for further answers."""
START_SECONDS: Final = 120.0
SECRET: Final = "un-secret-de-fuzz"  # noqa: S105 - of a key that lives as long as the run
RIGHT_KEY: Final = f"Bearer fuzz1111.{SECRET}".encode()


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of the requests so far; `broken` holds the laws that were broken, each with how often."""

    sent: int = 0
    different: set[int] = field(default_factory=set)
    refused: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, one: Attack, statuses: Sequence[str], *, leaked: bool) -> None:
        """One request, and the statuses of all answers to it, or what became of the connection."""
        self.sent += 1
        self.different.add(hash(one.wire))
        self.refused += statuses[0] != "200"
        self.statuses.update(statuses[:1])
        self.ways.update(way.partition(":")[0].partition(" ")[0] for way in one.ways)
        laws = {
            "5xx": any(status.startswith("5") for status in statuses),
            "late": "late" in statuses,
            "leaks": leaked,
        }
        for law, is_broken in laws.items():
            if is_broken:
                self.broken[law] += 1
                self.examples = [*self.examples, f"{law}: {statuses} {one.ways} {one.wire[:300]!r}"][:20]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service process of ours, and the folder that holds everything it can write."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path


@contextlib.contextmanager
def serving(store: Path, *, keyed: bool, limits: Iterable[tuple[str, str]] = ()) -> Iterator[Service]:
    """Run the service with every output kept, at its most talkative."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "tmp").mkdir()
        told = {
            "DRLONGFORMER_LOGS__LEVEL": "debug",
            "DRLONGFORMER_LIMITS__HEADER_SECONDS": "1",
            "DRLONGFORMER_LIMITS__BODY_SECONDS": "1",
            "DRLONGFORMER_SERVER__DRAIN_SECONDS": "0",
            "DRLONGFORMER_SERVER__IDLE_SECONDS": "2",
            "TMPDIR": str(folder / "tmp"),
            **dict(limits),
        }
        if keyed:
            _write_keys(folder / "keys.json")
            told |= {
                "DRLONGFORMER_SERVER__KEYS": str(folder / "keys.json"),
                "DRLONGFORMER_AUDIT__FILE": str(folder / "audit.jsonl"),
            }
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        command = [str(Path(sys.executable).with_name("drlongformer")), "serve", "--threads", "1"]
        command += ["--port", str(port), "--store", str(store.resolve())]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, env=os.environ | told, stdout=log, stderr=log)  # noqa: S603 - our own command
            try:
                yield Service(process=process, port=port, folder=folder)
            finally:
                process.kill()
                process.wait()


def _write_keys(path: Path) -> None:
    scopes: tuple[keys.Scope, ...] = ("infer", "admin", "metrics")
    hashed = keys.digest(SECRET.encode()).hex()
    key = Key(id="fuzz1111", name="fuzz", sha256=hashed, scopes=scopes, created=datetime.now(UTC))
    keys.write(path, KeyFile(keys=(key,)))


async def exchange(port: int, wire: bytes) -> tuple[list[str], bytes]:
    """Send bytes on a connection of their own; the statuses that came back or what became of it, and all that came."""
    received = b""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            with contextlib.suppress(ConnectionError):  # it may be refused while we still write
                writer.write(wire)
                await writer.drain()
            received = await _heard(reader)
            if not _is_whole(received) and not reader.at_eof():
                return ["late"], received
        finally:
            writer.close()
    except ConnectionError:
        pass
    return [status.decode() for status in STATUS.findall(received)] or ["closed"], received


async def _heard(reader: asyncio.StreamReader) -> bytes:
    """All that comes, until the end, until a kept connection falls silent, or until it is too late."""
    received, until = b"", time.monotonic() + LATE_SECONDS
    with contextlib.suppress(TimeoutError):
        while True:
            kept = _is_whole(received) and b"\r\nconnection: close" not in received.lower()
            left = LINGER_SECONDS if kept else until - time.monotonic()
            chunk = await asyncio.wait_for(reader.read(1 << 16), left)
            if not chunk:
                return received
            received += chunk
    return received


def _is_whole(received: bytes) -> bool:
    """Whether the first answer is there to its end."""
    head, end, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: ([0-9]+)", head.lower())
    return bool(end) and (length is None or len(body) >= int(length[1]))


async def send_all(port: int, attacks: Iterator[Attack], tally: Tally, *, until: int, concurrency: int) -> None:
    """Send requests until so many were refused, or until there are no more."""

    async def worker() -> None:
        for one in attacks:
            statuses, received = await exchange(port, one.wire)
            refuses = not {"200", "late", "closed"} & set(statuses)
            tally.add(one, statuses, leaked=refuses and CANARY.encode() in received.lower())
            if tally.refused >= until:
                return

    await asyncio.gather(*(worker() for _ in range(concurrency)))


def generated(seed: int, *, keyed: bool) -> Iterator[Attack]:
    """Attacks without end; three of four bring the right key where one is asked."""
    random = Random(seed)
    while True:
        yield attack(random, authorization=RIGHT_KEY if keyed and random.random() < 0.75 else b"")


def asked(method: str, path: str, *, keyed: bool, body: bytes = b"") -> bytes:
    """A right request."""
    authorization = b"Authorization: " + RIGHT_KEY + b"\r\n" if keyed else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return head.encode() + authorization + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def ready(service: Service) -> None:
    """Wait until it answers. Raises RuntimeError where it does not start."""
    until = time.monotonic() + START_SECONDS
    while (await exchange(service.port, asked("GET", "/readyz", keyed=False)))[0] != ["200"]:
        if service.process.poll() is not None or time.monotonic() > until:
            raise RuntimeError((service.folder / "log").read_text(encoding="utf-8")[-2000:])
        await asyncio.sleep(0.1)


async def settled(service: Service, tally: Tally, *, keyed: bool) -> None:
    """After all of it: whether it is well, and what it wrote."""
    await asyncio.sleep(3)  # what still waits for bodies is given up
    if service.process.poll() is not None:
        tally.broken["ended"] += 1
        return
    body = json.dumps({"inputs": TEXT}).encode()
    answered = (await exchange(service.port, asked("POST", "/ner", keyed=keyed, body=body)))[0] == ["200"]
    _, metrics = await exchange(service.port, asked("GET", "/metrics", keyed=keyed))
    tally.broken["unwell"] += not answered
    tally.broken["in flight"] += b"\ndrlongformer_inflight_documents 0.0\n" not in metrics
    service.process.send_signal(signal.SIGTERM)
    tally.broken["ended"] += await asyncio.to_thread(service.process.wait, 60) != 0
    written = {path.name: path.read_bytes() for path in service.folder.rglob("*") if path.is_file()} | {"/metrics": metrics}
    tally.broken["leaks"] += sum(CANARY.encode() in content.lower() for content in written.values())
    if keyed:
        tally.broken["secrets"] += sum(SECRET.encode() in content for content in written.values())


async def run(options: argparse.Namespace) -> Tally:
    """Both services."""
    tally = Tally()
    for keyed in (False, True):
        with serving(options.store, keyed=keyed) as service:
            await ready(service)
            attacks = generated(2 * options.seed + keyed, keyed=keyed)
            until = options.requests if keyed else options.requests // 2
            await send_all(service.port, attacks, tally, until=until, concurrency=options.concurrency)
            await settled(service, tally, keyed=keyed)
    return tally


async def run_hand_made(options: argparse.Namespace) -> Tally:
    """The bad requests of the tests, under the limits that they were written for."""
    from tests.api import wire  # noqa: PLC0415 - tests are there in a checkout alone

    tally, attacks = Tally(), iter([Attack(wire=sent, ways=(name,)) for name, sent in wire.hand_made().items()])
    with serving(options.store, keyed=False, limits=wire.LIMITS.items()) as service:
        await ready(service)
        await send_all(service.port, attacks, tally, until=sys.maxsize, concurrency=options.concurrency)
        await settled(service, tally, keyed=False)
    return tally


def shown(name: str, tally: Tally, seconds: float) -> str:
    """The table of one run."""
    lines = [f"{name}: {tally.sent} sent ({len(tally.different)} different), {tally.refused} refused, in {seconds:.0f} s"]
    lines += [f"  {status:8} {count:8}" for status, count in sorted(tally.statuses.items())]
    lines += [f"  broken: {law} {count}" for law, count in sorted(tally.broken.items()) if count]
    return "\n".join([*lines, *(f"  {example}" for example in tally.examples)])


def told(tally: Tally, seconds: float) -> dict[str, object]:
    """The same for machines."""
    laws = dict.fromkeys(("5xx", "ended", "leaks", "secrets", "late", "unwell", "in flight"), 0) | tally.broken
    return {
        "sent": tally.sent,
        "different": len(tally.different),
        "refused": tally.refused,
        "seconds": round(seconds, 1),
        "statuses": dict(sorted(tally.statuses.items())),
        "ways": dict(sorted(tally.ways.items())),
        "broken": laws,
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000, help="generated requests that must be refused")
    parser.add_argument("--hand-made", action="store_true", help="also send the bad requests of the tests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print; 1 where a law is broken."""
    options, summary, lawful = parse(arguments), {}, True
    for name, kind in (("generated", run), *((("hand-made", run_hand_made),) if options.hand_made else ())):
        started = time.monotonic()
        tally = asyncio.run(kind(options))
        seconds = time.monotonic() - started
        print(shown(name, tally, seconds), flush=True)
        summary[name] = told(tally, seconds)
        lawful = lawful and not any(tally.broken.values())
    print(json.dumps({"seed": options.seed, "lawful": lawful, **summary}))
    return 0 if lawful else 1


if __name__ == "__main__":
    sys.exit(main())
