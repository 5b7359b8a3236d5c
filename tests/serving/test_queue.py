from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from drlongformer.serving.queue import OVERTAKING, Backlog, Taken, Ticket, TicketQueue
from drlongformer.serving.requests import PRIORITIES
from tests.serving.factories import BLOCK, tickets

MAX_SLOTS = 64
BATCH_SLOTS = 16
EVERYTHING = 1 << 30


def take(queue: TicketQueue, *, slots: int = BATCH_SLOTS, values: int = EVERYTHING, now: float = 0.0) -> Taken:
    return queue.take(max_slots=slots, max_values=values, now=now)


def documents(of: Taken) -> list[int]:
    return [ticket.document for ticket in of.batch]


def test_a_ticket_costs_whole_blocks() -> None:
    assert [ticket.slots for ticket in tickets(0, 1, BLOCK, BLOCK + 1)] == [BLOCK, BLOCK, 2 * BLOCK]


def test_a_ticket_says_how_many_values_its_answer_holds() -> None:
    assert [ticket.values for ticket in tickets(0, 5)] == [8]


def test_a_window_ranks_by_what_its_document_has_cost_up_to_its_end() -> None:
    ranks = [ticket.rank for ticket in tickets(0, 1, 2 * BLOCK, arrival=10.0, seconds_per_slot=0.5)]
    assert ranks == [10.0 + OVERTAKING * 0.5 * BLOCK, 10.0 + OVERTAKING * 0.5 * 3 * BLOCK]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_weight_that_is_not_above_0_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=f"^a caller's weight is above 0, not {weight}$"):
        tickets(0, 1, weight=weight)


def test_a_queue_keeps_nothing_back_unless_told() -> None:
    assert TicketQueue(max_slots=BLOCK).offer(tickets(0, BLOCK, caller="anyone"))


def test_a_request_is_admitted_whole_or_not_at_all() -> None:
    queue = TicketQueue(max_slots=4 * BLOCK)
    assert queue.offer(tickets(0, BLOCK, BLOCK, BLOCK))
    assert not queue.offer(tickets(1, BLOCK, BLOCK))
    assert (len(queue), queue.slots) == (3, 3 * BLOCK)
    assert queue.offer(tickets(2, BLOCK))


def test_without_a_known_speed_arrival_decides() -> None:
    queue = TicketQueue(max_slots=MAX_SLOTS)
    for document, arrival in ((0, 1.0), (1, 0.0), (2, 1.0)):
        queue.offer(tickets(document, BLOCK, arrival=arrival))
    assert documents(take(queue)) == [1, 0, 2]


def test_a_short_document_overtakes_a_long_one_that_came_just_before() -> None:
    queue = TicketQueue(max_slots=MAX_SLOTS)
    queue.offer(tickets(0, 4 * BLOCK, arrival=0.0, seconds_per_slot=1.0))
    queue.offer(tickets(1, 1, arrival=1.0, seconds_per_slot=1.0))
    assert documents(take(queue, slots=4 * BLOCK)) == [1]


@pytest.mark.parametrize(("arrival", "order"), [(191.9, [[1], [0]]), (192.1, [[0], [1]])])
def test_nobody_overtakes_a_long_document_for_ever(arrival: float, order: list[list[int]]) -> None:
    """Predicted at 16 s, the long one ranks at 256 s; a short one of 4 s overtakes it if it comes before 256 - 64 s."""
    queue = TicketQueue(max_slots=MAX_SLOTS)
    queue.offer(tickets(0, 4 * BLOCK, arrival=0.0, seconds_per_slot=1.0))
    queue.offer(tickets(1, 1, arrival=arrival, seconds_per_slot=1.0))
    assert [documents(take(queue, slots=4 * BLOCK)) for _ in range(2)] == order


