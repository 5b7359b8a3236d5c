"""The client's conduct, driven by hand: attempts, pauses, deadlines, batches and what becomes of refusals."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drlongformer.client import calls, core, errors
from drlongformer.client.core import Core, Outcome, Pause, Policy, Reply, Send, Step, Steps
from drlongformer.client.errors import (
    BadRequest,
    Busy,
    Failed,
    InvalidSetting,
    NotAllowed,
    OutOfTime,
    TooLong,
    UnexpectedAnswer,
    Unreachable,
    Untrusted,
)
from drlongformer.client.results import Answer, Entities
from drlongformer.client.units import Document, Question

T = TypeVar("T")

MODEL = {"name": "m", "version": 1, "sha256": "0" * 12, "precision": "fp32"}
LIMITS = {
    "max_tokens": 64,
    "window_overlap": 16,
    "max_windows": 64,
    "max_characters": 1000,
    "max_documents": 3,
    "max_answer_items": 1000,
    "max_body_bytes": 10_000,
    "request_seconds": 300.0,
}
DETAILS = MODEL | {
    "device": "cpu",
    "tasks": ["ner"],
    "max_tokens": 64,
    "description": "",
    "versions": [1],
    "mask_token": "<mask>",
    "heads": [],
    "limits": LIMITS,
    "provenance": {},
    "scores": {},
}


@dataclass(slots=True)
class Clock:
    """A clock that only moves when it is told."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class World:
    """What answers the steps: given outcomes in turn, and a clock that pauses move."""

    outcomes: list[Outcome]
    clock: Clock = field(default_factory=Clock)
    seconds_each: float = 0.0
    steps: list[Step] = field(default_factory=list)

    def policy(self, **changes: Any) -> Policy:
        return Policy(clock=self.clock, jitter=lambda: 0.0, **changes)

    def drive(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        try:
            while True:
                step = steps.send(outcome)
                self.steps.append(step)
                self.clock.now += step.seconds if isinstance(step, Pause) else self.seconds_each
                outcome = self.outcomes.pop(0) if isinstance(step, Send) else None
        except StopIteration as end:
            value: T = end.value
            return value

    @property
    def pauses(self) -> list[float]:
        return [step.seconds for step in self.steps if isinstance(step, Pause)]

    @property
    def sent(self) -> list[Send]:
        return [step for step in self.steps if isinstance(step, Send)]


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=json.dumps(body).encode(),
    )


def problem(status: int, kind: str, *, loc: Sequence[str | int] = (), **headers: str) -> Reply:
    told = [{"loc": list(loc), "msg": "is wrong"}] if loc else []
    body = {
        "type": f"/problems/{kind}",
        "title": "No",
        "status": status,
        "detail": "5 are over 4",
        "instance": "i",
        "errors": told,
    }
    return reply(body, status, **headers)


def entities(count: int) -> Reply:
    results = [{"index": index, "tokens": 3, "windows": 1, "truncated": False, "entities": []} for index in range(count)]
    return reply({"model": MODEL, "results": results, "usage": {"documents": count, "tokens": 3 * count}})


def test_a_refusal_for_now_is_asked_again_when_the_service_says() -> None:
    world = World([problem(429, "overloaded", retry_after="7"), problem(503, "not-ready", retry_after="2"), entities(1)])
    assert world.drive(core.exchange("POST", "/ner", world.policy())).status == 200
    assert world.pauses == [7.0, 2.0]


