"""The load script sends what it says, and its report adds up."""

from __future__ import annotations

import json

import httpx

from loadtests import http_load
from loadtests.http_load import Outcome


def test_rows_group_answers_by_length_and_leave_errors_out() -> None:
    answers = [Outcome(status="200", seconds=tokens / 1000, tokens=tokens) for tokens in (512, 513, 4096, 5000)]
    table = http_load.rows([*answers, Outcome(status="429", seconds=0.001, tokens=0)])
    assert [(row.length, row.answers) for row in table] == [
        ("le512", 1),
        ("le1024", 1),
        ("le4096", 1),
        ("gt4096", 1),
        ("all", 4),
    ]
    assert table[-1].tokens == 512 + 513 + 4096 + 5000
    assert table[0].milliseconds["p50"] == 512.0


async def test_every_request_is_sent_once_and_the_last_line_is_json() -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        words = len(json.loads(request.content)["inputs"].split(" "))
        if request.url.path == "/tokenize":
            return httpx.Response(200, json={"results": [{"count": 2 * words}]})
        seen.append(words)
        if len(seen) % 5 == 0:
            return httpx.Response(429, json={})
        return httpx.Response(200, json={"usage": {"tokens": 2 * words}})

    arguments = http_load.parse(["--requests", "30", "--concurrency", "4", "--task", "ner"])
    printed = await http_load.run(arguments, httpx.MockTransport(answer))
    summary = json.loads(printed.splitlines()[-1])
    assert len(seen) == 31  # one is the warm-up
    assert summary["errors"] == {"429": 6}
    assert summary["tokens_per_word"] == 2.0
    assert summary["latency"][-1]["answers"] == 24
