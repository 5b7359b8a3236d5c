"""What is told of a request that goes on: an estimate from figures of the service, and never that it is done."""

from __future__ import annotations

from typing import Any

from tests.playground.looking import Opened


def test_a_share_is_told_up_to_the_estimate_and_never_is_the_whole(page: Opened) -> None:
    asked = [(seconds / 10, expected) for seconds in range(200) for expected in (0.05, 3, 19.9, None)]
    show = "x.map(([seconds, expected]) => m.shown({ seconds, expected: expected ?? undefined }))"
    found = page.module("progress", show, [list(each) for each in asked])
    for (seconds, expected), shown in zip(asked, found, strict=True):
        if expected is None:
            assert shown == {"key": "running"}
        elif seconds >= expected:
            assert shown == {"key": "running_past"}
        else:
            assert shown["key"] == "running_of"
            assert 0 <= shown["share"] < 1
    assert {shown["key"] for shown in found} == {"running", "running_past", "running_of"}


def test_the_estimate_is_the_last_speed_and_the_queue_before_it(page: Opened) -> None:
    def seconds(**known: Any) -> Any:
        return page.module("progress", "m.estimate({ ...x, known: x.known ?? undefined })", {"tokens": 1000, **known})

    assert seconds(known=None, speed=0, waiting=0) is None
    assert seconds(known=None, speed=500, waiting=0) == 2
    assert seconds(known=0.01, speed=500, waiting=0) == 10
    assert seconds(known=0.01, speed=500, waiting=1000) == 12
    assert seconds(known=0.01, speed=0, waiting=1000) == 20


def test_an_answer_about_a_long_text_teaches_the_speed_and_a_short_one_does_not(page: Opened) -> None:
    learn = """(async () => {
      const progress = new m.Progress();
      const page = 'drlongformer_engine_tokens_per_second 1000\\ndrlongformer_queue_tokens{priority="bulk"} 500\\n';
      const expected = (tokens) => progress.expected('mini:1', tokens, async () => page);
      progress.learn('mini:1', 'queue;dur=50, total;dur=1000', 100);
      const unlearnt = [await expected(10), await expected(10000)];
      progress.learn('mini:1', 'queue;dur=500, compute;dur=1400, total;dur=2500', 1000);
      return [...unlearnt, await expected(1000), await expected(10000)];
    })()"""
    assert page.module("progress", f"(await {learn}).map((each) => each ?? null)") == [None, 10.5, 2, 20.5]
