"""The composition, rehearsed: started, asked through TLS, scraped, restarted and swapped under load, started without a network.

    python -m loadtests.rehearsal [--compose "docker compose"|podman-compose] [--count 1500] [--rate 8]        (`make rehearse`)

Needs root (the folders of the deployment are given to the containers' users), the CPU image, and images of nginx and
Prometheus under the names that docker-compose.yml gives them. Exit code 1 if a law is broken; counts are printed, and one JSON
line last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import numpy as np
import uvloop

from loadtests.bench import Bodies, sender
from loadtests.composition import REPLICAS, STARTED, Composition, composed, found
from loadtests.openloop import Asked, Outcome, Send, drive, lateness, percentile, poisson, statuses
from loadtests.report import Report
from loadtests.wire import Client, Reply

CANARY = "zoubidrine"
"""A word that is in every text and in nothing else; nobody may write it down."""

TEXTS = {
    "embed": f"Toux sèche sous {CANARY}.",
    "ner": f"Toux et fièvre, {CANARY} arrêtée.",
    "classify": f"Douleur thoracique sous {CANARY}.",
    "fill-mask": f"Un <mask> de {CANARY} par jour.",
}
LENGTHS = (50, 200, 700)
VERSIONS = (1, 2)
ANSWER_SECONDS = 600.0

CONFINED = """
import errno, importlib.util, json, os, pathlib, socket
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
def leads_out():  # an address that nobody has: where a way leads out, it times out
    try:
        socket.create_connection(("192.0.2.1", 443), 3).close()
    except OSError as error:
        return error.errno != errno.ENETUNREACH
    return True
def writes(path):
    try:
        open(path, "w").close()
    except OSError:
        return False
    return True
print(json.dumps({
    "user": os.getuid(), "capabilities": int(status["CapEff"], 16), "no new privileges": status["NoNewPrivs"].strip() == "1",
    "writes": [path for path in ("/x", "/opt/drlongformer/x", "/models/x", "/run/secrets/keys/x") if writes(path)],
    "a way out": leads_out(),
    "has": [name for name in ("torch", "transformers", "onnx", "huggingface_hub", "pip") if importlib.util.find_spec(name)],
}))
"""
EXPECTED = {"user": 10001, "capabilities": 0, "no new privileges": True, "writes": [], "a way out": False, "has": []}

ALONE = """
import http.client, json, sys, time
def ask(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=60)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    return connection.getresponse().status
for _ in range(600):
    try:
        if ask("GET", "/readyz") == 200:
            break
    except OSError:
        pass
    time.sleep(0.2)
texts = json.loads(sys.argv[1])
print(json.dumps({task: ask("POST", "/" + task, json.dumps({"inputs": text})) for task, text in texts.items()}))
"""

References = Mapping[tuple[int, bytes], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent while things happen, and what each version answers to it."""

    client: Client
    plan: Sequence[Asked]
    references: References


async def rehearse(composition: Composition, *, count: int, rate: float) -> Report:
    """Everything, in order."""
    report = Report(scenario="rehearsal")
    begin = time.monotonic()
    _tell("starting")
    await composition.call("up", "-d", "--no-build", *STARTED)
    await composition.ready()
    report.figures["seconds_to_first_answer"] = time.monotonic() - begin
    key = await composition.key("rehearsal")
    client = composition.client(key=key)
    await _tasks(report, composition, client)
    await _written(report, composition, key)
    await _confined(report, composition)
    await _scraped(report, composition)
    _tell("asking each version alone")
    load = await _load(composition, client, count=count, rate=rate)
    _tell(f"{count} requests, {rate:g} a second, while replicas are made anew and versions swapped")
    await _under(report, composition, load)
    await _scraped(report, composition)
    await client.close()
    _tell("without a network")
    await _without_network(report, composition)
    return report


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


async def _tasks(report: Report, composition: Composition, client: Client) -> None:
    await _until_known(client)
    answers = {task: (await client.ask(f"/{task}", _body(text))).status for task, text in TEXTS.items()}
    report.hold("four tasks are answered through TLS", set(answers.values()) == {200}, str(answers))
    stranger = composition.client()
    refused = (await stranger.ask("/ner", _body("Toux."))).status, (await stranger.get("/metrics")).status
    await stranger.close()
    report.hold("without a key nothing is, and metrics are not for callers", refused == (401, 404), str(refused))