def test_later_windows_of_a_long_document_let_others_in_between() -> None:
    queue = TicketQueue(max_slots=MAX_SLOTS)
    queue.offer(tickets(0, BLOCK, BLOCK, BLOCK, arrival=0.0, seconds_per_slot=1.0))
    queue.offer(tickets(1, 1, arrival=5.0, seconds_per_slot=1.0))
    assert documents(take(queue)) == [0, 1, 0, 0]


def test_what_does_not_fit_is_passed_over_and_leads_the_next_batch() -> None:
    queue = TicketQueue(max_slots=MAX_SLOTS)
    queue.offer(tickets(0, 3 * BLOCK))
    queue.offer(tickets(1, 2 * BLOCK))
    queue.offer(tickets(2, BLOCK))
    assert documents(take(queue, slots=4 * BLOCK)) == [0, 2]
    assert documents(take(queue, slots=4 * BLOCK)) == [1]


def test_a_batch_is_bounded_in_the_values_of_its_answers_too() -> None:
    queue = TicketQueue(max_slots=MAX_SLOTS)
    for document in range(3):
        queue.offer(tickets(document, 1))
    assert documents(take(queue, values=16)) == [0, 1]


def test_a_window_whose_answer_holds_no_values_fits_where_no_more_may_be_held() -> None:
    queue = TicketQueue(max_slots=100 * BLOCK)
    [full] = tickets(0, BLOCK)
    [none] = tickets(1, BLOCK)
    assert queue.offer([full])
    assert queue.offer([dataclasses.replace(none, values=0)])
    taken = queue.take(max_slots=10 * BLOCK, max_values=full.values, now=0.0)
    assert [ticket.document for ticket in taken.batch] == [0, 1]


def test_where_a_long_window_does_not_fit_beside_anothers_its_callers_short_one_goes_first() -> None:
    queue = TicketQueue(max_slots=MAX_SLOTS)
    queue.offer(tickets(0, 2 * BLOCK, caller="one", arrival=0.0))
    queue.offer(tickets(1, 3 * BLOCK, caller="other", arrival=1.0))
    queue.offer(tickets(2, BLOCK, caller="other", arrival=2.0))
    queue.offer(tickets(3, BLOCK, caller="other", arrival=3.0))
    queue.offer(tickets(4, BLOCK, caller="other", arrival=4.0))
    assert [documents(take(queue, slots=4 * BLOCK)) for _ in range(2)] == [[0, 2, 3], [1, 4]]


def test_a_window_larger_than_the_budget_goes_alone() -> None:
    queue = TicketQueue(max_slots=MAX_SLOTS)
    queue.offer(tickets(0, 8 * BLOCK))
    queue.offer(tickets(1, 1))
    assert documents(take(queue, slots=BLOCK)) == [0]


def test_a_ticket_past_its_deadline_is_not_computed() -> None:
    queue = TicketQueue(max_slots=MAX_SLOTS)
    queue.offer(tickets(0, 1, deadline=5.0))
    queue.offer(tickets(1, 1, deadline=5.1))
    taken = take(queue, now=5.0)
    assert documents(taken) == [1]
    assert [ticket.document for ticket in taken.expired] == [0]


def test_dropping_a_document_frees_its_room() -> None:
    queue = TicketQueue(max_slots=MAX_SLOTS)
    queue.offer(tickets(0, 1, 1))
    queue.offer(tickets(1, 3, priority="bulk"))
    assert [ticket.number for ticket in queue.drop({0, 7})] == [0, 1]
    assert (len(queue), queue.slots, queue.backlog("interactive"), queue.backlog("bulk")) == (
        1,
        BLOCK,
        Backlog(),
        Backlog(tokens=3, documents=1),
    )


