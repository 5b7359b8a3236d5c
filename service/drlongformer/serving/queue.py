"""Who goes next: a bounded queue of windows that lets short documents overtake long ones for a while, and shares fairly.

A ticket's rank is a point in time: `arrival + OVERTAKING * predicted seconds of its document up to and including this window`.
A caller's tickets go in order of rank, so nothing that arrives after that point goes before it. Callers share a lane by their
weights, and lanes share the engine 4:1, by deficit round-robin (`shares.py`). A batch is led by the ticket whose turn it is,
whatever its size, and filled up with whatever still fits. Pure: the clock is handed in.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from operator import attrgetter

from drlongformer.packing import blocks_of
from drlongformer.serving.requests import PRIORITIES, Priority
from drlongformer.serving.shares import Room, Share, begin_rounds
from drlongformer.types import WindowInput

OVERTAKING = 16.0
"""How many times its own predicted computing time a document lets later ones go first.

Long enough for a note to pass all long documents that wait at 80 % load (`loadtests/waiting.py`: at 2 the 99th percentile of
notes waits for five of them), and still a bound.
"""

LANE_WEIGHTS: Mapping[Priority, float] = {"interactive": 4.0, "bulk": 1.0}
"""How the lanes share the engine while work waits in both."""

Order = tuple[float, int, int]
ORDER = attrgetter("order")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a request waits. deadline: on the clock of `arrival`, or None. caller: who shares one turn, with this weight."""

    deadline: float | None = None
    priority: Priority = "interactive"
    caller: str = ""
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"a caller's weight is above 0, not {self.weight}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One window that waits: `slots` is its cost in block slots, `values` how many numbers its answer holds.

    document: key of its document, growing with arrival. number: which of the document's windows it is. order: its place among
    its caller's; equal ranks keep the order of arrival.
    """

    document: int
    number: int
    window: WindowInput
    slots: int
    values: int
    rank: float
    terms: Terms
    order: Order = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", (self.rank, self.document, self.number))

    def is_late(self, now: float) -> bool:
        """Whether its deadline has passed."""
        return self.terms.deadline is not None and self.terms.deadline <= now


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
    terms: Terms,
    seconds_per_slot: float,
) -> tuple[Ticket, ...]:
    """The tickets of one document. widths: how many numbers each head gives per row."""
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
                rank=arrival + OVERTAKING * slots_so_far * seconds_per_slot,
                terms=terms,
            )
        )
    return tuple(tickets)


class _Caller(Share):
    """What one caller waits for in one lane: per size of ticket, in order of rank; `head` is the first of all."""

    def __init__(self, weight: float) -> None:
        super().__init__(weight)
        self.slots = 0
        self.sizes: dict[int, list[Ticket]] = {}
        self.head: Ticket | None = None

    def add(self, ticket: Ticket) -> None:
        self.weight = ticket.terms.weight
        insort(self.sizes.setdefault(ticket.slots, []), ticket, key=ORDER)
        if self.head is None or ticket.order < self.head.order:
            self.head = ticket
        self.slots += ticket.slots
        self.waits = True

    def remove(self, ticket: Ticket) -> None:
        same = self.sizes[ticket.slots]
        del same[bisect_left(same, ticket.order, key=ORDER)]
        if not same:
            del self.sizes[ticket.slots]
        if ticket is self.head:
            self.head = min((same[0] for same in self.sizes.values()), key=ORDER, default=None)
        self.slots -= ticket.slots
        self.waits = bool(self.sizes)

    def first(self, room: Room) -> Ticket | None:
        """The first ticket that fits; of each size only the first is asked."""
        if self.head is None or room.fits(self.head.slots, self.head.values):
            return self.head
        fitting = (same[0] for slots, same in self.sizes.items() if room.fits(slots, same[0].values))
        return min(fitting, key=ORDER, default=None)

    def slots_before(self, order: Order) -> int:
        return sum(slots * bisect_left(same, order, key=ORDER) for slots, same in self.sizes.items())


class _Lane(Share):
    """The callers of one lane."""

    def __init__(self, weight: float) -> None:
        super().__init__(weight)
        self.callers: dict[str, _Caller] = {}
        self.tokens = 0
        self.documents: Counter[int] = Counter()
        self.sizes: Counter[int] = Counter()

    def add(self, ticket: Ticket) -> None:
        if ticket.terms.caller not in self.callers:
            self.callers[ticket.terms.caller] = _Caller(ticket.terms.weight)
        self.callers[ticket.terms.caller].add(ticket)
        self._count(ticket, 1)

    def remove(self, ticket: Ticket) -> None:
        self.callers[ticket.terms.caller].remove(ticket)
        self._count(ticket, -1)

    def begin_rounds(self) -> None:
        """New rounds among the callers; those who wait for nothing and owe nothing are forgotten."""
        begin_rounds(self.callers.values())
        self.callers = {name: caller for name, caller in self.callers.items() if caller.waits or caller.credit < 1}

    def _count(self, ticket: Ticket, sign: int) -> None:
        self.tokens += sign * len(ticket.window)
        for counter, key in ((self.documents, ticket.document), (self.sizes, ticket.slots)):
            counter[key] += sign
            if not counter[key]:
                del counter[key]
        self.waits = bool(self.documents)


class _Line:
    """A lane's callers while one batch is put together: those with credit first, then by rank, each with a ticket that fits.

    A heap of one ticket per caller. Room only shrinks, so a caller of whom nothing fits is out for this batch.
    """

    def __init__(self, lane: _Lane, room: Room) -> None:
        self._lane, self._room = lane, room
        self._build()

    def first(self) -> Ticket | None:
        """The ticket whose turn it is among those that fit, or None."""
        if not self._room.fits(min(self._lane.sizes, default=0), 0):
            return None
        while self._heap:
            in_debt, _, name, ticket = self._heap[0]
            caller = self._lane.callers[name]
            fits = self._room.fits(ticket.slots, ticket.values)
            if not fits or in_debt == caller.has_credit:
                self._room.is_gap |= not fits
                heappop(self._heap)
                self._stand(name, caller)
            elif in_debt and not self._room.is_gap:
                self._lane.begin_rounds()
                self._build()
            else:
                return ticket
        return None

    def leave(self, ticket: Ticket) -> None:
        """The ticket that `first` gave goes into the batch."""
        heappop(self._heap)
        name = ticket.terms.caller
        self._lane.remove(ticket)
        self._stand(name, self._lane.callers[name])

    def _build(self) -> None:
        self._heap: list[tuple[bool, Order, str, Ticket]] = []
        for name, caller in self._lane.callers.items():
            if (ticket := caller.head) is not None:
                self._heap.append((not caller.has_credit, ticket.order, name, ticket))
        heapify(self._heap)

    def _stand(self, name: str, caller: _Caller) -> None:
        """Put a caller where its first ticket that fits belongs."""
        ticket = caller.first(self._room)
        self._room.is_gap |= ticket is not caller.head
        if ticket is not None:
            heappush(self._heap, (not caller.has_credit, ticket.order, name, ticket))


class TicketQueue:
    """Tickets of all lanes and callers, at most `max_slots` slots of them.

    The last `reserved_slots` are for who holds little, so that neither one caller nor the bulk lane shuts out all others.
    """

    def __init__(self, *, max_slots: int, reserved_slots: int = 0) -> None:
        self.max_slots = max_slots
        self.reserved_slots = reserved_slots
        self.slots = 0
        self._count = 0
        self._lanes = {priority: _Lane(LANE_WEIGHTS[priority]) for priority in PRIORITIES}
        self._documents: dict[int, dict[int, Ticket]] = {}
        self._deadlines: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return self._count

    def backlog(self, priority: Priority) -> Backlog:
        """What waits in this lane."""
        lane = self._lanes[priority]
        return Backlog(tokens=lane.tokens, documents=len(lane.documents))

    def slots_before(self, ticket: Ticket) -> int:
        """Slots of its own caller's tickets that go before this one, which need not be here, whatever others get."""
        caller = self._lanes[ticket.terms.priority].callers.get(ticket.terms.caller)
        return caller.slots_before(ticket.order) if caller else 0

    def limit(self, slots: int, terms: Terms) -> int:
        """How many slots may wait in all with a request of so many: fewer if its caller holds more than the reserve then.

        Interactive requests of nobody in particular have no others to leave room for.
        """
        caller = self._lanes[terms.priority].callers.get(terms.caller)
        held = slots + (caller.slots if caller else 0)
        shares = terms.caller != "" or terms.priority == "bulk"
        return self.max_slots - (self.reserved_slots if shares and held > self.reserved_slots else 0)

    def offer(self, tickets: Sequence[Ticket]) -> bool:
        """Let a request's tickets in, all of them or none; says which. All are on the same terms."""
        slots = sum(ticket.slots for ticket in tickets)
        if self.slots + slots > self.limit(slots, tickets[0].terms):
            return False
        for ticket in tickets:
            self._lanes[ticket.terms.priority].add(ticket)
            if ticket.document not in self._documents and ticket.terms.deadline is not None:
                insort(self._deadlines, (ticket.terms.deadline, ticket.document))
            self._documents.setdefault(ticket.document, {})[ticket.number] = ticket
            self.slots += ticket.slots
            self._count += 1
        return True

    def take(self, *, max_slots: int, max_values: int, now: float, turn_slots: int | None = None) -> Taken:
        """Remove the next batch: the ticket whose turn it is, whatever its size, and those that fit beside it.

        turn_slots: what a turn of deficit round-robin is worth, by default this batch; the same for batches of any size.
        """
        turn = turn_slots or max_slots
        expired = self.drop([document for _, document in self._deadlines[: bisect_right(self._deadlines, now, key=_when)]])
        room = Room(slots=max_slots, values=max_values)
        lines: dict[Priority, _Line] = {}
        batch: list[Ticket] = []
        while (ticket := self._next(lines, room)) is not None:
            if not room.is_gap:
                lane = self._lanes[ticket.terms.priority]
                lane.charge(ticket.slots / turn)
                lane.callers[ticket.terms.caller].charge(ticket.slots / turn)
            room.fill(ticket.slots, ticket.values)
            lines[ticket.terms.priority].leave(ticket)
            self._forget(ticket)
            batch.append(ticket)
        return Taken(batch=tuple(batch), expired=expired)

    def drop(self, documents: Collection[int]) -> tuple[Ticket, ...]:
        """Remove every ticket of these documents."""
        dropped = [ticket for document in documents for ticket in self._documents.get(document, {}).values()]
        for ticket in dropped:
            self._lanes[ticket.terms.priority].remove(ticket)
            self._forget(ticket)
        return tuple(dropped)

    def _next(self, lines: dict[Priority, _Line], room: Room) -> Ticket | None:
        """The ticket whose turn it is: lanes with credit first, interactive before bulk. lines: those needed so far."""
        waiting = {priority: lane for priority, lane in self._lanes.items() if lane.waits}
        if waiting and not room.is_gap and not any(lane.has_credit for lane in waiting.values()):
            begin_rounds(self._lanes.values())
        for priority in sorted(waiting, key=lambda priority: not waiting[priority].has_credit):
            if priority not in lines:
                lines[priority] = _Line(waiting[priority], room)
            if (ticket := lines[priority].first()) is not None:
                return ticket
            room.is_gap = True
        return None

    def _forget(self, ticket: Ticket) -> None:
        """Take a ticket that left its lane out of the books."""
        self.slots -= ticket.slots
        self._count -= 1
        mine = self._documents[ticket.document]
        del mine[ticket.number]
        if not mine:
            del self._documents[ticket.document]
            if ticket.terms.deadline is not None:
                del self._deadlines[bisect_left(self._deadlines, (ticket.terms.deadline, ticket.document))]


def _when(deadline: tuple[float, int]) -> float:
    return deadline[0]
