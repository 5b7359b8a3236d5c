"""What is measured, turn by turn: memory, one long document a task, mixed lengths, neighbours, short among long.

Contenders take turns, so that a drift of the machine hits all. One that fails is out, with its own words; what the time no
longer suffices for is told as left out. Figures are medians of turns, except where there is one turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loadtests.peers.collection import Document, tokens_of
from loadtests.peers.field import REFERENCE, Contender
from loadtests.peers.protocol import ContenderFailed, Floats, Turn
from loadtests.peers.served import Served

TASKS = ("embed", "classify", "fill-mask")
ALONE_AT_MOST = 1024
"""Tokens of the documents that are asked alone, too: long ones would take as long as everything else together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured. rounds: turns on the long document after one that warms up. apart: documents asked alone, too.

    notes: short documents that are timed among `longs` callers of the long one. minutes: after which nothing more is begun.
    """

    rounds: int = 2
    mixed_rounds: int = 1
    apart: int = 8
    notes: int = 3
    longs: int = 2
    minutes: float = 17.0


@dataclass(slots=True, kw_only=True)
class Comparison:
    """One run. same_weights: contenders compute the same function. figures: by contender. absent: contenders, and why.

    left_out: what there was no time for.
    """

    contenders: dict[str, Contender]
    size: Size
    same_weights: bool = True
    say: Callable[[str], None] = print
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def run(self, *, short: Document, note: Document, long: Document, mixed: Sequence[Document]) -> None:
        """Everything. short: warms up. note: what is asked among long documents."""
        self.figures = {name: {"latency": {}, "mixed": {}, "apart": {}} for name in self.contenders}
        self._memory(short, long)
        for task in TASKS:
            self._latency(task, long)
        first = self._mixed(mixed, first_ways=True)
        self._apart(mixed, first)
        self._short_among_long(note, long)
        rest = self._mixed(mixed, first_ways=False)
        self._apart_from_first_way(first, rest)

    def _memory(self, short: Document, long: Document) -> None:
        """Peak above what is resident after a short document: by then all weights were read."""
        for name, contender in self._turns("memory"):
            self._turn(name, "embed", contender.ways[0], [short])
            contender.forget_peak()
            base = contender.memory().resident
            if self._turn(name, "embed", contender.ways[0], [long]) is None:
                continue
            peak = contender.memory().peak
            self.figures[name]["memory"] = {"base_mib": base / 2**20, "above_mib": max(0, peak - base) / 2**20}
            self.say(f"{name}: {(peak - base) / 2**20:.0f} MiB above {base / 2**20:.0f}")

    def _latency(self, task: str, long: Document) -> None:
        seconds: dict[str, list[float]] = {}
        answers: dict[str, Floats] = {}
        warm = 0 if task == "embed" else 1  # measuring memory has warmed up
        for turn_number in range(warm + self.size.rounds):
            for name, contender in self._turns(f"one document, {task}"):
                if task in contender.tasks and (turn := self._turn(name, task, contender.ways[0], [long])):
                    seconds.setdefault(name, []).extend([turn.seconds] * (turn_number >= warm))
                    answers[name] = turn.answers[0]
        for name, each in seconds.items():
            if name in self.figures and each:
                found: dict[str, Any] = {"seconds": statistics.median(each)}
                if self.same_weights and REFERENCE in answers and not isinstance(self.contenders.get(name), Served):
                    found["difference"] = float(np.abs(answers[name] - answers[REFERENCE]).max())
                self.figures[name]["latency"][task] = found
                self.say(f"{task}, {len(long)} tokens, {name}: {found['seconds']:.3f} s")

    def _mixed(self, mixed: Sequence[Document], *, first_ways: bool) -> dict[tuple[str, str], list[Floats]]:
        """Tokens per second in each contender's first way, or in its others; the answers of the last turn."""
        seconds: dict[tuple[str, str], list[float]] = {}
        answers: dict[tuple[str, str], list[Floats]] = {}
        for _ in range(self.size.mixed_rounds):
            for name, contender in self._turns("mixed lengths"):
                for way in contender.ways[:1] if first_ways else contender.ways[1:]:
                    if self._in_time(f"mixed lengths, {name}, {way}") and (turn := self._turn(name, "embed", way, mixed)):
                        seconds.setdefault((name, way), []).append(turn.seconds)
                        answers[name, way] = turn.answers
                        self.say(f"mixed, {name}, {way}: {tokens_of(mixed) / turn.seconds:.0f} tokens/s")
        for (name, way), each in seconds.items():
            self.figures[name]["mixed"][way] = {"tokens_per_second": tokens_of(mixed) / statistics.median(each)}
        return answers

    def _apart(self, mixed: Sequence[Document], together: Mapping[tuple[str, str], list[Floats]]) -> None:
        """How far an answer alone lies from the same document's among the others."""
        places = [place for place, one in enumerate(mixed) if len(one) <= ALONE_AT_MOST][: self.size.apart]
        for name, contender in self._turns("neighbours"):
            way = contender.ways[0]
            if (name, way) not in together or not self._in_time(f"neighbours, {name}"):
                continue
            alone = [self._turn(name, "embed", way, [mixed[place]]) for place in places]
            pairs = [(turn.answers[0], together[name, way][place]) for turn, place in zip(alone, places, strict=True) if turn]
            self.figures[name]["apart"][way] = largest_difference(pairs)

    def _apart_from_first_way(
        self, first: Mapping[tuple[str, str], list[Floats]], rest: Mapping[tuple[str, str], list[Floats]]
    ) -> None:
        """The further ways are batches, the first is one by one."""
        for (name, way), answers in rest.items():
            alone = next((given for (other, _), given in first.items() if other == name), None)
            if alone is not None:
                self.figures[name]["apart"][way] = largest_difference(list(zip(alone, answers, strict=True)))

    def _short_among_long(self, note: Document, long: Document) -> None:
        for name, contender in self._turns("short among long"):
            if not isinstance(contender, Served) or not self._in_time(f"short among long, {name}"):
                continue
            try:
                alone = [contender.run("embed", contender.ways[0], [note]).seconds for _ in range(self.size.notes)]
                among = contender.short_among_long([note] * self.size.notes, long, longs=self.size.longs)
            except ContenderFailed as error:
                self._out(name, error)
                continue
            told = {"tokens": len(note), "alone_s": statistics.median(alone), "among_s": statistics.median(among)}
            self.figures[name]["note"] = told | {"worst_s": max(among)}
            self.say(f"{len(note)} tokens, {name}: {told['alone_s']:.3f} s alone, {told['among_s']:.3f} s among long ones")

    def _turns(self, part: str) -> Iterator[tuple[str, Contender]]:
        for name, contender in list(self.contenders.items()):
            if name in self.contenders and self._in_time(f"{part}, {name}"):
                yield name, contender

    def _turn(self, name: str, task: str, way: str, documents: Sequence[Document]) -> Turn | None:
        """A turn; None where the contender failed, or had failed before."""
        if name not in self.contenders:
            return None
        try:
            return self.contenders[name].run(task, way, documents)
        except (ContenderFailed, OSError) as error:
            self._out(name, error)
            return None

    def _out(self, name: str, error: Exception) -> None:
        self.absent[name] = str(error)
        self.say(f"{name} is out: {error}")
        self.contenders.pop(name).close()

    def _in_time(self, what: str) -> bool:
        if time.monotonic() - self.began < 60 * self.size.minutes:
            return True
        if what not in self.left_out:
            self.left_out.append(what)
        return False


def largest_difference(pairs: Sequence[tuple[Floats, Floats]]) -> float:
    """Largest absolute difference of pairs of vectors, each pair in units of its first one's largest value."""
    return max((float(np.abs(left - right).max() / np.abs(left).max()) for left, right in pairs), default=0.0)