@given(
    arrivals=st.lists(st.tuples(st.floats(0, 100, allow_subnormal=False), st.integers(1, 16)), min_size=2, max_size=20),
    seconds_per_slot=st.floats(0, 2, allow_subnormal=False),
)
def test_each_batch_holds_the_lowest_rank_and_keeps_to_the_budget(
    arrivals: list[tuple[float, int]], seconds_per_slot: float
) -> None:
    queue = TicketQueue(max_slots=EVERYTHING)
    waiting: dict[int, Ticket] = {}
    for document, (arrival, length) in enumerate(arrivals):
        [ticket] = tickets(document, length, arrival=arrival, seconds_per_slot=seconds_per_slot)
        queue.offer([ticket])
        waiting[document] = ticket
    event("overtaken" if [*waiting] != [t.document for t in sorted(waiting.values(), key=lambda t: t.order)] else "in order")
    while waiting:
        batch = take(queue).batch
        assert batch[0] == min(waiting.values(), key=lambda ticket: ticket.order)
        assert sum(ticket.slots for ticket in batch) <= BATCH_SLOTS
        for ticket in batch:
            del waiting[ticket.document]
    assert take(queue) == Taken(batch=(), expired=())


# Sharing

KEYS = itertools.count(1000)


def turn_of(ticket: Ticket) -> tuple[str, str]:
    return ticket.terms.priority, ticket.terms.caller


def taken_by(queue: TicketQueue, *, batches: int, slots: int = BATCH_SLOTS) -> Counter[tuple[str, str]]:
    """Slots of so many batches, by lane and caller."""
    taken: Counter[tuple[str, str]] = Counter()
    for _ in range(batches):
        for ticket in take(queue, slots=slots).batch:
            taken[turn_of(ticket)] += ticket.slots
    return taken


def fill(queue: TicketQueue, documents: int, **told: Any) -> None:
    """Documents of one block each, all waiting at once."""
    for _ in range(documents):
        assert queue.offer(tickets(next(KEYS), BLOCK, **told))


def test_only_what_its_own_caller_has_in_its_lane_goes_before_a_ticket_for_certain() -> None:
    queue = TicketQueue(max_slots=100 * BLOCK)
    queue.offer(tickets(0, BLOCK, 2 * BLOCK, seconds_per_slot=1.0, caller="own"))
    queue.offer(tickets(1, BLOCK, caller="other"))
    queue.offer(tickets(2, BLOCK, caller="own", priority="bulk"))
    [last] = tickets(3, BLOCK, arrival=9.0, seconds_per_slot=1.0, caller="own")
    assert queue.slots_before(last) == BLOCK  # its rank is 9 + 16 * 4 seconds, that of the others' windows 64 and 192
    [later] = tickets(4, BLOCK, arrival=1000.0, caller="own")
    assert queue.slots_before(later) == 3 * BLOCK
    [stranger] = tickets(5, BLOCK, arrival=1000.0, caller="stranger")
    assert queue.slots_before(stranger) == 0


def test_a_ticket_is_late_from_its_deadline_on() -> None:
    [patient], [hasty] = tickets(0, BLOCK), tickets(1, BLOCK, deadline=5.0)
    assert not patient.is_late(1e9)
    assert [hasty.is_late(now) for now in (4.9, 5.0, 5.1)] == [False, True, True]


def test_callers_who_have_gone_are_forgotten_when_a_new_round_begins() -> None:
    queue = TicketQueue(max_slots=100 * BLOCK)
    for document in range(51):
        queue.offer(tickets(document, BLOCK, caller=f"caller {document % 50}"))
        queue.take(max_slots=BLOCK, max_values=1000, now=0.0)
    assert set(queue._lanes["interactive"].callers) == {"caller 0"}


def test_a_turn_is_worth_the_same_in_batches_of_any_size() -> None:
    queue = TicketQueue(max_slots=1000 * BLOCK)
    for document in range(60):
        queue.offer(tickets(document, BLOCK, caller="one" if document < 30 else "other"))
    taken = [
        ticket.terms.caller
        for _ in range(5)
        for ticket in queue.take(max_slots=2 * BLOCK, max_values=1000, now=0.0, turn_slots=4 * BLOCK).batch
    ]
    assert taken == ["one"] * 4 + ["other"] * 4 + ["one"] * 2


