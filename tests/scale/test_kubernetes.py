"""The plain Kubernetes manifest: right by Kubernetes' own schemas, and by what the service itself needs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from drlongformer import settings
from drlongformer.api.gate import PROBES
from tests.api import services

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
OBJECTS: dict[str, dict[str, Any]] = {
    each["kind"]: each for each in yaml.safe_load_all((FOLDER / "drlongformer.yaml").read_text(encoding="utf-8"))
}
POD: dict[str, Any] = OBJECTS["Deployment"]["spec"]["template"]["spec"]
POD_ANNOTATIONS: dict[str, str] = OBJECTS["Deployment"]["spec"]["template"]["metadata"]["annotations"]
[CONTAINER] = POD["containers"]
LABELS = {"app.kubernetes.io/name": "drlongformer"}

needs_schemas = pytest.mark.skipif(importlib.util.find_spec("kubernetes_validate") is None, reason="needs kubernetes-validate")


@needs_schemas
@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_each_object_fits_its_schema(kind: str) -> None:
    import kubernetes_validate

    for version in ("1.30", "1.37"):
        assert kubernetes_validate.validate(OBJECTS[kind], version, strict=True) == version


@needs_schemas
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_schemas_see_a_misspelt_field() -> None:
    import kubernetes_validate

    broken = OBJECTS["Deployment"] | {"spec": OBJECTS["Deployment"]["spec"] | {"replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.37", strict=True)


def test_every_variable_is_a_setting_and_its_value_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in CONTAINER["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    chosen = settings.load()
    assert str(chosen.models.store) == CONTAINER["volumeMounts"][0]["mountPath"]
    assert chosen.models.threads == int(CONTAINER["resources"]["limits"]["cpu"])
    pauses = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"] + chosen.server.drain_seconds + chosen.server.stop_seconds
    assert pauses < POD["terminationGracePeriodSeconds"]
    assert chosen.server.stop_seconds > chosen.limits.request_seconds


def test_kubernetes_writes_no_variables_that_the_service_would_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    assert POD["enableServiceLinks"] is False
    monkeypatch.setenv("DRLONGFORMER_PORT", "tcp://10.0.0.1:8000")  # what it would write for a service of that name
    with pytest.raises(settings.SettingsError, match="DRLONGFORMER_PORT"):
        settings.load()


async def test_the_autoscaler_reads_a_gauge_of_a_live_scrape_and_no_more_than_a_queue_may_hold(tmp_path: Path) -> None:
    [metric] = OBJECTS["HorizontalPodAutoscaler"]["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    served = services.service(tmp_path)
    async with services.client(served) as client:
        scraped = await client.get(POD_ANNOTATIONS["prometheus.io/path"])
    gauges = [family for family in text_string_to_metric_families(scraped.text) if family.name == name]
    assert [(family.type, {sample.labels["priority"] for sample in family.samples}) for family in gauges] == [
        ("gauge", {"interactive", "bulk"})  # the adapter's rule sums both
    ]
    assert int(metric["pods"]["target"]["averageValue"]) < served.settings.batching.max_queue_tokens
    adapter = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text(encoding="utf-8"))
    assert [rule["name"]["as"] for rule in adapter["rules"]] == [name]
    assert re.match(r"\w+", adapter["rules"][0]["seriesQuery"])[0] == name  # type: ignore[index]


def test_the_pod_may_do_nothing_but_answer() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(mount["readOnly"] for mount in CONTAINER["volumeMounts"] if mount["name"] != "scratch")
    assert OBJECTS["NetworkPolicy"]["spec"]["egress"] == []


async def test_probes_ask_routes_that_answer_without_a_key(tmp_path: Path) -> None:
    async with services.client(services.service(tmp_path)) as client:
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            path = CONTAINER[name]["httpGet"]["path"]
            assert path in PROBES
            assert (await client.get(path)).status_code == 200


def test_a_pod_is_left_when_another_goes() -> None:
    fewest = OBJECTS["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
    assert OBJECTS["PodDisruptionBudget"]["spec"]["minAvailable"] < fewest  # else no node could ever be emptied
    assert OBJECTS["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert OBJECTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == OBJECTS["Deployment"]["metadata"]["name"]


def test_every_object_means_the_same_pods() -> None:
    assert OBJECTS.keys() == {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"}
    assert OBJECTS["Service"]["spec"]["selector"] == LABELS
    for kind, place in (("Deployment", "selector"), ("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        assert OBJECTS[kind]["spec"][place]["matchLabels"] == LABELS
