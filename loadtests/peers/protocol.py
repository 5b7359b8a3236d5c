"""How the comparison talks to a contender in a process of its own: one line of JSON a question, one an answer.

    {"do": "run", "task": "embed", "way": "one by one", "documents": [{"ids": [...], "masks": []}]}
    {"seconds": 1.5, "answers": [{"shape": [768], "float32": "base64"}]}
    {"do": "memory"}  ->  {"resident": bytes, "peak": bytes}      and {"do": "forget the peak"}

A process of its own, because the most memory that it ever held is only then its own, and because some peers need other versions
of libraries than ours. Seconds are the contender's own, around the computation alone. This module needs numpy and nothing else.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One document `[T]`, and the places of its masks, if the task is to fill them."""

    ids: Ids
    masks: Ids


class Model(Protocol):
    """What a contender's process holds."""

    @property
    def ways(self) -> Sequence[str]:
        """How it can be asked several documents."""
        ...

    @property
    def tasks(self) -> Sequence[str]:
        """What it can be asked."""
        ...

    def run(self, task: str, way: str, questions: Sequence[Question]) -> list[Floats]:
        """One answer a document."""
        ...


class ContenderFailed(Exception):
    """The process ended or told of an error; its own words are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one turn took, and gave."""

    seconds: float
    answers: list[Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes resident now, and the most since it was last forgotten."""

    resident: int
    peak: int


def serve(model: Model, questions: IO[str], answers: IO[str]) -> None:
    """Answer every line until there are no more; an error is an answer too."""
    _say(answers, {"ways": list(model.ways), "tasks": list(model.tasks)})
    for line in questions:
        try:
            _say(answers, _answer(model, json.loads(line)))
        except Exception as error:  # noqa: BLE001 - whatever breaks is told to the one who asked
            _say(answers, {"error": f"{type(error).__name__}: {error}"})


def own_memory(pid: int | str = "self") -> Memory:
    """Of a process, from /proc."""
    told = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = {name: 1024 * int(kilobytes) for name, kilobytes in re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", told)}
    return Memory(resident=found["VmRSS"], peak=found["VmHWM"])


def forget_peak(pid: int | str = "self") -> None:
    """Let the peak begin again at what is resident now (`man proc_pid_clear_refs`)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def _answer(model: Model, asked: Mapping[str, Any]) -> dict[str, Any]:
    if asked["do"] == "run":
        questions = [
            Question(ids=np.array(one["ids"], dtype=np.int64), masks=np.array(one["masks"], dtype=np.int64))
            for one in asked["documents"]
        ]
        start = time.perf_counter()
        given = model.run(asked["task"], asked["way"], questions)
        return {"seconds": time.perf_counter() - start, "answers": [_encoded(one) for one in given]}
    if asked["do"] == "memory":
        now = own_memory()
        return {"resident": now.resident, "peak": now.peak}
    forget_peak()
    return {}


def _say(answers: IO[str], told: Mapping[str, Any]) -> None:
    answers.write(json.dumps(told) + "\n")
    answers.flush()


def _encoded(array: Floats) -> dict[str, Any]:
    whole = np.ascontiguousarray(array, dtype=np.float32)
    return {"shape": whole.shape, "float32": base64.b64encode(whole.tobytes()).decode()}


def _decoded(told: Mapping[str, Any]) -> Floats:
    return np.frombuffer(base64.b64decode(told["float32"]), dtype=np.float32).reshape(told["shape"])


class Worker:
    """A contender's process, from outside. Raises ContenderFailed, with the end of what the process wrote."""

    def __init__(self, arguments: Sequence[str], log: Path, *, python: str = sys.executable) -> None:
        self._log = log
        with log.open("wb") as written:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [python, "-m", "loadtests.peers.worker", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=written,
                text=True,
                env=os.environ | {"TOKENIZERS_PARALLELISM": "false"},
            )
        try:
            self.about = self._heard()
        except ContenderFailed:
            self.close()
            raise

    def ask(self, **asked: Any) -> dict[str, Any]:
        """Ask, and wait for the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ContenderFailed(self._last_words()) from error
        return self._heard()

    def run(self, task: str, way: str, questions: Sequence[Question]) -> Turn:
        """One turn."""
        documents = [{"ids": one.ids.tolist(), "masks": one.masks.tolist()} for one in questions]
        told = self.ask(do="run", task=task, way=way, documents=documents)
        return Turn(seconds=told["seconds"], answers=[_decoded(one) for one in told["answers"]])

    def memory(self) -> Memory:
        """Of the process."""
        return Memory(**self.ask(do="memory"))

    def forget_peak(self) -> None:
        """See `forget_peak`."""
        self.ask(do="forget the peak")

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ContenderFailed(self._last_words())
        told: dict[str, Any] = json.loads(line)
        if "error" in told:
            raise ContenderFailed(told["error"])
        return told

    def _last_words(self) -> str:
        """The end of its log: of a traceback, the error."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][-400:] if lines else "ended without a word"
