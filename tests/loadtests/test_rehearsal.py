from __future__ import annotations

import json

import pytest

from loadtests.composition import engine_of
from loadtests.openloop import Outcome
from loadtests.rehearsal import version_of
from loadtests.wire import Reply

BODY = b'{"inputs": "Toux."}'
REFERENCES = {(1, BODY): "AAAA", (2, BODY): "BBBB"}


def outcome(*, version: int, embedding: str, status: int = 200) -> Outcome:
    answer = {"model": {"version": version}, "results": [{"embedding": embedding}]}
    reply = Reply(status=status, headers={}, body=json.dumps(answer).encode())
    return Outcome(planned=0.0, sent=0.0, ended=0.1, group="", status=str(status), reply=reply)


@pytest.mark.parametrize(
    ("version", "embedding", "status", "found"),
    [
        (1, "AAAA", 200, "1"),
        (2, "BBBB", 200, "2"),
        (1, "BBBB", 200, "wrong"),
        (3, "AAAA", 200, "wrong"),
        (1, "AAAA", 503, "none"),
    ],
)
def test_an_answer_counts_for_the_version_that_gives_it_to_the_last_bit(
    version: int, embedding: str, status: int, found: str
) -> None:
    assert version_of(outcome(version=version, embedding=embedding, status=status), BODY, REFERENCES) == found


def test_the_engine_is_that_of_the_command() -> None:
    assert engine_of(["podman-compose"]) == "podman"
    assert engine_of(["docker", "compose"]) == "docker"
