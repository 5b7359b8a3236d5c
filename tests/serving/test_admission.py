"""What keeps a request out, and that it may come in when it was told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, event, given, reject
from hypothesis import strategies as st

from drlongformer.errors import DeadlineExceeded, DocumentTooLong, Overloaded
from drlongformer.serving.admission import SHORTEST_RETRY_SECONDS, Wish, require_room, require_space, seconds_until_done
from drlongformer.serving.queue import Terms, TicketQueue
from drlongformer.serving.speed import Speed
from tests.serving.factories import BLOCK, tickets

BATCH = 4 * BLOCK
FULL = 16 * BLOCK

SECONDS_PER_SLOT = 10.0


def measured(seconds_per_slot: float = SECONDS_PER_SLOT) -> Speed:
    speed = Speed()
    speed.add(slots=1, tokens=1, seconds=seconds_per_slot)
    return speed


def holding(blocks: int, *, of: int) -> TicketQueue:
    queue = TicketQueue(max_slots=of * BLOCK)
    assert queue.offer(tickets(0, *[BLOCK] * blocks))
    return queue


def test_what_fits_and_can_be_in_time_is_let_in() -> None:
    wish = Wish(slots=BLOCK, slots_before=BLOCK, patience_seconds=2 * BLOCK * SECONDS_PER_SLOT)
    require_room(holding(1, of=2), wish, busy_seconds=[0.0], speed=measured())


def test_what_an_empty_queue_could_not_hold_is_too_long() -> None:
    with pytest.raises(DocumentTooLong, match="takes 12 token slots, the whole queue holds 8"):
        require_room(TicketQueue(max_slots=2 * BLOCK), Wish(slots=3 * BLOCK), busy_seconds=[0.0], speed=measured())


@pytest.mark.parametrize("busy_seconds", [7.0, 0.0])
def test_without_room_it_is_told_when_enough_will_have_been_computed(busy_seconds: float) -> None:
    with pytest.raises(Overloaded, match="12 token slots wait, 8 more do not fit in 16") as refused:
        require_room(holding(3, of=4), Wish(slots=2 * BLOCK), busy_seconds=[busy_seconds], speed=measured())
    assert refused.value.retry_after_seconds == busy_seconds + BLOCK * SECONDS_PER_SLOT


def test_a_request_that_can_never_come_in_is_told_what_to_do() -> None:
    with pytest.raises(
        DocumentTooLong, match=r"; it cannot be admitted, even later: send fewer or shorter documents at a time$"
    ) as told:
        require_room(TicketQueue(max_slots=2 * BLOCK), Wish(slots=3 * BLOCK), busy_seconds=[0.0], speed=measured())
    assert told.value.location == ("inputs",)


def test_one_slot_too_many_does_not_fit() -> None:
    require_room(holding(3, of=4), Wish(slots=BLOCK), busy_seconds=[7.0], speed=measured())
    with pytest.raises(Overloaded) as refused:
        require_room(holding(3, of=4), Wish(slots=BLOCK + 1), busy_seconds=[7.0], speed=measured())
    assert refused.value.retry_after_seconds == 7.0 + SECONDS_PER_SLOT


def test_where_there_is_room_only_the_deadline_says_when_to_return() -> None:
    wish = Wish(slots=BLOCK, patience_seconds=60.0)
    with pytest.raises(Overloaded) as refused:
        require_room(TicketQueue(max_slots=64), wish, busy_seconds=[50.0], speed=measured())
    assert refused.value.retry_after_seconds == 50.0 + BLOCK * SECONDS_PER_SLOT - 60.0


def test_a_limit_below_the_whole_queue_counts_instead() -> None:
    require_room(holding(2, of=4), Wish(slots=BLOCK, limit=3 * BLOCK), busy_seconds=[0.0], speed=measured())
    with pytest.raises(Overloaded, match="12 token slots wait, 4 more do not fit in 12") as refused:
        require_room(holding(3, of=4), Wish(slots=BLOCK, limit=3 * BLOCK), busy_seconds=[0.0], speed=measured())
    assert refused.value.retry_after_seconds == BLOCK * SECONDS_PER_SLOT
    with pytest.raises(DocumentTooLong, match="takes 16 token slots, the whole queue holds 12"):
        require_room(holding(1, of=4), Wish(slots=4 * BLOCK, limit=3 * BLOCK), busy_seconds=[0.0], speed=measured())


def test_nobody_is_told_to_come_back_at_once() -> None:
    with pytest.raises(Overloaded) as refused:
        require_room(holding(1, of=1), Wish(slots=BLOCK), busy_seconds=[0.0], speed=Speed())
    assert refused.value.retry_after_seconds == SHORTEST_RETRY_SECONDS


def test_a_deadline_that_work_before_it_makes_impossible_is_refused_until_that_is_done() -> None:
    wish = Wish(slots=BLOCK, slots_before=2 * BLOCK, patience_seconds=100.0)
    with pytest.raises(Overloaded, match=r"12 token slots wait, about 125.0 seconds.*deadline in 100.0") as refused:
        require_room(holding(3, of=9), wish, busy_seconds=[5.0], speed=measured())
    assert refused.value.retry_after_seconds == 5 + 3 * BLOCK * SECONDS_PER_SLOT + BLOCK * SECONDS_PER_SLOT - 100


def test_work_of_others_counts_for_the_return_but_does_not_keep_anyone_out() -> None:
    wish = Wish(slots=BLOCK, slots_before=0, patience_seconds=BLOCK * SECONDS_PER_SLOT)
    require_room(holding(3, of=9), wish, busy_seconds=[0.0], speed=measured())


def test_a_deadline_that_no_batch_was_ever_fast_enough_for_is_refused_for_good() -> None:
    speed = measured()
    speed.add(slots=100, tokens=100, seconds=4 * 100 * SECONDS_PER_SLOT)
    require_room(TicketQueue(max_slots=64), Wish(slots=4, patience_seconds=40.0), busy_seconds=[0.0], speed=speed)
    with pytest.raises(DeadlineExceeded, match=r"4 token slots take at least 40.0 seconds to compute, the deadline is in 39.9"):
        require_room(TicketQueue(max_slots=64), Wish(slots=4, patience_seconds=39.9), busy_seconds=[0.0], speed=speed)


def test_an_idle_engine_refuses_nobody_for_what_is_only_believed_of_its_speed() -> None:
    wish = Wish(slots=BLOCK, patience_seconds=0.001)
    require_room(TicketQueue(max_slots=64), wish, busy_seconds=[0.0], speed=Speed(1000.0))


def test_a_deadline_that_has_passed_is_refused() -> None:
    with pytest.raises(DeadlineExceeded, match=r"the deadline is in 0.0"):
        require_room(TicketQueue(max_slots=64), Wish(slots=BLOCK, patience_seconds=-1.0), busy_seconds=[0.0], speed=Speed())


# Several engines


@pytest.mark.parametrize(
    ("seconds", "busy_seconds", "done"),
    [
        (5.0, [9.0, 1.0, 2.0], 4.0),  # the example of the docstring
        (5.0, [3.0], 8.0),
        (0.0, [3.0, 1.0], 1.0),
        (2.0, [3.0, 1.0], 3.0),
        (4.0, [3.0, 1.0], 4.0),
        (6.0, [0.0, 0.0, 0.0], 2.0),
    ],
)
def test_engines_help_from_when_they_are_free(seconds: float, busy_seconds: list[float], done: float) -> None:
    assert seconds_until_done(seconds, busy_seconds=busy_seconds) == done


@given(seconds=st.integers(0, 1000).map(float), busy_seconds=st.lists(st.integers(0, 100).map(float), min_size=1, max_size=6))
def test_by_then_exactly_that_work_is_done(seconds: float, busy_seconds: list[float]) -> None:
    done = seconds_until_done(seconds, busy_seconds=busy_seconds)
    assert sum(max(0.0, done - busy) for busy in busy_seconds) == pytest.approx(seconds)
    event("some do not help" if done < max(busy_seconds) else "all help")


def test_two_engines_are_done_with_what_waits_in_half_the_time() -> None:
    with pytest.raises(Overloaded) as refused:
        require_room(holding(3, of=4), Wish(slots=3 * BLOCK), busy_seconds=[4.0, 8.0], speed=measured())
    assert refused.value.retry_after_seconds == (4 + 8 + 2 * BLOCK * SECONDS_PER_SLOT) / 2
    wish = Wish(slots=2 * BLOCK, patience_seconds=BLOCK * SECONDS_PER_SLOT)
    require_room(TicketQueue(max_slots=64), wish, busy_seconds=[0.0, 0.0], speed=measured())
    with pytest.raises(DeadlineExceeded, match=r"8 token slots take at least 80.0 seconds"):
        require_room(TicketQueue(max_slots=64), wish, busy_seconds=[0.0], speed=measured())
    with pytest.raises(Overloaded, match=r"would miss its deadline in 40.0 seconds") as late:
        require_room(TicketQueue(max_slots=64), wish, busy_seconds=[10.0, 2.0], speed=measured())
    assert late.value.retry_after_seconds == 46.0 - 40.0


class Backlogged:
    """A full queue before an engine of constant speed, on a clock of its own."""

    def __init__(self, lengths: list[tuple[int, str, bool]], *, seconds_per_slot: float) -> None:
        self.queue = TicketQueue(max_slots=FULL, reserved_slots=FULL // 8)
        self.speed = measured(seconds_per_slot)
        self.now = 0.0
        self.ends = 0.0
        for document, (length, caller, bulk) in enumerate(lengths):
            self.queue.offer(tickets(document, length, caller=caller, priority="bulk" if bulk else "interactive"))
        self.begin()

    def begin(self) -> None:
        batch = self.queue.take(max_slots=BATCH, max_values=1 << 30, now=self.now).batch
        self.ends = self.now + sum(ticket.slots for ticket in batch) * self.speed.seconds_per_slot

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.ends <= until and len(self.queue):
            self.now = self.ends
            self.begin()
        self.now = until

    @property
    def busy_seconds(self) -> list[float]:
        return [max(0.0, self.ends - self.now)]

    def wish(self, slots: int, patience: float | None) -> Wish:
        return Wish(slots=slots, limit=self.queue.limit(slots, Terms(caller="own")), patience_seconds=patience)

    def told_early(self, least: int, most: int, patience: float | None) -> float | None:
        """When to come back, if it is refused before its size is known."""
        wish, returning = self.wish(least, patience), self.wish(most, patience)
        try:
            require_space(self.queue, wish, returning=returning, busy_seconds=self.busy_seconds, speed=self.speed)
        except Overloaded as refused:
            return refused.retry_after_seconds
        return None

    def told(self, lengths: list[int], patience: float | None) -> float | None:
        """When to come back, if it is refused; hopeless requests are not for this test."""
        mine = tickets(1000, *lengths, caller="own", arrival=self.now, seconds_per_slot=self.speed.seconds_per_slot)
        wish = replace(
            self.wish(sum(ticket.slots for ticket in mine), patience), slots_before=self.queue.slots_before(mine[-1])
        )
        try:
            require_room(self.queue, wish, busy_seconds=self.busy_seconds, speed=self.speed)
        except Overloaded as refused:
            return refused.retry_after_seconds
        except (DeadlineExceeded, DocumentTooLong):
            reject()
        return None


WAITING = st.lists(st.tuples(st.integers(1, BATCH), st.sampled_from(["own", "other"]), st.booleans()), min_size=4, max_size=16)


@given(
    lengths=WAITING,
    asked=st.lists(st.integers(1, BATCH), min_size=1, max_size=4),
    seconds_per_slot=st.sampled_from([0.03125, 0.5, 4.0]),
    elapsed=st.floats(0, 1),
    patience=st.none() | st.floats(1, 16),
)
def test_after_the_time_it_was_told_the_same_request_is_admitted(
    lengths: list[tuple[int, str, bool]], asked: list[int], seconds_per_slot: float, elapsed: float, patience: float | None
) -> None:
    busy = Backlogged(lengths, seconds_per_slot=seconds_per_slot)
    busy.wait(elapsed * BATCH * seconds_per_slot)
    seconds = None if patience is None else patience * BATCH * seconds_per_slot
    told = busy.told(asked, seconds)
    assume(told is not None)
    busy.wait((told or 0.0) * (1 + 1e-9))
    event("for its deadline" if patience else "for want of room")
    assert busy.told(asked, seconds) is None


@given(
    lengths=WAITING,
    asked=st.lists(st.integers(1, BATCH), min_size=1, max_size=4),
    share=st.floats(0, 1),
    over=st.integers(0, FULL),
    patience=st.none() | st.floats(1, 16),
)
def test_a_refusal_before_the_size_is_known_keeps_out_nothing_that_fits_and_tells_a_time_that_is_true(
    lengths: list[tuple[int, str, bool]], asked: list[int], share: float, over: int, patience: float | None
) -> None:
    busy = Backlogged(lengths, seconds_per_slot=0.5)
    slots = sum(-(-length // BLOCK) * BLOCK for length in asked)
    seconds = None if patience is None else patience * BATCH * 0.5
    fits = busy.told(asked, seconds) is None
    early = busy.told_early(max(1, round(share * slots)), slots + over, seconds)
    event(f"fits: {fits}, refused early: {early is not None}")
    assert not (fits and early is not None)
    if early is not None:
        busy.wait(early * (1 + 1e-9))
        assert busy.told(asked, seconds) is None


def test_the_message_of_an_early_refusal_says_that_the_size_is_not_known_yet() -> None:
    least, most = Wish(slots=BLOCK), Wish(slots=100 * BLOCK)
    with pytest.raises(Overloaded, match=r"^16 token slots wait, at least 4 more do not fit in 16$") as refused:
        require_space(holding(4, of=4), least, returning=most, busy_seconds=[0.0], speed=measured())
    assert refused.value.retry_after_seconds == 4 * BLOCK * SECONDS_PER_SLOT  # an empty queue takes whatever can be taken
