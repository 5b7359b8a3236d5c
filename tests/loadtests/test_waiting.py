"""What the order and the budget do to notes among long documents, on a clock of its own: the same on any machine."""

from __future__ import annotations

from loadtests.waiting import WINDOW, Speed, simulate


def test_at_80_percent_load_a_note_waits_for_the_batch_in_the_engine_and_for_notes_alone() -> None:
    speed = Speed()
    waits = simulate(seconds=100, load=0.8, speed=speed)
    assert len(waits.notes) > 300
    assert max(waits.longs) > 4 * speed(WINDOW)  # there was a queue to be passed
    assert max(waits.notes) < 2 * speed(WINDOW)
    assert max(waits.batches) <= WINDOW


def test_batches_of_two_windows_are_used_where_they_are_short() -> None:
    waits = simulate(seconds=20, load=0.8, speed=Speed(slot_seconds=1e-5, gain=0.1))
    assert max(waits.batches) > WINDOW
