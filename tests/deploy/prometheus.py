"""The real Prometheus for tests, where Debian's package of that name is installed: its checker, and a server of its own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from loadtests.server import free_port

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules"
START_SECONDS = 60.0

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="there is no Prometheus here; Debian's package `prometheus` has it and promtool",
)


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> list[Mapping[str, Any]]:
    """All rules, recorded and alerting."""
    return [rule for path in sorted(RULES.glob("*.yml")) for group in loaded(path)["groups"] for rule in group["rules"]]


@contextlib.contextmanager
def scraping(target: str, folder: Path) -> Iterator[httpx.Client]:
    """A Prometheus with the shipped rules that scrapes one target every second, as the job `drlongformer`; its API."""
    address = f"127.0.0.1:{free_port()}"
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES / "*.yml")],
        "scrape_configs": [{"job_name": "drlongformer", "static_configs": [{"targets": [target.removeprefix("http://")]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'series'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=30.0) as client:
            wait(lambda: ready(client), folder / "prometheus.log")
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def value(client: httpx.Client, query: str) -> list[Mapping[str, Any]]:
    """What an instant query finds. Raises httpx.HTTPStatusError where Prometheus does not take it."""
    answer = client.get("/api/v1/query", params={"query": query}).raise_for_status()
    return list(answer.json()["data"]["result"])


def wait(condition: Any, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < end, log.read_text(encoding="utf-8")[-2000:]
        time.sleep(0.1)