def test_retry_after_may_be_a_date() -> None:
    soon = core.retry_after_seconds({"retry-after": email.utils.formatdate(time.time() + 100, usegmt=True)})
    assert soon is not None
    assert 90 < soon <= 100
    assert core.retry_after_seconds({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert core.retry_after_seconds({"retry-after": "soon"}) is None
    assert core.retry_after_seconds({}) is None


def test_without_a_word_of_when_pauses_grow_to_a_bound() -> None:
    world = World([Unreachable("no")] * 9)
    with pytest.raises(Unreachable):
        world.drive(core.exchange("POST", "/ner", world.policy(retries=8)))
    assert world.pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]


def test_pauses_differ_between_callers_and_never_fall_short_of_what_was_asked() -> None:
    busy = errors.refusal(errors.Problem(type="", title="", status=429, detail=""), retry_after_seconds=10)
    eager, patient = (Policy(jitter=lambda share=share: share) for share in (0.0, 1.0))  # type: ignore[misc]
    assert (eager.pause_seconds(1, busy), patient.pause_seconds(1, busy)) == (10.0, 11.0)
    assert eager.pause_seconds(1, Unreachable("no")) < patient.pause_seconds(1, Unreachable("no"))


def test_attempts_are_bounded() -> None:
    world = World([problem(429, "overloaded", retry_after="1")] * 3)
    with pytest.raises(Busy) as raised:
        world.drive(core.exchange("POST", "/ner", world.policy(retries=2)))
    assert len(world.sent) == 3
    assert raised.value.retry_after_seconds == 1.0
    assert raised.value.problem.kind == "overloaded"


def test_a_pause_beyond_the_deadline_is_not_waited_for() -> None:
    world = World([problem(429, "quota", retry_after="60")])
    with pytest.raises(Busy):
        world.drive(core.exchange("POST", "/ner", world.policy(deadline_seconds=30)))
    assert world.pauses == []


def test_the_service_is_told_what_is_left_of_the_deadline() -> None:
    world = World([problem(503, "not-ready", retry_after="10"), entities(1)], seconds_each=5.0)
    world.drive(core.exchange("POST", "/ner", world.policy(deadline_seconds=30)))
    assert [step.seconds for step in world.sent] == [30.0, 15.0]


def test_a_deadline_that_passed_ends_the_attempts() -> None:
    world = World([Unreachable("no")] * 2, seconds_each=9.9)
    with pytest.raises((OutOfTime, Unreachable)):
        world.drive(core.exchange("POST", "/ner", world.policy(deadline_seconds=10)))
    assert len(world.sent) == 1


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "malformed-body", errors.BadRequest),
        (401, "unauthorized", NotAllowed),
        (403, "forbidden", NotAllowed),
        (404, "unknown-model", errors.BadRequest),
        (422, "invalid-request", errors.BadRequest),
        (500, "internal-error", Failed),
        (504, "deadline-exceeded", Failed),
    ],
)
def test_other_refusals_are_told_at_once_with_their_problem(status: int, kind: str, error: type[errors.Refused]) -> None:
    world = World([problem(status, kind)])
    with pytest.raises(error, match="5 are over 4") as raised:
        world.drive(core.exchange("POST", "/ner", world.policy()))
    assert type(raised.value) is error
    assert (raised.value.problem.status, raised.value.problem.kind, raised.value.problem.instance) == (status, kind, "i")


def test_what_a_proxy_says_is_no_problem_of_the_service_and_is_not_quoted() -> None:
    page = Reply(status=413, headers={}, body=b"<html>Canari</html>")
    world = World([page])
    with pytest.raises(TooLong) as raised:
        world.drive(core.exchange("POST", "/ner", world.policy()))
    assert "Canari" not in str(raised.value)
    assert "19 bytes" in str(raised.value)


@given(sizes=st.lists(st.integers(1, 30), max_size=40), most=st.integers(1, 8), room=st.integers(1, 60))
def test_batches_hold_every_unit_once_in_order_and_keep_both_limits(sizes: list[int], most: int, room: int) -> None:
    units = [bytes([index]) * size for index, size in enumerate(sizes)]
    made = list(core.batches(units, most=most, request_bytes=room))
    assert [unit for batch in made for unit in batch.units] == units
    assert [batch.start for batch in made] == list(np.cumsum([0, *(len(batch.units) for batch in made)])[:-1])
    for batch, following in zip_longest(made, made[1:]):
        size = sum(map(len, batch.units))
        assert 1 <= len(batch.units) <= most
        assert size <= room or len(batch.units) == 1
        if following is not None:  # none is sent half empty
            assert len(batch.units) == most or size + len(following.units[0]) > room


def test_one_document_is_sent_without_asking_for_limits() -> None:
    world = World([entities(1)])
    job = calls.ner("Toux.")
    plan = list(world.drive(Core(policy=world.policy()).plan(job)))
    assert [len(batch.units) for batch in plan] == [1]
    assert world.sent == []


def test_limits_are_asked_for_once_and_kept() -> None:
    world = World([reply({"models": [DETAILS]}), reply(DETAILS)])
    client = Core(policy=world.policy())
    for _ in range(2):
        plan = world.drive(client.plan(calls.ner(["Toux."] * 7)))
        assert [len(batch.units) for batch in plan] == [3, 3, 1]
    assert [step.path for step in world.sent] == ["/models", "/models/m"]