async def _until_known(client: Client) -> None:
    """A new key is in force within seconds, at both replicas."""
    async with asyncio.timeout(60):
        known = 0
        while known < 8:
            known = known + 1 if (await client.ask("/tokenize", _body("Toux."))).status == 200 else 0
            await asyncio.sleep(0.5)


def _body(text: str) -> bytes:
    return json.dumps({"inputs": text}).encode()


async def _written(report: Report, composition: Composition, key: str) -> None:
    """The audit tells who asked what; neither it nor any container tells a word of it."""
    lines = composition.audit()
    asked = {line["route"] for line in lines if line["key"] == key.partition(".")[0] and line["status"] == HTTPStatus.OK}
    report.hold("the audit names key and route of each task", asked >= {f"/{task}" for task in TEXTS}, f"{len(lines)} lines")
    written = {service: await composition.said(service) for service in STARTED} | {"audit": json.dumps(lines)}
    told = [where for where, text in written.items() if CANARY in text]
    sizes = {where: len(text) for where, text in written.items()}
    report.hold("no container and no audit line holds a word of a text", not told and all(sizes.values()), f"letters: {sizes}")


async def _confined(report: Report, composition: Composition) -> None:
    for replica in REPLICAS:
        told = json.loads(await composition.inside(replica, "python", "-c", CONFINED))
        report.hold(f"{replica} is confined", told == EXPECTED, str(told))


async def _scraped(report: Report, composition: Composition) -> None:
    """Prometheus, in its container, sees both replicas ready."""
    seen: list[float] = []
    for _ in range(60):
        seen = await composition.query('up{job="drlongformer"} + on (instance) drlongformer_ready')
        if seen == [2.0, 2.0]:
            break
        await asyncio.sleep(1)
    counted = await composition.query('sum(drlongformer_http_requests_total{status="200"})')
    report.hold("Prometheus scrapes both replicas", seen == [2.0, 2.0], f"{seen}, {counted} requests counted")


async def _load(composition: Composition, client: Client, *, count: int, rate: float) -> Load:
    bodies = (await Bodies.measured(client, 0)).of(LENGTHS)
    references: dict[tuple[int, bytes], str] = {}
    send = sender(client)
    for version in (*VERSIONS, VERSIONS[0]):
        await _swap(composition, client, version)
        for body in bodies:
            answer = (await send(Asked(at=0.0, body=body))).json
            references[answer["model"]["version"], body] = answer["results"][0]["embedding"]
    random = np.random.default_rng(0)
    chosen = [bodies[int(place)] for place in random.integers(len(bodies), size=count)]
    return Load(client=client, plan=poisson(rate, chosen, random), references=references)


async def _swap(composition: Composition, client: Client, version: int) -> None:
    """Activate, and wait until every replica names it."""
    await composition.activate(version)
    async with asyncio.timeout(120):
        agreed = 0
        while agreed < 8:
            told = (await client.get(f"/models/{composition.model}")).json["version"]
            agreed = agreed + 1 if told == version else 0
            await asyncio.sleep(0.1)


async def _under(report: Report, composition: Composition, load: Load) -> None:
    """Requests come, at least as many as planned, until what was begun meanwhile is done."""
    before, audited = (await composition.call("logs", "nginx")).count('"route": "/embed"'), len(composition.audit())
    enough, outcomes, seen = asyncio.Event(), list[Outcome](), Counter[int]()
    happening = asyncio.create_task(_happen(composition, load.client, enough, seen))
    while not happening.done():
        outcomes += await drive(load.plan, _counting(sender(load.client), seen))
        enough.set()
    rolls, swaps = await happening
    logged = (await composition.call("logs", "nginx")).count('"route": "/embed"') - before
    _judge(report, load, outcomes, rolls=rolls, swaps=swaps, logged=logged)
    answered = [line for line in composition.audit()[audited:] if (line["route"], line["status"]) == ("/embed", HTTPStatus.OK)]
    report.hold(
        "the audit has one line for each answer, of replicas that are gone too", _once(answered, outcomes), str(len(answered))
    )


def _counting(send: Send, seen: Counter[int]) -> Send:
    """The same, and it counts which version answered."""

    async def counted(asked: Asked) -> Reply:
        reply = await send(asked)
        if reply.status == HTTPStatus.OK:
            seen[reply.json["model"]["version"]] += 1
        return reply

    return counted


