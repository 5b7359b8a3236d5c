"""Alerts fire when they should and are silent when they should; each leads to an entry of the run book."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.deploy.prometheus import ROOT, RULES, loaded, needs_prometheus, rules

CASES = ROOT / "tests" / "deploy" / "alerts.yml"
ALERTS = [rule for rule in rules() if "alert" in rule]
FIRES_AND_SILENT = re.compile(r"(\w+) (fires|is silent): ")


@needs_prometheus
@pytest.mark.timeout(600)
def test_every_alert_fires_in_one_case_and_is_silent_in_another() -> None:
    done = subprocess.run(["promtool", "test", "rules", CASES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_prometheus_takes_rules_and_configuration() -> None:
    done = subprocess.run(["promtool", "check", "rules", *RULES.glob("*.yml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    config = RULES.parent / "prometheus.yml"
    done = subprocess.run(["promtool", "check", "config", "--syntax-only", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("ending", ["fires", "is silent"])
def test_no_alert_lacks_a_case(ending: str) -> None:
    cases = [FIRES_AND_SILENT.match(case["name"]) for case in loaded(CASES)["tests"]]
    named = [match[1] for match in cases if match is not None and match[2] == ending]
    assert sorted(named) == sorted(alert["alert"] for alert in ALERTS)
    for case in loaded(CASES)["tests"]:
        [expected] = case["promql_expr_test"]
        match = FIRES_AND_SILENT.match(case["name"])
        assert match is not None
        assert f'alertname="{match[1]}",alertstate="firing"' in expected["expr"]
        assert bool(expected["exp_samples"]) is (match[2] == "fires"), case["name"]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_leads_to_its_entry_in_the_run_book(alert: dict[str, dict[str, str]]) -> None:
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor == str(alert["alert"]).lower()
    assert [heading for heading in headings if heading.lower().replace(" ", "-") == anchor] == [alert["alert"]]
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"]


def test_the_run_book_has_no_entry_for_an_alert_that_is_gone() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    book = text[text.index("\n## Run book\n") :].split("\n## ")[1]
    assert re.findall(r"^### (.+)$", book, re.MULTILINE) == [alert["alert"] for alert in ALERTS]