def test_a_batch_that_is_too_large_for_something_on_the_way_is_halved() -> None:
    page = Reply(status=413, headers={}, body=b"too large")
    world = World([page, entities(2), page, entities(1), entities(1)])
    job = calls.ner(["a", "b", "c", "d"])
    [batch] = core.batches(job.units, most=4, request_bytes=1000)
    parts = world.drive(Core(policy=world.policy()).ask(job, batch))
    answer: Answer[Entities] = core.join(job, parts)
    assert [result.index for result in answer.results] == [0, 1, 2, 3]
    assert (answer.requests, answer.usage.documents, answer.usage.tokens) == (3, 4, 12)
    assert [json.loads(step.body or b"")["inputs"] for step in world.sent] == [
        ["a", "b", "c", "d"], ["a", "b"], ["c", "d"], ["c"], ["d"],
    ]  # fmt: skip


def test_one_document_that_is_too_long_is_told_by_its_place_in_the_call() -> None:
    world = World([problem(413, "document-too-long", loc=["inputs", 1])])
    job = calls.ner(["a", "b", "c", "d"])
    batch = list(core.batches(job.units, most=2, request_bytes=1000))[1]
    with pytest.raises(TooLong) as raised:
        world.drive(Core(policy=world.policy()).ask(job, batch))
    assert [error.loc for error in raised.value.problem.errors] == [("inputs", 3)]


def test_reported_failures_stand_beside_the_results_with_their_place_and_id() -> None:
    told = {"type": "/problems/empty-text", "title": "Empty text", "status": 422, "detail": "d", "instance": "i",
            "errors": [{"loc": ["inputs", 1], "msg": "m"}]}  # fmt: skip
    good = {"index": 0, "tokens": 3, "windows": 1, "truncated": False, "entities": []}
    body = {"model": MODEL, "results": [good, {"index": 1, "id": "b", "error": told}], "usage": {"documents": 1, "tokens": 3}}
    job = calls.ner(["z", "a", ""], on_error="report")
    batch = core.Batch(start=1, units=tuple(job.units)[1:])
    world = World([reply(body)])
    answer = core.join(job, world.drive(Core(policy=world.policy()).ask(job, batch)))
    assert [result.index for result in answer.results] == [1]
    [failed] = answer.failures
    assert (failed.index, failed.id, failed.error.kind, failed.error.errors[0].loc) == (2, "b", "empty-text", ("inputs", 2))


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"results": []},
        {"model": MODEL, "results": [{"index": 0}], "usage": {}},
        {"model": MODEL, "results": [], "usage": {}},
    ],
)
def test_an_answer_of_another_form_is_told_without_quoting_it(body: Any) -> None:
    job = calls.ner("Canari")
    [batch] = core.batches(job.units, most=1, request_bytes=1)
    world = World([reply(body)])
    with pytest.raises(UnexpectedAnswer) as raised:
        world.drive(Core(policy=world.policy()).ask(job, batch))
    assert "Canari" not in str(raised.value)


def test_bodies_are_json_with_the_options_beside_the_inputs() -> None:
    def bodies(*jobs: Any) -> list[Any]:
        return [json.loads(job.body(tuple(job.units))) for job in jobs]

    stream: Iterator[str | Document] = iter(["a", Document(text="b")])
    assert bodies(
        calls.embed(Document(text="é", id="a"), dimensions=4),
        calls.ner(stream),
        calls.analyze("a", ["embed", "ner"], embed={"chunks": "sentences"}, ner={"min_score": 0.5}),
        calls.similarity([("a", "b")], model="m:1"),
        calls.similarity_to("a", ["b", "c"]),
        calls.multiple_choice(Question(question="q", options={"a": "1", "b": "2"}), multiple=True),
    ) == [
        {"inputs": [{"text": "é", "id": "a"}], "dimensions": 4, "encoding": "base64"},
        {"inputs": ["a", {"text": "b"}]},
        {
            "inputs": ["a"],
            "tasks": ["embed", "ner"],
            "embed": {"chunks": "sentences", "encoding": "base64"},
            "ner": {"min_score": 0.5},
        },
        {"inputs": [{"text1": "a", "text2": "b"}], "model": "m:1"},
        {"inputs": {"source": "a", "sentences": ["b", "c"]}},
        {"inputs": [{"question": "q", "options": {"a": "1", "b": "2"}}], "multiple": True},
    ]


def test_a_text_that_utf8_cannot_write_is_refused_by_its_place_and_not_quoted() -> None:
    with pytest.raises(BadRequest, match=r"inputs\.1: holds a lone surrogate") as raised:
        list(calls.ner(["a", "Canari\ud800"]).units)
    assert "Canari" not in repr(raised.value)
    assert raised.value.problem.errors[0].loc == ("inputs", 1)


