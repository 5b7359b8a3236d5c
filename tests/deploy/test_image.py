"""Images and composition, read as text: all pinned and hashed, nothing that serving does not need, everything confined."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.prometheus import ROOT, loaded

REQUIREMENTS = ROOT / "deploy" / "image" / "requirements"
PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)
SERVING = ("cpu", "gpu")
NEVER_SERVED = {
    "torch",
    "transformers",
    "onnx",
    "onnxscript",
    "safetensors",
    "huggingface-hub",
    "openvino-telemetry",
    "pip",
    "setuptools",
}
COMPOSE: dict[str, Any] = loaded(ROOT / "docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BY_HAND = {name for name, service in SERVICES.items() if "profiles" in service}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def pins(path: Path) -> dict[str, str]:
    return {name.lower(): version for name, version in PINNED.findall(path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_package_of_an_image_has_a_version_and_a_hash(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    packages = [place for place, line in enumerate(lines) if not line.startswith(" ")]
    assert packages
    for place in packages:
        assert PINNED.match(lines[place]), lines[place]
        assert lines[place + 1].strip().startswith("--hash=sha256:"), lines[place]


@pytest.mark.parametrize("target", [*SERVING, "tools"])
def test_versions_of_an_image_are_those_that_were_tested_together(target: str) -> None:
    constrained = pins(ROOT / "constraints.txt")
    found = pins(REQUIREMENTS / f"{target}.txt")
    shared = found.keys() & constrained.keys()
    assert len(shared) > 20
    assert {name: found[name].removesuffix("+cpu") for name in shared} == {name: constrained[name] for name in shared}


@pytest.mark.parametrize("target", SERVING)
def test_a_serving_image_has_neither_torch_nor_anything_that_fetches_models(target: str) -> None:
    found = pins(REQUIREMENTS / f"{target}.txt")
    assert not found.keys() & NEVER_SERVED
    assert ("onnxruntime" in found, "onnxruntime-gpu" in found) == (target == "cpu", target == "gpu")
    assert {"fastapi", "tokenizers", "opentelemetry-sdk"} <= found.keys()


@pytest.mark.parametrize("target", [*SERVING, "tools"])
def test_every_image_can_verify_signatures(target: str) -> None:
    asked = {name.partition(">")[0] for name in PROJECT["optional-dependencies"]["signing"]}
    assert {"model-signing", "pyopenssl"} <= asked
    assert asked <= pins(REQUIREMENTS / f"{target}.txt").keys()


def test_the_tools_take_torch_without_cuda() -> None:
    found = pins(REQUIREMENTS / "tools.txt")
    assert found["torch"].endswith("+cpu")
    assert not [name for name in found if name.startswith("nvidia-")]


def test_every_stage_that_is_run_ends_as_another_user_and_starts_in_exec_form() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    ends = {stage.split()[2]: stage for stage in stages[1:]}
    assert "USER 10001:10001" in ends["serving"]
    assert "USER 10001:10001" in ends["tools"]
    assert ends["cpu"].startswith("serving AS cpu")
    assert ends["gpu"].startswith("serving AS gpu")
    for word in ("ENTRYPOINT", "CMD"):
        assert all(line[len(word) :].lstrip().startswith("[") for line in DOCKERFILE.splitlines() if line.startswith(word))
    assert "HEALTHCHECK" in ends["serving"]
    assert "curl" not in DOCKERFILE


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service
    if name not in BY_HAND:
        assert service["restart"] == "unless-stopped"
        assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_but_nginx_has_a_way_out(name: str) -> None:
    service = SERVICES[name]
    if name in BY_HAND:
        assert service["network_mode"] == "none"
    else:
        assert ("edge" in service["networks"]) is (name == "nginx")
        assert ("ports" in service) is (name == "nginx")
    assert COMPOSE["networks"]["inside"]["internal"] is True


@pytest.mark.parametrize("name", ["drlongformer-1", "drlongformer-2"])
def test_replicas_read_models_and_keys_and_write_neither(name: str) -> None:
    service = SERVICES[name]
    written = [volume for volume in service["volumes"] if not volume.endswith(":ro")]
    assert [volume.rpartition(":")[2] for volume in written] == ["/audit"]
    assert service["ulimits"]["core"] == 0
    [device] = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    address = service["networks"]["inside"]["ipv4_address"]
    assert f"{name}:{address}" in SERVICES["nginx"]["extra_hosts"]
    assert service["networks"]["inside"]["mac_address"].endswith(address.rpartition(".")[2])  # each its own, for ever
    for file in ("deploy/compose/nginx/upstream.conf", "deploy/prometheus/prometheus.yml"):
        assert f"{name}:8000" in (ROOT / file).read_text(encoding="utf-8")


def test_who_asked_what_is_written_where_it_outlives_the_container() -> None:
    for name in ("drlongformer-1", "drlongformer-2"):
        assert SERVICES[name]["environment"]["DRLONGFORMER_AUDIT__FILE"] == "${DRLONGFORMER_AUDIT__FILE:-/audit/audit.jsonl}"
        assert "${DEPLOYMENT:-./deployment}/audit:/audit" in SERVICES[name]["volumes"]
    override = (ROOT / "docker-compose.cpu.yml").read_text(encoding="utf-8")
    assert "AUDIT" not in override  # what it does not name stays as it is
    assert "volumes" not in override
    assert "own 10001 audit" in (ROOT / "deploy" / "compose" / "setup").read_text(encoding="utf-8")


def test_every_variable_of_the_composition_is_documented() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("docker-compose.yml", "docker-compose.cpu.yml")]
    asked = {name for text in texts for name in re.findall(r"\$\{([A-Z_0-9]+)", text)}
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    page = page.replace("`__ENGINE`, `__THREADS`", "`DRLONGFORMER_MODELS__ENGINE`, `DRLONGFORMER_MODELS__THREADS`")
    assert len(asked) > 10
    assert [name for name in sorted(asked) if f"`{name}`" not in page] == []