def test_lanes_share_four_to_one() -> None:
    queue = TicketQueue(max_slots=EVERYTHING)
    fill(queue, 200, priority="bulk", arrival=0.0)
    fill(queue, 200, arrival=9.0)
    taken = taken_by(queue, batches=20)
    assert (taken["interactive", ""], taken["bulk", ""]) == (16 * BATCH_SLOTS, 4 * BATCH_SLOTS)


def test_a_lane_that_is_alone_has_the_engine_to_itself() -> None:
    queue = TicketQueue(max_slots=EVERYTHING)
    fill(queue, 200, priority="bulk")
    assert taken_by(queue, batches=20)["bulk", ""] == 20 * BATCH_SLOTS


def test_interactive_goes_first() -> None:
    queue = TicketQueue(max_slots=EVERYTHING)
    queue.offer(tickets(0, 1, priority="bulk"))
    queue.offer(tickets(1, 1, arrival=9.0))
    assert documents(take(queue)) == [1, 0]


def test_a_caller_with_a_thousand_documents_leaves_another_its_turn() -> None:
    queue = TicketQueue(max_slots=EVERYTHING)
    fill(queue, 1000, caller="greedy", arrival=0.0)
    fill(queue, 8, caller="modest", arrival=9.0)
    taken = taken_by(queue, batches=4)
    assert taken["interactive", "modest"] == 8 * BLOCK


def test_a_caller_who_leaves_and_returns_gets_no_second_turn_in_a_round() -> None:
    queue = TicketQueue(max_slots=EVERYTHING)
    fill(queue, 100, caller="patient", arrival=1.0)
    taken: Counter[tuple[str, str]] = Counter()
    for _ in range(20):
        fill(queue, 4, caller="returning", arrival=0.0)
        taken += taken_by(queue, batches=1)
    assert taken["interactive", "patient"] >= 9 * BATCH_SLOTS


def test_a_lane_that_fills_the_gaps_of_another_keeps_its_turn() -> None:
    queue = TicketQueue(max_slots=EVERYTHING)
    for _ in range(50):
        queue.offer(tickets(next(KEYS), 3 * BLOCK))
    fill(queue, 200, priority="bulk")
    taken = taken_by(queue, batches=40)
    led = taken["interactive", ""] // (3 * BLOCK)
    assert 40 / 8 <= 40 - led <= 40 / 4
    assert taken["bulk", ""] == led * BLOCK + (40 - led) * BATCH_SLOTS


@pytest.mark.parametrize("greedy", [{"caller": "greedy"}, {"priority": "bulk"}])
def test_the_last_part_of_the_queue_is_for_those_who_hold_little(greedy: dict[str, Any]) -> None:
    queue = TicketQueue(max_slots=16 * BLOCK, reserved_slots=2 * BLOCK)
    fill(queue, 14, **greedy)
    assert not queue.offer(tickets(next(KEYS), 1, **greedy))
    assert not queue.offer(tickets(next(KEYS), 2 * BLOCK + 1, caller="modest"))
    assert queue.offer(tickets(next(KEYS), BLOCK, caller="modest"))
    assert queue.offer(tickets(next(KEYS), BLOCK, caller="modest"))
    assert not queue.offer(tickets(next(KEYS), 1, caller="late"))


def test_a_caller_within_the_reserve_may_use_all_of_the_queue() -> None:
    queue = TicketQueue(max_slots=3 * BLOCK, reserved_slots=BLOCK)
    for caller in ("a", "b", "c"):
        assert queue.offer(tickets(next(KEYS), BLOCK, caller=caller))
    assert not queue.offer(tickets(next(KEYS), 1, caller="d"))


