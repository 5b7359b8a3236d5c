"""Dashboards: the files are the code's, of Grafana's schema; every metric exists, every query is one that Prometheus takes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana import dashboards
from drlongformer.serving.metrics import PREFIX, Metrics
from tests.client.served import serving
from tests.deploy.prometheus import ROOT, needs_prometheus, rules, scraping, value, wait

NAMES = tuple(dashboards.dashboards())
OURS = re.compile(r"\bdrlongformer[_:][a-z_:0-9]*[a-z0-9]")
OF_GPUS = re.compile(r"\bDCGM_FI_[A-Z_0-9]+")
BY = re.compile(r"\b(?:by|on) \(([^)]*)\)")
TICKED = re.compile(r"`([a-z0-9_]+)`")
SELECTORS = re.compile(r"\{([^}]*)\}")
TEXTS = {"fill-mask": "Une <mask> par jour.", "embed": "Toux.", "ner": "Toux et fièvre.", "classify": "Toux."}


def panels(name: str) -> list[Mapping[str, Any]]:
    """All panels that ask something."""
    made = json.loads((dashboards.FOLDER / name).read_text(encoding="utf-8"))
    return [panel for panel in made["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """Every query of dashboards and rules, with an interval for Grafana's own variable."""
    shown = [target["expr"] for name in NAMES for panel in panels(name) for target in panel["targets"]]
    return [query.replace("$__rate_interval", "1m") for query in (*shown, *(rule["expr"] for rule in rules()))]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that has answered and refused a little."""
    with serving(tmp_path_factory.mktemp("store")) as (url, _):
        for task, text in TEXTS.items():
            for _ in range(3):
                assert httpx.post(f"{url}/{task}", json={"inputs": text}, timeout=30.0).status_code == httpx.codes.OK
            assert httpx.post(f"{url}/{task}", json={}, timeout=30.0).status_code == httpx.codes.UNPROCESSABLE_ENTITY
        yield url


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_written_by_the_code(name: str) -> None:
    assert (dashboards.FOLDER / name).read_text(encoding="utf-8") == dashboards.written(dashboards.dashboards()[name])
    assert {path.name for path in dashboards.FOLDER.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_grafanas_own_model_reads_every_field_of_the_files(name: str) -> None:
    told = json.loads((dashboards.FOLDER / name).read_text(encoding="utf-8"))
    again = json.loads(json.dumps(Dashboard.from_json(told), cls=JSONEncoder))
    assert again == told


@pytest.mark.parametrize("name", NAMES)
def test_panels_say_how_to_read_them_and_ask_the_provisioned_source(name: str) -> None:
    source = (ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text(encoding="utf-8")
    assert panels(name)
    for panel in panels(name):
        assert panel["description"], panel["title"]
        assert panel["targets"], panel["title"]
        assert f"uid: {panel['datasource']['uid']}\n" in source
    titles = [panel["title"] for panel in panels(name)]
    assert len(titles) == len(set(titles))


def test_every_metric_of_dashboards_and_rules_is_in_a_live_scrape(address: str) -> None:
    page = httpx.get(f"{address}/metrics").text
    kinds = {line.split()[2]: line.split()[3] for line in page.splitlines() if line.startswith("# TYPE")}
    endings = {"histogram": ("_bucket", "_sum", "_count")}
    exposed = {name + ending for name, kind in kinds.items() for ending in endings.get(kind, ("",))}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    named = {name for query in queries() for name in OURS.findall(query)}
    assert len(named) > 30
    assert named - exposed == recorded & named
    assert recorded <= named


def test_the_documented_metrics_are_those_of_a_live_scrape_with_their_labels(address: str) -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    chapter = page.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in chapter.splitlines() if line.startswith("| `")]
    documented = {name: set(TICKED.findall(labels)) for names, labels in rows for name in TICKED.findall(names)}
    scraped = httpx.get(f"{address}/metrics").text
    assert {PREFIX + name for name in documented} == {
        line.split()[2] for line in scraped.splitlines() if line.startswith("# TYPE")
    }
    registry = Metrics.create()
    labelled = {name: set(getattr(getattr(registry, name, None), "_labelnames", ())) for name in documented}
    assert documented == labelled


def test_every_metric_of_gpus_is_one_that_the_exporter_is_told_to_tell() -> None:
    listed = set(OF_GPUS.findall((ROOT / "deploy" / "dcgm" / "counters.csv").read_text(encoding="utf-8")))
    assert {name for query in queries() for name in OF_GPUS.findall(query)} == listed


def test_every_label_that_is_asked_for_is_a_label_of_some_metric() -> None:
    registry = Metrics.create()
    known = {"job", "instance", "le", "gpu"}
    known |= {label for name in registry.__slots__ for label in getattr(getattr(registry, name), "_labelnames", ())}
    asked = {label.strip() for query in queries() for labels in BY.findall(query) for label in labels.split(",")}
    asked |= {match for query in queries() for inner in SELECTORS.findall(query) for match in re.findall(r"(\w+)[=!]", inner)}
    assert len(asked) > 5
    assert asked <= known


@needs_prometheus
def test_prometheus_answers_every_query_and_knows_what_the_service_counted(address: str, tmp_path: Path) -> None:
    with scraping(address, tmp_path) as prometheus:
        wait(lambda: value(prometheus, "up == 1"), tmp_path / "prometheus.log")
        assert httpx.post(f"{address}/ner", json={"inputs": "Toux."}, timeout=30.0).status_code == httpx.codes.OK
        seen = 'sum(drlongformer_http_requests_total{route="/ner",status="200"}) == 4'
        wait(lambda: value(prometheus, seen), tmp_path / "prometheus.log")
        wait(lambda: value(prometheus, "drlongformer:http_errors:ratio_rate5m"), tmp_path / "prometheus.log")
        now = time.time()
        for query in queries():
            span: dict[str, str | float] = {"query": query, "start": now - 60, "end": now, "step": 5}
            answer = prometheus.get("/api/v1/query_range", params=span)
            assert answer.json()["status"] == "success", (query, answer.text)
        told = prometheus.get("/api/v1/rules").json()["data"]["groups"]
        assert {rule["health"] for group in told for rule in group["rules"]} <= {"ok", "unknown"}
        firing = {alert["labels"]["alertname"] for alert in prometheus.get("/api/v1/alerts").json()["data"]["alerts"]}
        assert firing == set()