async def _happen(composition: Composition, client: Client, enough: asyncio.Event, seen: Counter[int]) -> tuple[int, int]:
    """Replicas made anew one after the other, and versions swapped, again and again; how often.

    A swap is over when the new version has answered some of the load. Raises TimeoutError where it does not.
    """
    rolls, swaps = 0, 0
    while not (enough.is_set() and rolls):
        await composition.roll()
        rolls += 1
        for version in reversed(VERSIONS):
            before = seen[version]
            await _swap(composition, client, version)
            async with asyncio.timeout(ANSWER_SECONDS):
                while seen[version] == before:  # noqa: ASYNC110 - the load is counted elsewhere
                    await asyncio.sleep(0.1)
            swaps += 1
    return rolls, swaps


def _once(lines: Sequence[Mapping[str, object]], outcomes: Sequence[Outcome]) -> bool:
    """Whether each answer has its line: as many as answers, no request twice."""
    return len({line["request_id"] for line in lines}) == len(lines) == sum(outcome.answered for outcome in outcomes)


def _judge(report: Report, load: Load, outcomes: Sequence[Outcome], *, rolls: int, swaps: int, logged: int) -> None:
    asked = dict(zip(sorted(each.at for each in load.plan), (each.body for each in load.plan), strict=True))
    versions = Counter(version_of(outcome, asked[outcome.planned], load.references) for outcome in outcomes)
    lost = {status: number for status, number in statuses(outcomes).items() if status != "200"}
    report.hold("no request is lost", not lost, f"{len(outcomes)} sent, lost: {lost or 0}")
    report.hold("every answer is that of the version it names, to the last bit", versions["wrong"] == 0, str(dict(versions)))
    happened = rolls > 0 and swaps > 0 and all(versions[str(version)] > 0 for version in VERSIONS)
    report.hold("replicas were made anew and versions swapped under load", happened, f"{rolls} and {swaps}")
    report.hold("nginx wrote one line a request", logged == len(outcomes), str(logged))
    report.rows.append(
        {
            "requests": len(outcomes),
            "lost": sum(lost.values()),
            "replicas made anew": rolls * len(REPLICAS),
            "swaps": swaps,
            "by version 1": versions["1"],
            "by version 2": versions["2"],
            "p50 ms": 1000 * percentile(outcomes, 50),
            "p99 ms": 1000 * percentile(outcomes, 99),
            "p100 ms": 1000 * percentile(outcomes, 100),
        }
    )
    report.figures["driver_late_p99_ms"] = 1000 * lateness(outcomes)


def version_of(outcome: Outcome, body: bytes, references: References) -> str:
    """The version that answered, or `wrong`, or `none`."""
    if not outcome.answered or outcome.reply is None:
        return "none"
    answer = outcome.reply.json
    version = answer["model"]["version"]
    return str(version) if references.get((version, body)) == answer["results"][0]["embedding"] else "wrong"


async def _without_network(report: Report, composition: Composition) -> None:
    """The image alone, with no network at all, not even a bridge."""
    image = composition.environment["SERVICE_IMAGE"]
    confined = ("--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")  # noqa: S108 - in the container
    own = ("--env", "DRLONGFORMER_SERVER__HOST=127.0.0.1")
    container = (await composition.run(composition.engine, "run", "--detach", *confined, *own, image)).split()[-1]
    try:
        told = json.loads(
            await composition.run(composition.engine, "exec", container, "python", "-c", ALONE, json.dumps(TEXTS))
        )
    finally:
        await composition.run(composition.engine, "rm", "--force", container)
    report.hold("without any network it starts and answers four tasks", set(told.values()) == {200}, str(told))


async def main() -> int:
    """Rehearse, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compose", type=shlex.split, help="the command that starts compositions; found by itself otherwise")
    parser.add_argument("--count", type=int, default=1500, help="requests sent while things happen")
    parser.add_argument("--rate", type=float, default=8.0, help="of them a second, on average; one address may send 100")
    parser.add_argument("--image", default="drlongformer-service:cpu", help="of the service")
    options = parser.parse_args()
    async with composed(options.compose or found(), image=options.image) as composition:
        report = await rehearse(composition, count=options.count, rate=options.rate)
    report.print()
    return 0 if report.lawful else 1


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
