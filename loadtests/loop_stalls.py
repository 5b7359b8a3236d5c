r"""How long one request can hold up the event loop: hostile and merely large requests, and the longest stall of each.

    this process       the service with the embedded model, and a task that sleeps 2 ms at a time and notes how late it wakes
    a child process    sends the requests, one case after the other, and reads the answers to their end

What holds the loop is whatever holds Python's interpreter in one call, in whichever thread. A busy machine adds its own delays,
so each case runs several times and is told by the median of its longest stalls, beside an idle service's. Prints a table, and
one JSON line last.

    python loadtests/loop_stalls.py --repeat 5
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from drlongformer import logs
from drlongformer.api.app import build, create_app, settle
from drlongformer.api.exchange import account_refused
from drlongformer.api.server import DrainingServer, HttpConfig, listen
from drlongformer.settings import Limits, Models, Settings

MEGABYTES: Final = 8
TICK_SECONDS: Final = 0.002
BUDGET_SECONDS: Final = 0.05
"""The longest stall that any admissible body or text may make."""
READ_SECONDS: Final = 120.0
FULL: Final = MEGABYTES * 1024 * 1024
WORDS: Final = "Le patient âgé de 70 ans tousse depuis 3 jours, sans fièvre ; l'œdème régresse. "


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of request; `body` is made when it is sent, `together` is how many are sent at the same time."""

    name: str
    body: Callable[[], bytes]
    path: str = "/tokenize"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunk: int = 0
    together: int = 1
    more_head: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of a case: statuses, its longest stall of each repetition, and the seconds that the answer took."""

    name: str
    statuses: tuple[str, ...]
    stalls: tuple[float, ...]
    seconds: float

    @property
    def typical(self) -> float:
        """The median of the longest stalls, in seconds."""
        return statistics.median(self.stalls)


def string(unit: str, size: int = FULL) -> bytes:
    """A body of one document that is as long as a body may be, made of one unit of JSON."""
    frame = b'{"inputs":"%b"}'
    encoded = unit.encode()
    return frame % (encoded * ((size - len(frame) - 8) // len(encoded)))


def several(unit: str, documents: int, characters: int) -> bytes:
    """Documents that repeat one string."""
    text = (unit * (characters // len(unit) + 1))[:characters]
    return json.dumps({"inputs": [text] * documents}, ensure_ascii=False).encode()


def listed(value: str, count: int) -> bytes:
    """A body that lists one JSON value many times where texts should be."""
    return b'{"inputs":[%b]}' % b",".join([value.encode()] * count)


def spread(before: bytes, unit: bytes, behind: bytes) -> bytes:
    """A body that is full of something outside of strings."""
    return before + unit * ((FULL - len(before) - len(behind)) // len(unit)) + behind


def empty_blocks() -> bytes:
    """A gzip body of empty blocks, each with its own Huffman table: much work for the unpacker, and nothing unpacked."""
    order = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)
    fields = [(0, 1), (2, 2), (0, 5), (0, 5), (14, 4), *((int(symbol in (1, 18)), 3) for symbol in order)]
    fields += [(1, 1), (127, 7), (1, 1), (107, 7), (0, 1), (0, 1), (0, 1)]
    bits = [value >> place & 1 for value, size in fields for place in range(size)] * 8
    block = bytes(sum(bits[start + place] << place for place in range(8)) for start in range(0, len(bits), 8))
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
    return head + block * ((FULL - len(head)) // len(block))


def objects(members: int) -> bytes:
    """Documents that are objects with many members each."""
    one = b"{%b}" % b",".join(b'"member%d":"%b"' % (number, b"x" * 60) for number in range(members))
    return b'{"inputs":[%b]}' % b",".join([one] * (FULL // (len(one) + 1) - 1))


def many_fields(documents: int) -> bytes:
    """Documents with as many unknown fields as an object may have."""
    one = {"text": WORDS} | {f"field{number}": 1 for number in range(90)}
    return json.dumps({"inputs": [one] * documents}).encode()


def masks(count: int) -> bytes:
    """A document with many masks, each with as many words as may be asked for."""
    return json.dumps({"inputs": "Le patient <mask> tousse. " * count, "top_k": 1000}).encode()


def small() -> bytes:
    """A request that nobody notices."""
    return json.dumps({"inputs": WORDS}).encode()


GZIP: Final = {"Content-Encoding": "gzip"}

CASES: Final = (
    Case(name="a short note", body=small),
    Case(name="escaped quotes", body=partial(string, '\\"')),
    Case(name="escaped backslashes", body=partial(string, "\\\\")),
    Case(name="letters and escapes", body=partial(string, "a\\n")),
    Case(name="escaped letters", body=partial(string, "\\u00e9")),
    Case(name="escaped pairs", body=partial(string, "\\ud83d\\ude00")),
    Case(name="one string of letters", body=partial(string, "a")),
    Case(name="one string of é", body=partial(string, "é")),
    Case(name="one string of emoji", body=partial(string, "😀")),
    Case(name="a long id", body=lambda: string("é").replace(b'{"inputs":"', b'{"inputs":[{"text":"a","id":"')[:-1] + b"}]}"),
    Case(name="a long unknown field", body=lambda: string("é").replace(b'{"inputs":"', b'{"inputs":"a","x":"')),
    Case(name="one integer", body=lambda: spread(b'{"inputs":', b"1", b"}")),
    Case(name="one fraction", body=lambda: spread(b'{"inputs":1.', b"7", b"}")),
    Case(name="integers of 4,200 digits", body=lambda: listed("1" * 4200, 1900)),
    Case(name="integers of 80 digits", body=lambda: listed("1" * 80, 98_000)),
    Case(name="fractions of 80 digits", body=lambda: listed("1." + "7" * 78, 98_000)),
    Case(name="spaces", body=lambda: spread(b'{"inputs":', b" ", b"1}")),
    Case(name="100,000 empty strings", body=lambda: listed('""', 99_990)),
    Case(name="100,000 strings of escapes", body=lambda: listed('"' + '\\"' * 40 + '"', 99_990)),
    Case(name="50,000 empty lists", body=lambda: listed("[]", 49_990)),
    Case(name="a million empty lists", body=lambda: listed("[]", 1_000_000)),
    Case(name="objects", body=partial(objects, 90)),
    Case(name="deep lists", body=lambda: b"[" * FULL),
    Case(name="documents with unknown fields", body=partial(many_fields, 64)),
    Case(name="8 MB packed", body=lambda: gzip.compress(several(WORDS, 7, 900_000), 1), headers=GZIP),
    Case(name="a bomb", body=lambda: gzip.compress(b" " * 200_000_000, 9), headers=GZIP),
    Case(name="packed empty blocks", body=empty_blocks, headers=GZIP),
    Case(name="chunks of 128 bytes", body=lambda: several("a", 1, FULL - 100), chunk=129),
    Case(name="chunks of 1 byte", body=lambda: several("a", 1, 50_000), chunk=1),
    Case(name="4,000 headers", body=small, more_head=b"a:\r\n" * 3900),
    Case(name="a header of 16 KB", body=small, more_head=b"a:" + b"b" * 16_000 + b"\r\n"),
    Case(name="a path of 15 KB", body=small, path="/" + "%41" * 5000),
    Case(name="a document of a million letters", body=lambda: several("a", 1, 1_000_000)),
    Case(name="7 documents of 999,000 letters", body=lambda: several(WORDS, 7, 999_000)),
    Case(name="a million é, no space", body=lambda: several("é", 1, 1_000_000)),
    Case(name="a million emoji", body=lambda: several("😀", 1, 1_000_000)),
    Case(name="a million U+FDFA", body=lambda: several("\ufdfa", 1, 1_000_000)),
    Case(name="a million spaces", body=lambda: several(" ", 1, 1_000_000)),
    Case(name="a million signs without width", body=lambda: several("\u200b", 2, 999_000)),
    Case(name="a million line breaks", body=lambda: several("\r\n", 1, 1_000_000)),
    Case(name="a million marks", body=lambda: several("e\u0301\u0302", 1, 1_000_000)),
    Case(name="200,000 tokens told", body=lambda: several(WORDS, 4, 110_000)),
    Case(name="four times 200,000 tokens told", body=lambda: several(WORDS, 4, 110_000), together=4),
    Case(name="800,000 tokens refused", body=lambda: several(WORDS, 6, 240_000)),
    Case(name="200 masks of 1,000 words", body=partial(masks, 200), path="/fill-mask"),
    Case(name="entities of 100,000 letters", body=lambda: several(WORDS, 1, 100_000), path="/ner"),
    Case(name="64 embeddings", body=lambda: several(WORDS, 64, 80), path="/embed"),
    Case(name="64 classified", body=lambda: several(WORDS, 64, 80), path="/classify"),
    Case(
        name="one text beside 60",
        body=lambda: json.dumps({"inputs": {"source": WORDS, "sentences": [f"{n} {WORDS}" for n in range(60)]}}).encode(),
        path="/similarity",
    ),
)


class Heartbeat:
    """The longest delay of a task that only sleeps, since it was last asked."""

    def __init__(self) -> None:
        self._longest = 0.0

    async def beat(self) -> None:
        """Until cancelled."""
        while True:
            due = time.perf_counter() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self._longest = max(self._longest, time.perf_counter() - due)

    def take(self) -> float:
        """Seconds; the next asking begins anew."""
        longest, self._longest = self._longest, 0.0
        return longest


def request(case: Case) -> tuple[bytes, bytes]:
    """The head and the body of a case as they go over the wire."""
    content = case.body()
    framing = {"Transfer-Encoding": "chunked"} if case.chunk else {"Content-Length": str(len(content))}
    fields = {"Host": "localhost", "Content-Type": "application/json", "Connection": "close", **framing, **case.headers}
    head = f"POST {case.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    if case.chunk:
        pieces = (content[start : start + case.chunk] for start in range(0, len(content), case.chunk))
        content = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return head.encode() + case.more_head + b"\r\n", content


async def exchange(port: int, sent: bytes) -> str:
    """Send a request and read its answer to the end; the status, or what became of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(ConnectionError):  # it may be refused while we still write
            writer.write(sent)
            await writer.drain()
        status = await asyncio.wait_for(reader.readline(), READ_SECONDS)
        while await asyncio.wait_for(reader.read(1 << 20), READ_SECONDS):
            pass
    except (ConnectionError, TimeoutError) as error:
        return type(error).__name__
    finally:
        writer.close()
    return status.split(b" ")[1].decode() if b" " in status else "closed"


