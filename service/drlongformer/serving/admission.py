"""Whether a request is let into the queue, and if not, when to come back: decided from the backlog and the measured speed.

Two things keep it out: no room for all of it, and a deadline that what goes before it makes impossible. Both pass, and the
time after which the same request is admitted, if nobody else comes, is `retry_after_seconds`. Two others never pass: more than
an empty queue holds, and a deadline that the engine has never been fast enough for. Pure; the seconds are estimates.

A request whose size is not known yet is refused (`require_space`) if the least that it may take has no room. Nothing that
would be admitted is refused by that, because whoever has no room for little has none for more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from drlongformer.errors import DeadlineExceeded, DocumentTooLong, Overloaded
from drlongformer.serving.queue import TicketQueue
from drlongformer.serving.speed import Speed

SHORTEST_RETRY_SECONDS = 1.0
"""Nobody is told to come back sooner; HTTP counts in whole seconds anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What asks to be let in: its slots in all, slots of its caller's own work that go before its end, seconds it has.

    limit: how many slots may wait in all with it, if that is not the whole queue.
    """

    slots: int
    limit: int | None = None
    slots_before: int = 0
    patience_seconds: float | None = None


def seconds_until_done(seconds: float, *, busy_seconds: Sequence[float]) -> float:
    """When engines that are busy for so many seconds each will have done so many more seconds of work between them.

    Each helps from when it is free, so the earliest k of them have done the work after (work + their busy seconds) / k:

        engines busy for 1, 2 and 9 seconds, 5 seconds of work    (5 + 1 + 2) / 2 = 4, before the third is free
    """
    free = sorted(busy_seconds)
    for helping in range(1, len(free)):
        done = (seconds + sum(free[:helping])) / helping
        if done <= free[helping]:
            return done
    return (seconds + sum(free)) / len(free)


def require_room(queue: TicketQueue, wish: Wish, *, busy_seconds: Sequence[float], speed: Speed) -> None:
    """Raise why the wish is not let in: DocumentTooLong, DeadlineExceeded or Overloaded.

    busy_seconds: how long each engine is still expected to be busy with the batch that is in it.
    """
    _require_possible(queue, wish)
    own = wish.slots * speed.least_seconds_per_slot
    own_seconds = own / len(busy_seconds)
    patience = inf if wish.patience_seconds is None else wish.patience_seconds
    if own_seconds > patience:
        raise DeadlineExceeded(
            f"{wish.slots} token slots take at least {own_seconds:.1f} seconds to compute, "
            f"the deadline is in {max(0.0, patience):.1f}"
        )
    require_space(queue, wish, busy_seconds=busy_seconds, speed=speed)
    # Only what goes before it for certain keeps it out: its caller's own work.
    before = wish.slots_before * speed.seconds_per_slot
    if seconds_until_done(before + own, busy_seconds=busy_seconds) > patience:
        backlog = seconds_until_done(queue.slots * speed.seconds_per_slot, busy_seconds=busy_seconds)
        raise Overloaded(
            f"{queue.slots} token slots wait, about {backlog:.1f} seconds of work; "
            f"the request would miss its deadline in {patience:.1f} seconds",
            retry_after_seconds=_return(queue, wish, busy_seconds=busy_seconds, speed=speed),
        )


def require_space(
    queue: TicketQueue, wish: Wish, *, returning: Wish | None = None, busy_seconds: Sequence[float], speed: Speed
) -> None:
    """Raise DocumentTooLong or Overloaded where the wish has no room, whatever its deadline.

    returning: the same request as large as it may turn out to be, where `wish` is the least of it; it is told when there is
    room for all of that, and whether it is too long is left for when its size is known.
    """
    if returning is None:
        _require_possible(queue, wish)
    if _excess(queue, wish) > 0:
        raise Overloaded(
            f"{queue.slots} token slots wait, {'' if returning is None else 'at least '}{wish.slots} more do not fit in "
            f"{_limit(queue, wish)}",
            retry_after_seconds=_return(queue, returning or wish, busy_seconds=busy_seconds, speed=speed),
        )


def _require_possible(queue: TicketQueue, wish: Wish) -> None:
    limit = _limit(queue, wish)
    if wish.slots > limit:
        raise DocumentTooLong(
            f"the request takes {wish.slots} token slots, the whole queue holds {limit}; "
            "it cannot be admitted, even later: send fewer or shorter documents at a time",
            location=("inputs",),
        )


def _limit(queue: TicketQueue, wish: Wish) -> int:
    return queue.max_slots if wish.limit is None else wish.limit


def _excess(queue: TicketQueue, wish: Wish) -> int:
    """Slots by which it does not fit; what fits in no queue counts as one that is admitted when all are done."""
    limit = _limit(queue, wish)
    return queue.slots + min(wish.slots, limit) - limit


def _return(queue: TicketQueue, wish: Wish, *, busy_seconds: Sequence[float], speed: Speed) -> float:
    """After how many seconds the same request is let in: once there is room for its excess, and in time for its deadline.

    What is in the engines then may be anybody's: for a deadline to be met for certain, all that waits now must be done.
    """
    excess, own = _excess(queue, wish), wish.slots * speed.least_seconds_per_slot
    patience = inf if wish.patience_seconds is None else wish.patience_seconds
    room = seconds_until_done(excess * speed.seconds_per_slot, busy_seconds=busy_seconds) if excess > 0 else 0.0
    end = seconds_until_done(queue.slots * speed.seconds_per_slot + own, busy_seconds=busy_seconds)
    return max(SHORTEST_RETRY_SECONDS, room, end - patience)