@pytest.mark.parametrize("changes", [{"deadline_seconds": 0}, {"retries": -1}, {"request_bytes": 0}])
def test_a_policy_that_cannot_be_kept_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting):
        Policy(**changes)


def test_given_chunks_travel_with_their_texts_however_the_call_is_cut() -> None:
    lists = [[[0, place + 1]] for place in range(5)]
    job = calls.embed([f"texte {place}" for place in range(5)], chunks=lists)
    cut = list(core.batches(job.units, most=2, request_bytes=10_000))
    told = [json.loads(job.body(batch.units, start=batch.start)) for batch in cut]
    assert [body["chunks"] for body in told] == [lists[:2], lists[2:4], lists[4:]]
    assert [len(body["inputs"]) for body in told] == [2, 2, 1]
    alone = calls.embed("Toux.", chunks=[[0, 4]])
    assert json.loads(alone.body(tuple(alone.units)))["chunks"] == [[[0, 4]]]


@pytest.mark.parametrize("texts", [["a", "b"], iter(["a"])])
def test_texts_without_their_own_list_of_chunks_are_refused_before_anything_is_sent(texts: Any) -> None:
    with pytest.raises(BadRequest, match="1 lists of chunks for"):
        calls.embed(texts, chunks=[[[0, 1]]])


def test_the_services_sentences_count_from_the_first_document_of_the_call() -> None:
    told = errors.Problem(
        type="/problems/empty-text",
        title="Empty text",
        status=422,
        detail="document 2 has no visible character",
        errors=(errors.FieldError(loc=("inputs", 2), msg="document 2 has no visible character"),),
    )
    moved = told.moved(128)
    assert moved.detail == moved.errors[0].msg == "document 130 has no visible character"
    assert moved.errors[0].loc == ("inputs", 130)
    assert told.moved(0) == told


@pytest.mark.parametrize(
    "place", [("inputs", 1, "text"), ("inputs", "sentences", 1), ("chunks", 1, 0), ("embed", "chunks", 1, 0)]
)
def test_a_place_is_moved_in_the_sentence_as_it_is_in_the_list(place: tuple[str | int, ...]) -> None:
    field = errors.FieldError(loc=place, msg="must be a string")
    dotted = ".".join(map(str, place))
    told = errors.Problem(type="", title="", status=422, detail=f"{dotted}: must be a string", errors=(field,))
    moved = told.moved(40)
    assert moved.errors[0].loc == tuple(41 if part == 1 else part for part in place)
    assert moved.detail == f"{dotted.replace('1', '41')}: must be a string"


def test_given_chunks_of_an_analysis_travel_with_their_texts_too() -> None:
    lists = [[[place, place + 1]] for place in range(3)]
    embed: Any = {"chunks": lists, "pooling": "mean"}
    job = calls.analyze([f"texte {place}" for place in range(3)], ["embed", "ner"], embed=embed, ner={"min_score": 0.5})
    units = tuple(job.units)
    told = [json.loads(job.body(units[start:stop], start=start)) for start, stop in ((0, 2), (2, 3))]
    assert [body["embed"] for body in told] == [
        {"pooling": "mean", "encoding": "base64", "chunks": given} for given in (lists[:2], lists[2:])
    ]
    assert [body["ner"] for body in told] == [{"min_score": 0.5}] * 2
    alone = calls.analyze("Toux.", ["embed"], embed={"chunks": [[0, 4]]})
    assert json.loads(alone.body(tuple(alone.units)))["embed"]["chunks"] == [[[0, 4]]]
    assert embed == {"chunks": lists, "pooling": "mean"}
    with pytest.raises(BadRequest, match="2 lists of chunks for 1 texts"):
        calls.analyze(["Toux."], ["embed"], embed={"chunks": lists[:2]})


NONE: Any = None
NO_TEXTS: list[Any] = [None, 3.5, float("nan"), b"a", ["a"], {"text": {1, 2}}, {"text": "\udfff"}]
NO_TEXTS += [Document(text="a\ud800", id="x")]
MISSPELT: Any = {"min_scor": 0.5}
SHOWN: Any = {"progress": True}
SET: Any = {1}
NO_PAIRS: list[Any] = ["ab", ("a",)]


