"""Who goes next: a bounded queue of windows, ordered so that short documents overtake long ones, but only for a while.

A ticket's rank is a point in time: `arrival + K * (predicted seconds of its document up to and including this window)`, and for
the bulk lane a fixed patience more. Lower ranks go first, so nobody who arrives after that point can overtake it: nothing
starves. A batch takes the lowest rank, always, then fills up in order with whatever still fits. Pure: the clock is handed in.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from drlongformer.packing import blocks_of
from drlongformer.serving.requests import PRIORITIES, Priority
from drlongformer.types import WindowInput

OVERTAKING = 2.0
"""How many times its own predicted computing time a document lets later ones go first."""

BULK_PATIENCE_SECONDS = 30.0
"""How much later than it did a bulk document is treated as having arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One window that waits: `slots` is its cost in block slots, `values` how many numbers its answer holds.

    document: key of its document, growing with arrival. number: which of the document's windows it is. deadline: on the clock
    of `arrival`, or None.
    """

    document: int
    number: int
    window: WindowInput
    slots: int
    values: int
    rank: float
    deadline: float | None
    priority: Priority

    @property
    def order(self) -> tuple[float, int, int]:
        """Place in the queue; equal ranks keep the order of arrival."""
        return self.rank, self.document, self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What left the queue: the next batch, and the tickets whose deadline had passed."""

    batch: tuple[Ticket, ...]
    expired: tuple[Ticket, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits in one lane."""

    tokens: int = 0
    documents: int = 0


def tickets_of(
    document: int,
    windows: Sequence[WindowInput],
    *,
    block: int,
    widths: Mapping[str, int],
    arrival: float,
    deadline: float | None,
    priority: Priority,
    seconds_per_slot: float,
) -> tuple[Ticket, ...]:
    """The tickets of one document. widths: how many numbers each head gives per row."""
    patience = BULK_PATIENCE_SECONDS if priority == "bulk" else 0.0
    tickets, slots_so_far = [], 0
    for number, window in enumerate(windows):
        slots = blocks_of(len(window), block) * block
        slots_so_far += slots
        tickets.append(
            Ticket(
                document=document,
                number=number,
                window=window,
                slots=slots,
                values=sum(len(rows) * widths[head] for head, rows in window.rows.items()),
                rank=arrival + patience + OVERTAKING * slots_so_far * seconds_per_slot,
                deadline=deadline,
                priority=priority,
            )
        )
    return tuple(tickets)


class TicketQueue:
    """Tickets in order of rank, at most `max_slots` slots of them."""

    def __init__(self, *, max_slots: int) -> None:
        self.max_slots = max_slots
        self.slots = 0
        self._tickets: list[Ticket] = []
        self._tokens: Counter[Priority] = Counter()
        self._windows: dict[Priority, Counter[int]] = {priority: Counter() for priority in PRIORITIES}

    def __len__(self) -> int:
        return len(self._tickets)

    def backlog(self, priority: Priority) -> Backlog:
        """What waits in this lane."""
        return Backlog(tokens=self._tokens[priority], documents=len(self._windows[priority]))

    def offer(self, tickets: Sequence[Ticket]) -> bool:
        """Let a request's tickets in, all of them or none; says which."""
        if self.slots + sum(ticket.slots for ticket in tickets) > self.max_slots:
            return False
        for ticket in tickets:
            bisect.insort(self._tickets, ticket, key=lambda each: each.order)
            self._count(ticket, 1)
        return True

    def take(self, *, max_slots: int, max_values: int, now: float) -> Taken:
        """Remove the next batch: the lowest rank, whatever its size, and those after it that fit beside it."""
        batch: list[Ticket] = []
        expired: list[Ticket] = []
        kept: list[Ticket] = []
        slots = values = 0
        for ticket in self._tickets:
            if ticket.deadline is not None and ticket.deadline <= now:
                expired.append(ticket)
            elif not batch or (slots + ticket.slots <= max_slots and values + ticket.values <= max_values):
                batch.append(ticket)
                slots, values = slots + ticket.slots, values + ticket.values
            else:
                kept.append(ticket)
        self._leave(batch + expired, kept)
        return Taken(batch=tuple(batch), expired=tuple(expired))

    def drop(self, documents: Collection[int]) -> tuple[Ticket, ...]:
        """Remove every ticket of these documents."""
        dropped = [ticket for ticket in self._tickets if ticket.document in documents]
        if dropped:
            self._leave(dropped, [ticket for ticket in self._tickets if ticket.document not in documents])
        return tuple(dropped)

    def _leave(self, gone: Sequence[Ticket], kept: list[Ticket]) -> None:
        self._tickets = kept
        for ticket in gone:
            self._count(ticket, -1)

    def _count(self, ticket: Ticket, sign: int) -> None:
        self.slots += sign * ticket.slots
        self._tokens[ticket.priority] += sign * len(ticket.window)
        windows = self._windows[ticket.priority]
        windows[ticket.document] += sign
        if not windows[ticket.document]:
            del windows[ticket.document]