def test_what_has_left_the_queue_no_longer_counts_for_its_caller() -> None:
    queue = TicketQueue(max_slots=4 * BLOCK, reserved_slots=2 * BLOCK)
    fill(queue, 2, caller="other")
    for leave in (lambda: queue.drop({100, 101}), lambda: take(queue, slots=4 * BLOCK)):
        for document in (100, 101):
            assert queue.offer(tickets(document, BLOCK, caller="own"))
        assert not queue.offer(tickets(102, BLOCK, caller="own"))
        leave()
        assert len(queue) == queue.slots // BLOCK
    assert queue.slots == 0


def test_without_names_and_bulk_nothing_is_reserved() -> None:
    queue = TicketQueue(max_slots=16 * BLOCK, reserved_slots=2 * BLOCK)
    fill(queue, 16)
    assert queue.slots == queue.max_slots


def test_gaps_are_given_away() -> None:
    """`long` leads with three blocks of four; `short` gets as many slots for its turns, and the gaps besides."""
    queue = TicketQueue(max_slots=EVERYTHING)
    for _ in range(50):
        queue.offer(tickets(next(KEYS), 3 * BLOCK, caller="long", arrival=0.0))
    fill(queue, 200, caller="short", arrival=9.0)
    taken = taken_by(queue, batches=14)
    led = 8
    assert taken["interactive", "long"] == led * 3 * BLOCK
    assert taken["interactive", "short"] == led * 3 * BLOCK + led * BLOCK


def test_all_of_a_gap_is_given_away() -> None:
    """`long` leads with five blocks of eight; three windows of `short` fill each gap, and are not charged to it."""
    queue = TicketQueue(max_slots=EVERYTHING)
    for _ in range(50):
        queue.offer(tickets(next(KEYS), 5 * BLOCK, caller="long", arrival=0.0))
    fill(queue, 200, caller="short", arrival=9.0)
    taken = taken_by(queue, batches=26, slots=8 * BLOCK)
    assert taken["interactive", "long"] == 16 * 5 * BLOCK
    assert taken["interactive", "short"] == 10 * 8 * BLOCK + 16 * 3 * BLOCK


@given(
    weights=st.lists(st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0, 5.0]), min_size=2, max_size=5),
    arrivals=st.lists(st.floats(0, 100, allow_subnormal=False), min_size=5, max_size=5),
    batches=st.integers(1, 40),
)
def test_callers_who_all_wait_get_slots_by_their_weights(weights: list[float], arrivals: list[float], batches: int) -> None:
    queue = TicketQueue(max_slots=EVERYTHING)
    for caller, weight in enumerate(weights):
        fill(queue, 160, caller=str(caller), weight=weight, arrival=arrivals[caller])
    taken = taken_by(queue, batches=batches)
    assert sum(taken.values()) == batches * BATCH_SLOTS
    for one, other in itertools.combinations(range(len(weights)), 2):
        shares = [taken["interactive", str(caller)] / weights[caller] for caller in (one, other)]
        bound = (2 + 1 / weights[one] + 1 / weights[other]) * BATCH_SLOTS
        assert abs(shares[0] - shares[1]) <= bound
    event("a caller got nothing yet" if len(taken) < len(weights) else "everyone was served")


@given(
    bulk=st.booleans(),
    callers=st.integers(0, 5),
    lengths=st.lists(st.integers(1, BATCH_SLOTS), min_size=1, max_size=8),
    before=st.integers(0, 4),
)
def test_nothing_starves_however_many_come_later(bulk: bool, callers: int, lengths: list[int], before: int) -> None:
    """A full window, its rank passed, in a flood that never ends, from its own caller, others and the other lane.

    Its lane has one of five turns, its caller one of each round of the lane; what its caller asked before it goes first.
    """
    queue = TicketQueue(max_slots=EVERYTHING)
    for document in range(before):
        queue.offer(tickets(document, BATCH_SLOTS, arrival=0.0, priority="bulk" if bulk else "interactive", caller="own"))
    waits = tickets(before, BATCH_SLOTS, arrival=0.0, priority="bulk" if bulk else "interactive", caller="own")
    queue.offer(waits)
    flood, document = itertools.cycle(lengths), before
    for batch in range(1, 5 * (before + 2) * (callers + 2) + 1):
        for caller, priority in itertools.product(["own", *map(str, range(callers))], PRIORITIES):
            for _ in range(3):
                document += 1
                queue.offer(tickets(document, next(flood), arrival=1.0, priority=priority, caller=caller))
        if waits[0] in take(queue, now=1.0).batch:
            event(f"taken within {'a few' if batch < 10 else 'many'} batches")
            return
    pytest.fail("it was overtaken beyond the bound")


