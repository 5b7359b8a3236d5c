"""Requests are read strictly; what does not fit is told by field, never with the input."""

from __future__ import annotations

from typing import Any

import pytest

from drlongformer.api.problems import SchemaMismatch, describe
from drlongformer.api.requests import EmbedRequest, FillMaskRequest, NerRequest
from drlongformer.api.schemas import CommonRequest, read
from drlongformer.serving.requests import EmbedOptions, FillMaskOptions, NerOptions, RequestOptions

CANARY = "Canari"


def refused(value: Any, model: type[CommonRequest[Any]] = NerRequest) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(SchemaMismatch) as raised:
        read(model, value, max_documents=3)
    assert CANARY not in str(raised.value) + str(raised.value.fields)
    return [(field.loc, field.msg) for field in raised.value.fields]


@pytest.mark.parametrize("inputs", ["a", ["a"], [{"text": "a"}]])
def test_a_text_has_three_spellings(inputs: Any) -> None:
    [document] = read(EmbedRequest, {"inputs": inputs}, max_documents=3).units
    assert (document.index, document.text, document.id) == (0, "a", None)


def test_documents_keep_their_order_and_ids() -> None:
    body = read(EmbedRequest, {"inputs": ["a", {"id": "x", "text": "b"}, "c"]}, max_documents=3)
    assert [(each.index, each.text, each.id) for each in body.units] == [(0, "a", None), (1, "b", "x"), (2, "c", None)]


def test_defaults_are_those_of_the_pipeline() -> None:
    body = read(EmbedRequest, {"inputs": "a"}, max_documents=3)
    assert body.options(5.0) == EmbedOptions(common=RequestOptions(deadline_seconds=5.0))
    ner = read(NerRequest, {"inputs": "a"}, max_documents=3)
    assert ner.options(5.0) == NerOptions(common=RequestOptions(deadline_seconds=5.0))
    masks = read(FillMaskRequest, {"inputs": "a"}, max_documents=3)
    assert masks.options(5.0) == FillMaskOptions(common=RequestOptions(deadline_seconds=5.0))


def test_every_common_field_reaches_the_pipeline() -> None:
    sent: dict[str, Any] = {
        "model": "m:2",
        "head": "h",
        "overflow": "truncate",
        "truncate_side": "tail",
        "priority": "bulk",
        "on_error": "report",
    }
    body = read(NerRequest, {"inputs": "a", "labels": ["X"], "min_score": 1, **sent}, max_documents=3)
    assert body.options(5.0) == NerOptions(common=RequestOptions(**sent, deadline_seconds=5.0), labels=("X",), min_score=1.0)


@pytest.mark.parametrize("overflow", [{}, {"overflow": "windows"}, {"overflow": "refuse"}])
@pytest.mark.parametrize("side", ["head", "tail"])
def test_a_side_that_no_cut_keeps_is_refused(overflow: dict[str, str], side: str) -> None:
    [(loc, msg)] = refused({"inputs": "a", "truncate_side": side, **overflow})
    assert loc == ("truncate_side",)
    assert "without overflow 'truncate'" in msg


def test_with_report_a_unit_that_breaks_the_schema_leaves_the_others_as_they_are() -> None:
    sent: list[Any] = ["a", None, {"text": 3, "id": "x"}, {"text": "b", CANARY: 1}, {"text": "c", "id": CANARY * 100}]
    body = read(NerRequest, {"inputs": sent, "on_error": "report"}, max_documents=5)
    assert [(each.index, each.text, each.id) for each in body.units] == [
        (0, "a", None),
        (1, "", None),
        (2, "", "x"),
        (3, "", None),
        (4, "", None),
    ]
    faults = [each.fault for each in body.units]
    assert faults[0] is None
    assert [(each.location, str(each)) for each in faults if each] == [
        (("inputs", 1), 'inputs.1: must be a string or an object with "text" and "id"'),
        (("inputs", 2, "text"), "inputs.2.text: must be a string"),
        (("inputs", 3), "inputs.3: holds an unknown field; known are text, id"),
        (("inputs", 4, "id"), f"inputs.4.id: has {len(CANARY) * 100} characters, the limit is 256"),
    ]
    several = read(NerRequest, {"inputs": [{"id": 3, CANARY: 1}], "on_error": "report"}, max_documents=1).units[0].fault
    assert several is not None
    assert [(field.loc, field.msg) for field in describe(several, instance="").errors] == [
        (("inputs", 0, "text"), "is required"),
        (("inputs", 0, "id"), "must be a string"),
        (("inputs", 0), "holds an unknown field; known are text, id"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": ["a", 3]},
        {"inputs": ["a", 3], "on_error": "fail"},
        {"inputs": ["a", 3], "on_error": "report", "min_score": 7},
        {"inputs": ["a", 3], "on_error": "report", CANARY: 1},
        {"inputs": [3] * 4, "on_error": "report"},
        {"inputs": 3, "on_error": "report"},
    ],
)
def test_what_is_wrong_with_a_whole_request_is_not_reported_by_unit(body: dict[str, Any]) -> None:
    assert refused(body)