@pytest.mark.parametrize("unit", NO_TEXTS, ids=lambda unit: type(unit).__name__)
def test_what_is_no_text_is_refused_by_its_place_or_stands_for_a_failure(unit: Any) -> None:
    with pytest.raises(BadRequest, match=r"inputs\.1: ") as raised:
        list(calls.ner(["a", unit]).units)
    assert raised.value.problem.instance == ""
    job = calls.ner(["a", unit, "b"], on_error="report")
    first, stand_in, last = (json.loads(each) for each in job.units)
    assert (first, last) == ("a", "b")
    assert stand_in in (None, {"id": "x"})
    assert [(index, problem.kind) for index, problem in job.unfit.items()] == [(1, "invalid-request")]


@pytest.mark.parametrize(
    ("units", "places"),
    [
        (calls.similarity([("a", "b"), NONE, *NO_PAIRS, ("\ud800", "b")], on_error="report"), [1, 2, 3, 4]),
        (calls.similarity_to("a", ["b", NONE, "\ud800"], on_error="report"), [1, 2]),
        (calls.multiple_choice([NONE, Question(question="\ud800", options={})], on_error="report"), [0, 1]),
    ],
)
def test_pairs_sentences_and_questions_are_looked_at_alike(units: Any, places: list[int]) -> None:
    assert len(list(units.units)) > len(places) or places[0] == 0
    assert list(units.unfit) == places
    assert [problem.errors[0].loc[-1] for problem in units.unfit.values()] == places


def test_texts_pairs_and_questions_may_come_in_the_form_of_http() -> None:
    [text] = calls.ner([{"text": "a", "id": "k"}]).units
    [alone] = calls.ner({"text": "a"}).units
    [pair] = calls.similarity([{"text1": "a", "text2": "b", "id": "p"}]).units
    [question] = calls.multiple_choice({"question": "q", "options": {"a": "1", "b": "2"}}).units
    assert (json.loads(text), json.loads(alone)) == ({"text": "a", "id": "k"}, {"text": "a"})
    assert json.loads(pair) == {"text1": "a", "text2": "b", "id": "p"}
    assert json.loads(question) == {"question": "q", "options": {"a": "1", "b": "2"}}


@pytest.mark.parametrize("inputs", [3, None, b"abc"])
def test_what_holds_no_texts_is_refused_in_a_sentence(inputs: Any) -> None:
    with pytest.raises(BadRequest, match="inputs: must be a text"):
        calls.ner(inputs)
    with pytest.raises(BadRequest, match=r"inputs\.sentences: must be several texts"):
        calls.similarity_to("a", inputs)


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: calls.ner("a", **MISSPELT), "min_scor: is no option of /ner; did you mean 'min_score'"),
        (lambda: calls.tokenize("a", **SHOWN), "progress: is no option of /tokenize; there are head"),
        (lambda: calls.analyze("a", ["ner"], ner={"model": "m"}), "ner.model: is no option of /ner in an analysis"),
        (lambda: calls.embed("a", dimensions=SET), "dimensions: holds something that JSON has no form for"),
        (lambda: calls.similarity_to("\ud800", ["a"]), "inputs.source: holds a lone surrogate"),
        (lambda: calls.embed(["a"], chunks=[[(0, {1})]]), "chunks.0: holds something"),
    ],
)
def test_an_option_at_fault_is_told_by_its_name(ask: Any, told: str) -> None:
    with pytest.raises(BadRequest) as raised:
        ask()
    assert told in str(raised.value)


def test_a_failure_seen_here_is_told_in_place_of_what_the_service_says() -> None:
    told = {"type": "/problems/invalid-request", "title": "Invalid request", "status": 422, "detail": "inputs.1: must be",
            "instance": "i", "errors": []}  # fmt: skip
    good = {"index": 0, "tokens": 3, "windows": 1, "truncated": False, "entities": []}
    body = {"model": MODEL, "results": [good, {"index": 1, "error": told}], "usage": {"documents": 1, "tokens": 3}}
    job = calls.ner(["z", "a", NONE], on_error="report")
    batch = core.Batch(start=1, units=tuple(job.units)[1:])
    answer = core.join(job, World([reply(body)]).drive(Core(policy=Policy()).ask(job, batch)))
    [failed] = answer.failures
    assert (failed.index, failed.error.errors[0].loc) == (2, ("inputs", 2))
    assert "not None" in failed.error.detail


def test_a_certificate_that_is_not_trusted_is_not_tried_again() -> None:
    world = World([Untrusted("no")])
    with pytest.raises(Untrusted):
        world.drive(core.exchange("POST", "/ner", world.policy()))
    with pytest.raises(Untrusted):
        World([Untrusted("no")]).drive(Core(policy=Policy()).health("/readyz"))
    assert World([Unreachable("no")]).drive(Core(policy=Policy()).health("/readyz")) is False