class QueueMachine(RuleBasedStateMachine):
    """Offers, takes and drops in any order against a plain dictionary of what should be waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = TicketQueue(max_slots=MAX_SLOTS)
        self.waiting: dict[tuple[int, int], Ticket] = {}
        self.now = 0.0
        self.documents = 0

    @rule(
        lengths=st.lists(st.integers(1, BATCH_SLOTS), min_size=1, max_size=6),
        patience=st.none() | st.floats(0.1, 5, allow_subnormal=False),
        bulk=st.booleans(),
        caller=st.sampled_from(["", "a", "b"]),
    )
    def offer(self, lengths: list[int], patience: float | None, bulk: bool, caller: str) -> None:
        mine = tickets(
            self.documents,
            *lengths,
            arrival=self.now,
            deadline=None if patience is None else self.now + patience,
            priority="bulk" if bulk else "interactive",
            caller=caller,
            weight=0.5 if caller == "a" else 1.0,
            seconds_per_slot=0.1,
        )
        self.documents += 1
        fits = sum(ticket.slots for ticket in [*mine, *self.waiting.values()]) <= MAX_SLOTS
        assert self.queue.offer(mine) == fits
        if fits:
            self.waiting |= {(ticket.document, ticket.number): ticket for ticket in mine}

    @rule(seconds=st.floats(0, 3, allow_subnormal=False))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.waiting)
    @rule()
    def take(self) -> None:
        before = dict(self.waiting)
        taken = take(self.queue, now=self.now)
        expired = {
            key
            for key, ticket in self.waiting.items()
            if ticket.terms.deadline is not None and ticket.terms.deadline <= self.now
        }
        assert {(ticket.document, ticket.number) for ticket in taken.expired} == expired
        assert taken.batch or len(expired) == len(self.waiting)
        assert sum(ticket.slots for ticket in taken.batch) <= BATCH_SLOTS
        for ticket in taken.batch + taken.expired:
            assert self.waiting.pop((ticket.document, ticket.number)) == ticket
        room = BATCH_SLOTS - sum(ticket.slots for ticket in taken.batch)
        assert all(ticket.slots > room for ticket in self.waiting.values()), "what fits is not left behind"
        for lead in taken.batch[:1]:
            same = [each for key, each in before.items() if key not in expired and turn_of(each) == turn_of(lead)]
            assert lead == min(same, key=lambda ticket: ticket.order)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 100))
    def drop(self, which: int) -> None:
        document = [*self.waiting][which % len(self.waiting)][0]
        for ticket in self.queue.drop({document}):
            assert self.waiting.pop((ticket.document, ticket.number)) == ticket
        assert document not in {key for key, _ in self.waiting}

    @invariant()
    def the_figures_are_true(self) -> None:
        assert len(self.queue) == len(self.waiting)
        assert self.queue.slots == sum(ticket.slots for ticket in self.waiting.values()) <= MAX_SLOTS
        for priority in ("interactive", "bulk"):
            lane = [ticket for ticket in self.waiting.values() if ticket.terms.priority == priority]
            assert self.queue.backlog(priority) == Backlog(
                tokens=sum(len(ticket.window) for ticket in lane), documents=len({ticket.document for ticket in lane})
            )


QueueMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=30)
test_whatever_happens_nothing_is_lost_and_nothing_comes_twice = QueueMachine.TestCase