async def send_cases(port: int) -> None:
    """The child: for each number of a case on standard input, send it and write its statuses and seconds."""
    for line in sys.stdin:
        case = CASES[int(line)]
        sent = b"".join(request(case))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        started = time.perf_counter()
        statuses = await asyncio.gather(*(exchange(port, sent) for _ in range(case.together)))
        sys.stdout.write(json.dumps({"statuses": statuses, "seconds": time.perf_counter() - started}) + "\n")
        sys.stdout.flush()


class Sender:
    """The child process, as this one sees it."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._stdin, self._stdout = child.stdin, child.stdout

    async def run(self, number: int, heartbeat: Heartbeat) -> tuple[Sequence[str], float, float]:
        """Statuses, the longest stall, and seconds of one case."""
        self._stdin.write(f"{number}\n".encode())
        await self._stdout.readline()  # the body is made
        await asyncio.sleep(0.05)
        heartbeat.take()
        self._stdin.write(b"\n")
        told = json.loads(await self._stdout.readline())
        await asyncio.sleep(0.05)  # what is left behind is taken apart
        return told["statuses"], heartbeat.take(), told["seconds"]


async def measure(sender: Sender, heartbeat: Heartbeat, *, repeat: int, only: str) -> Iterator[Row]:
    """Every case, several times."""
    rows = []
    for number, case in enumerate(CASES):
        if only in case.name:
            runs = [await sender.run(number, heartbeat) for _ in range(repeat)]
            statuses = tuple(sorted({status for statuses, _, _ in runs for status in statuses}))
            stalls = tuple(stall for _, stall, _ in runs)
            rows.append(Row(name=case.name, statuses=statuses, stalls=stalls, seconds=min(seconds for _, _, seconds in runs)))
            print(shown(rows[-1]), flush=True)
    return iter(rows)


async def idle(heartbeat: Heartbeat, seconds: float) -> float:
    """The longest stall of a service that is asked nothing."""
    heartbeat.take()
    await asyncio.sleep(seconds)
    return heartbeat.take()


def shown(row: Row) -> str:
    """A line of the table, in milliseconds."""
    over = "  OVER" if row.typical > BUDGET_SECONDS else ""
    told = f"{row.typical * 1000:9.1f} {max(row.stalls) * 1000:9.1f} {row.seconds * 1000:10.1f}"
    return f"{row.name:32} {told}  {','.join(row.statuses)}{over}"


async def run(options: argparse.Namespace, server: DrainingServer, port: int) -> str:
    """Serve, send, measure; the JSON line."""
    serving = asyncio.create_task(server.serve(sockets=[options.bound]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    heartbeat = Heartbeat()
    beating = asyncio.create_task(heartbeat.beat())
    child = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--send-to", str(port), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        nothing = await idle(heartbeat, 1.0)
        print(f"{'':32} {'median ms':>9} {'worst ms':>9} {'answer ms':>10}  status")
        rows = list(await measure(Sender(child), heartbeat, repeat=options.repeat, only=options.only))
    finally:
        child.terminate()
        await child.wait()
        beating.cancel()
        server.should_exit = True
        await serving
    over = [row.name for row in rows if row.typical > BUDGET_SECONDS]
    cases = [asdict(row) | {"typical": row.typical} for row in rows]
    return json.dumps({"budget_seconds": BUDGET_SECONDS, "idle_seconds": nothing, "over": over, "cases": cases})


def main() -> None:
    """Parse, serve, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", default="", help="a part of the names of the cases to run")
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--send-to", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send_to:
        asyncio.run(send_cases(options.send_to))
        return
    logs.configure(style="json", level="error")
    settings = Settings(models=Models(store=options.store, threads=1), limits=Limits(max_body_bytes=FULL))
    options.bound = listen("127.0.0.1", 0)
    service = build(settings)
    config = HttpConfig(create_app(service), settings=settings, refused=partial(account_refused, service.metrics))
    server = DrainingServer(config, lifecycle=service.lifecycle, drain_seconds=0.0)
    settle()
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        print(runner.run(run(options, server, options.bound.getsockname()[1])))


if __name__ == "__main__":
    main()
