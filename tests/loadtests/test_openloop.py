"""The driver does not wait for answers, and counts from the planned moment."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from loadtests import openloop
from loadtests.openloop import Asked
from loadtests.wire import Reply

OK = Reply(status=200, headers={}, body=b'{"usage": {"tokens": 7}}')


async def test_requests_leave_on_time_although_none_is_answered() -> None:
    never, left = asyncio.Event(), list[bytes]()

    async def send(asked: Asked) -> Reply:
        left.append(asked.body)
        if len(left) == 20:
            never.set()
        await never.wait()
        return OK

    plan = openloop.poisson(200, [b"%d" % number for number in range(20)], np.random.default_rng(0))
    outcomes = await openloop.drive(plan, send)
    assert left == [asked.body for asked in plan]
    assert all(outcome.answered for outcome in outcomes)


async def test_a_latency_counts_from_the_planned_moment_even_if_the_driver_was_late() -> None:
    async def send(asked: Asked) -> Reply:
        if asked.body == b"0":
            time.sleep(0.2)  # noqa: ASYNC251 - what holds up the driver
        return OK

    outcomes = await openloop.drive([Asked(at=0.0, body=b"0"), Asked(at=0.01, body=b"1")], send)
    second = next(outcome for outcome in outcomes if outcome.planned == 0.01)
    assert second.seconds >= 0.19
    assert second.ended - second.sent < second.seconds
    assert openloop.lateness(outcomes) > 0.1


async def test_transport_errors_are_outcomes_and_are_in_no_percentile() -> None:
    async def send(asked: Asked) -> Reply:
        if asked.body == b"bad":
            raise ConnectionResetError
        return OK

    outcomes = await openloop.closed_loop([b"good", b"bad", b"good"], send, callers=2)
    assert openloop.statuses(outcomes) == {"200": 2, "ConnectionResetError": 1}
    assert sum(outcome.tokens for outcome in outcomes) == 14
    assert openloop.percentile(outcomes, 100) == max(outcome.seconds for outcome in outcomes if outcome.answered)


def test_arrivals_are_poisson() -> None:
    plan = openloop.poisson(50, [b""] * 20_000, np.random.default_rng(1))
    gaps = np.diff([asked.at for asked in plan])
    assert plan[-1].at == pytest.approx(400, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)


def test_merged_plans_are_in_order_of_time() -> None:
    random = np.random.default_rng(2)
    plans = [openloop.poisson(10, [b""] * 50, random, group=name) for name in "ab"]
    both = openloop.merged(*plans)
    assert len(both) == 100
    assert [asked.at for asked in both] == sorted(asked.at for asked in both)
