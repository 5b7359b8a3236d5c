"""Contenders behind HTTP, each a process of its own on loopback: our service, a naive one, infinity.

Seconds are the callers': they hold tokenizing, queueing, computing and the way there and back.
"""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from loadtests.peers.collection import Document
from loadtests.peers.protocol import ContenderFailed, Floats, Memory, Turn, forget_peak, own_memory
from loadtests.server import SERVE, free_port

START_SECONDS = 600.0
ANSWER_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How a service is started and asked; `{port}` stands for the port. ready: route that says 200 when it is."""

    command: tuple[str, ...]
    ready: str
    route: str
    body: Callable[[str], dict[str, Any]]
    vector: Callable[[Any], Floats]
    environment: tuple[tuple[str, str], ...] = ()


def ours(store: Path, name: str, engine: str, threads: int) -> Program:
    """The service that users run."""
    kind, _, precision = engine.partition(":")
    chosen = ("--engine", kind, "--precision", precision or "fp32", "--threads", str(threads), "--model", name)
    return Program(
        command=(*SERVE, "--store", str(store), "--port", "{port}", *chosen),
        ready="/readyz",
        route="/embed",
        body=lambda text: {"inputs": text, "encoding": "base64"},
        vector=lambda told: _from_base64(told["results"][0]["embedding"]),
        environment=(("DRLONGFORMER_SERVER__DRAIN_SECONDS", "0"), ("DRLONGFORMER_LOGS__LEVEL", "warning")),
    )


def naive(bundle: Path, checkpoint: Path) -> Program:
    """FastAPI and transformers, as anyone would write it first."""
    arguments = ("--bundle", str(bundle), "--checkpoint", str(checkpoint), "--port", "{port}")
    return Program(
        command=(sys.executable, "-m", "loadtests.peers.naive", *arguments),
        ready="/readyz",
        route="/embed",
        body=lambda text: {"inputs": text},
        vector=lambda told: _from_base64(told["results"][0]["embedding"]),
    )


def infinity(program: Path, checkpoint: Path) -> Program:
    """infinity-emb on torch, without its telemetry, batches of at most 8 as for transformers."""
    chosen = ("--engine", "torch", "--device", "cpu", "--dtype", "float32", "--batch-size", "8", "--no-model-warmup")
    return Program(
        command=(str(program), "v2", "--model-id", str(checkpoint), "--port", "{port}", "--no-bettertransformer", *chosen),
        ready="/health",
        route="/embeddings",
        body=lambda text: {"model": checkpoint.name, "input": [text]},
        vector=lambda told: np.array(told["data"][0]["embedding"], dtype=np.float32),
        environment=(("DO_NOT_TRACK", "1"), ("INFINITY_ANONYMOUS_USAGE_STATS", "0"), ("HF_HUB_OFFLINE", "1")),
    )


def _from_base64(text: str) -> Floats:
    return np.frombuffer(base64.b64decode(text), dtype=np.float32)


class Served:
    """A running service and its callers. Raises ContenderFailed where it does not start, with its own words."""

    tasks = ("embed",)

    def __init__(self, program: Program, log: Path, *, callers: int) -> None:
        self.ways = (f"{callers} callers at once",)
        self._program = program
        self._callers = callers
        self._port = free_port()
        command = [part.replace("{port}", str(self._port)) for part in program.command]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DRLONGFORMER_")}
        with log.open("wb") as written:
            self._process = subprocess.Popen(  # noqa: S603 - our own list of programs
                command, stdout=written, stderr=written, env=inherited | dict(program.environment)
            )
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=ANSWER_SECONDS, limits=limits)
        try:
            self._wait(log)
        except ContenderFailed:
            self.close()
            raise

    def run(self, task: str, way: str, documents: Sequence[Document]) -> Turn:
        """Ask everything, so many at once; seconds to the last answer."""
        assert task in self.tasks
        assert way in self.ways
        with ThreadPoolExecutor(self._callers) as callers:
            start = time.perf_counter()
            answers = list(callers.map(self._ask, documents))
            seconds = time.perf_counter() - start
        return Turn(seconds=seconds, answers=answers)

    def short_among_long(self, short: Sequence[Document], long: Document, *, longs: int) -> list[float]:
        """Seconds of each short document, one after the other, while `longs` callers never stop asking the long one."""
        stopped = False

        def caller() -> None:
            while not stopped:
                self._ask(long)

        with ThreadPoolExecutor(longs) as callers:
            asking = [callers.submit(caller) for _ in range(longs)]
            time.sleep(0.5)
            try:
                seconds = [self._timed(one) for one in short]
            finally:
                stopped = True
            for each in asking:
                each.result()
        return seconds

    def memory(self) -> Memory:
        """Of the process."""
        return own_memory(self._process.pid)

    def forget_peak(self) -> None:
        """Let the peak begin again."""
        forget_peak(self._process.pid)

    def close(self) -> None:
        """End it."""
        self._client.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _timed(self, document: Document) -> float:
        start = time.perf_counter()
        self._ask(document)
        return time.perf_counter() - start

    def _ask(self, document: Document) -> Floats:
        reply = self._client.post(self._program.route, json=self._program.body(document.text))
        if reply.status_code != 200:
            raise ContenderFailed(f"{self._program.route} answers {reply.status_code}")
        vector = self._program.vector(reply.json())
        return vector / np.linalg.norm(vector)

    def _wait(self, log: Path) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if self._client.get(self._program.ready).status_code == 200:
                    return
            time.sleep(0.1)
        raise ContenderFailed(log.read_text(encoding="utf-8", errors="replace").strip()[-600:] or "no answer in time")