def test_what_is_seen_once_the_units_are_sound_is_told_with_their_faults() -> None:
    body = {"inputs": ["a", 3], "on_error": "report"}
    assert refused(body | {"chunks": [[[0, 1]]] * 3}, EmbedRequest) == [
        (("inputs", 1), 'must be a string or an object with "text" and "id"'),
        (("chunks",), "holds 3 lists of ranges for 2 documents; each needs its own"),
    ]


@pytest.mark.parametrize("value", [None, [], "Canari", 3, True, [{"inputs": "Canari"}]])
def test_a_body_must_be_an_object(value: Any) -> None:
    assert refused(value) == [((), "the body must be a JSON object")]


@pytest.mark.parametrize(
    ("fields", "loc", "msg"),
    [
        ({"inputs": 3}, ("inputs",), 'must be a string, or a list of strings or of objects with "id" and "text"'),
        ({"inputs": None}, ("inputs",), 'must be a string, or a list of strings or of objects with "id" and "text"'),
        ({"inputs": []}, ("inputs",), "holds 0 documents, from 1 to 3 are accepted"),
        ({"inputs": [CANARY] * 4}, ("inputs",), "holds 4 documents, from 1 to 3 are accepted"),
        ({"inputs": ["a", 3]}, ("inputs", 1), 'must be a string or an object with "text" and "id"'),
        ({"inputs": [{"id": CANARY}]}, ("inputs", 0, "text"), "is required"),
        ({"inputs": [{"text": 3}]}, ("inputs", 0, "text"), "must be a string"),
        (
            {"inputs": [{"text": "a", "id": CANARY * 100}]},
            ("inputs", 0, "id"),
            f"has {len(CANARY) * 100} characters, the limit is 256",
        ),
        ({"inputs": [{"text": "a", CANARY: 1}]}, ("inputs", 0), "holds an unknown field; known are text, id"),
        ({"overflow": CANARY}, ("overflow",), "must be 'windows', 'refuse' or 'truncate'"),
        ({"min_score": CANARY}, ("min_score",), "must be a number"),
        ({"min_score": True}, ("min_score",), "must be a number"),
        ({"min_score": 1.5}, ("min_score",), "is 1.5, the limit is 1.0"),
        ({"min_score": -1}, ("min_score",), "is -1, the least is 0.0"),
        ({"min_score": 10**400}, ("min_score",), "is beyond all bounds, the limit is 1.0"),
        ({"min_score": -(10**400)}, ("min_score",), "is beyond all bounds, the least is 0.0"),
        ({"labels": CANARY}, ("labels",), "must be a list"),
        ({"labels": []}, ("labels",), "holds 0, the least is 1"),
        ({"labels": ["X", 3]}, ("labels", 1), "must be a string"),
        ({"redact": "true"}, ("redact",), "must be true or false"),
        ({"redakt": True}, (), "holds an unknown field; did you mean 'redact'?"),
        ({"offsets": "bytes"}, ("offsets",), "must be 'codepoint' or 'utf16'"),
    ],
)
def test_a_field_at_fault_is_told_with_its_place(fields: dict[str, Any], loc: tuple[str | int, ...], msg: str) -> None:
    assert refused({"inputs": "a", **fields}) == [(loc, msg)]


def test_inputs_are_required() -> None:
    assert refused({}) == [(("inputs",), "is required")]


def test_an_unknown_field_of_any_length_is_never_named_back() -> None:
    assert len(refused({"inputs": "a", CANARY * 100_000: 1})) == 1


def test_many_faults_are_told_once_each_and_bounded() -> None:
    found = refused({"inputs": "a", "labels": [3] * 1000, **{f"{CANARY}{i}": 1 for i in range(1000)}})
    assert 1 < len(found) <= 20


@pytest.mark.parametrize("number", ["5", 5.0, True, None, 0, -1, 10**400, [], {}])
def test_numbers_are_not_coerced(number: Any) -> None:
    [(loc, _)] = refused({"inputs": "a", "top_k": number}, FillMaskRequest)
    assert loc == ("top_k",)
