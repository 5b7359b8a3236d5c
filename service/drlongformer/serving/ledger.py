"""Who waits for which document, how far it is, and that each is answered exactly once. Pure: the clock is handed in.

A document is in the ledger from its admission until it is settled: by the last of its windows, or by an error. What comes of
its windows afterwards is nobody's business any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from drlongformer.errors import ServiceError
from drlongformer.serving.engine import Digest
from drlongformer.serving.queue import Ticket
from drlongformer.serving.requests import BatchShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """One document's windows, each a WindowOutput or its digest; the two durations add up to its time in the batcher.

    compute_seconds: while at least one of its windows was in an engine, whatever else was computed beside it. batch: the last
    one that held a window of it.
    """

    windows: tuple[Any, ...]
    queue_seconds: float
    compute_seconds: float
    batch: BatchShape | None = field(default=None, compare=False)


Outcome = Computed | ServiceError


@dataclass(slots=True, kw_only=True)
class _Entry:
    """A document somebody waits for; `engines` that have windows of it now, the first since `since`."""

    settle: Callable[[Outcome], None]
    windows: int
    admitted: float
    digest: Digest | None
    computed: dict[int, object] = field(default_factory=dict)
    engines: int = 0
    since: float = 0.0
    compute_seconds: float = 0.0
    batch: BatchShape | None = None


class Ledger:
    """The documents that somebody waits for, by their keys."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}

    def __contains__(self, document: int) -> bool:
        return document in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def documents(self) -> tuple[int, ...]:
        """The keys of all."""
        return tuple(self._entries)

    def add(
        self, document: int, *, windows: int, admitted: float, digest: Digest | None, settle: Callable[[Outcome], None]
    ) -> None:
        """Somebody waits for a document of so many windows; `settle` tells them, once. digest: see `engine.compute`."""
        self._entries[document] = _Entry(settle=settle, windows=windows, admitted=admitted, digest=digest)

    def awaited(self, documents: Collection[int]) -> set[int]:
        """Those of the documents that somebody still waits for."""
        return self._entries.keys() & set(documents)

    def is_computed(self, document: int) -> bool:
        """Whether a window of it is in an engine now."""
        return self._entries[document].engines > 0

    def enter(self, tickets: Sequence[Ticket], now: float) -> list[Digest | None]:
        """These tickets, all of them awaited, go into an engine; what is kept of each one's answer."""
        batch = BatchShape(
            documents=len({ticket.document for ticket in tickets}),
            windows=len(tickets),
            slots=sum(ticket.slots for ticket in tickets),
        )
        for entry in self._each(tickets):
            if not entry.engines:
                entry.since = now
            entry.engines += 1
            entry.batch = batch
        return [self._entries[ticket.document].digest for ticket in tickets]

    def leave(self, tickets: Sequence[Ticket], now: float) -> None:
        """These tickets came out of the engine, however that ended."""
        for entry in self._each(tickets):
            entry.engines -= 1
            if not entry.engines:
                entry.compute_seconds += now - entry.since

    def keep(self, ticket: Ticket, output: object, now: float) -> None:
        """Keep one window's answer, and settle its document if it was the last."""
        entry = self._entries.get(ticket.document)
        if entry is None:
            return
        entry.computed[ticket.number] = output
        if len(entry.computed) == entry.windows:
            computed = Computed(
                windows=tuple(entry.computed[number] for number in range(entry.windows)),
                queue_seconds=max(0.0, now - entry.admitted - entry.compute_seconds),
                compute_seconds=entry.compute_seconds,
                batch=entry.batch,
            )
            self.settle(ticket.document, computed)

    def settle(self, document: int, outcome: Outcome) -> None:
        """The one place where a document's caller is answered; a second time is a KeyError."""
        self._entries.pop(document).settle(outcome)

    def _each(self, tickets: Iterable[Ticket]) -> list[_Entry]:
        """The entries of the tickets' documents that are still awaited, each once."""
        return [self._entries[document] for document in {ticket.document for ticket in tickets} & self._entries.keys()]
