from __future__ import annotations

import pytest

from drlongformer.errors import EngineFailed
from drlongformer.serving.ledger import Computed, Ledger, Outcome
from drlongformer.serving.queue import Ticket
from tests.serving.factories import BLOCK, tickets


class Caller:
    """Who waits for one document of so many windows, admitted at 10 s."""

    def __init__(self, ledger: Ledger, document: int, *, windows: int = 1) -> None:
        self.told: list[Outcome] = []
        self.tickets = tickets(document, *[BLOCK] * windows)
        ledger.add(document, windows=windows, admitted=10.0, digest=None, settle=self.told.append)

    @property
    def computed(self) -> Computed:
        [outcome] = self.told
        assert isinstance(outcome, Computed)
        return outcome


def compute(ledger: Ledger, ticket: Ticket, *, begin: float, end: float) -> None:
    ledger.enter([ticket], begin)
    ledger.leave([ticket], end)
    ledger.keep(ticket, ticket.number, end)


def test_a_document_is_settled_by_its_last_window_with_all_of_them_in_order() -> None:
    ledger = Ledger()
    caller = Caller(ledger, 7, windows=2)
    first, last = caller.tickets
    compute(ledger, last, begin=11.0, end=12.0)
    assert not caller.told
    assert (7 in ledger, len(ledger), ledger.documents()) == (True, 1, (7,))
    compute(ledger, first, begin=15.0, end=18.0)
    assert caller.computed == Computed(windows=(0, 1), queue_seconds=4.0, compute_seconds=4.0)
    assert (7 in ledger, len(ledger)) == (False, 0)


def test_time_in_two_engines_at_once_counts_once() -> None:
    ledger = Ledger()
    caller = Caller(ledger, 7, windows=2)
    first, last = caller.tickets
    ledger.enter([first], 12.0)
    ledger.enter([last], 13.0)
    ledger.leave([first], 15.0)
    ledger.keep(first, "first", 15.0)
    assert ledger.is_computed(7)
    ledger.leave([last], 18.0)
    assert not ledger.is_computed(7)
    ledger.keep(last, "last", 18.5)
    assert caller.computed == Computed(windows=("first", "last"), queue_seconds=2.5, compute_seconds=6.0)


def test_two_windows_in_one_batch_are_one_engine() -> None:
    ledger = Ledger()
    caller = Caller(ledger, 7, windows=2)
    ledger.enter(caller.tickets, 10.0)
    ledger.leave(caller.tickets, 13.0)
    assert not ledger.is_computed(7)
    for ticket in caller.tickets:
        ledger.keep(ticket, None, 13.0)
    assert caller.computed.compute_seconds == 3.0


def test_what_comes_of_a_document_that_is_settled_is_nobodys() -> None:
    ledger = Ledger()
    caller, other = Caller(ledger, 7), Caller(ledger, 8)
    ledger.enter([*caller.tickets, *other.tickets], 11.0)
    error = EngineFailed("told to fail")
    ledger.settle(7, error)
    ledger.leave([*caller.tickets, *other.tickets], 12.0)
    for ticket in (*caller.tickets, *other.tickets):
        ledger.keep(ticket, None, 12.0)
    assert caller.told == [error]
    assert other.computed.compute_seconds == 1.0


def test_nobody_is_told_twice() -> None:
    ledger = Ledger()
    caller = Caller(ledger, 7)
    ledger.settle(7, EngineFailed("told to fail"))
    with pytest.raises(KeyError):
        ledger.settle(7, EngineFailed("told to fail"))
    assert len(caller.told) == 1


def test_only_those_that_somebody_waits_for_are_awaited() -> None:
    ledger = Ledger()
    Caller(ledger, 7)
    Caller(ledger, 8)
    ledger.settle(8, EngineFailed("told to fail"))
    assert ledger.awaited([6, 7, 8]) == {7}


def test_each_ticket_has_the_digest_of_its_document() -> None:
    ledger = Ledger()
    settle: list[Outcome] = []
    ledger.add(1, windows=1, admitted=0.0, digest=id, settle=settle.append)
    ledger.add(2, windows=1, admitted=0.0, digest=None, settle=settle.append)
    assert ledger.enter([*tickets(1, BLOCK), *tickets(2, BLOCK)], 0.0) == [id, None]
