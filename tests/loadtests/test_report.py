"""A broken law is told and decides the exit; a missed target is told and does not."""

from __future__ import annotations

import json

import pytest

from loadtests.report import Report, Target


def test_the_last_line_is_json_and_holds_rows_laws_and_targets(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(scenario="trial", rows=[{"load": "[peak]", "p99 ms": 1234.5678}])
    report.hold("nothing is lost", kept=True, told="0 of 5")
    report.targets.append(Target(what="ms", value=3.0, bound=2.0))
    report.print()
    printed = capsys.readouterr().out
    summary = json.loads(printed.splitlines()[-1])
    assert "kept   nothing is lost: 0 of 5" in printed
    assert "missed" in printed
    assert summary["laws"] == {"nothing is lost": [True, "0 of 5"]}
    assert summary["rows"] == [{"load": "[peak]", "p99 ms": 1234.5678}]
    assert summary["lawful"] is True


def test_one_broken_law_is_enough_and_no_law_proves_nothing() -> None:
    report = Report(scenario="trial")
    seen = [report.lawful]
    for kept in (True, True, False, True):
        report.hold("a law", kept=kept)
        seen.append(report.lawful)
    assert seen == [False, True, True, False, False]


def test_a_target_may_be_a_floor() -> None:
    assert Target(what="share", value=0.96, bound=0.95, at_most=False).reached
    assert not Target(what="share", value=0.94, bound=0.95, at_most=False).reached
