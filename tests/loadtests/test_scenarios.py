"""The laws of every scenario, with small counts, on the embedded model: no figure is asserted."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests import proxy
from loadtests.bench import Bench
from loadtests.service import SCENARIOS

SLOW = ("overload", "soak", "rolling", "capacity", "throughput", "short_among_long", "greedy", "swaps")


def store() -> Path:
    return Path(__file__).parents[2] / "model_store"


def scenario(name: str) -> object:
    marks = [pytest.mark.slow] if name in SLOW else []
    if name == "rolling" and proxy.program() is None:
        marks.append(pytest.mark.skip(reason="there is no nginx here"))
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", [scenario(name) for name in SCENARIOS])
async def test_the_laws_of_a_scenario_are_kept(name: str) -> None:
    bench = Bench(store=store(), short=True, lengths=(60,))
    report = await importlib.import_module(f"loadtests.scenarios.{name}").run(bench)
    assert [(law.claim, law.told) for law in report.laws if not law.kept] == []
    assert report.lawful
    assert report.rows
    assert json.loads(json.dumps(report.summary))["scenario"] == name


def test_every_scenario_has_a_module_and_every_module_is_a_scenario() -> None:
    modules = {path.stem for path in (Path(__file__).parents[2] / "loadtests" / "scenarios").glob("*.py")}
    assert modules == set(SCENARIOS)


@pytest.mark.slow
def test_locust_users_are_answered(tmp_path: Path) -> None:
    program = """
import asyncio, subprocess, sys
from pathlib import Path
from loadtests.server import serving
async def main():
    async with serving(store=Path(sys.argv[1])) as server:
        address = f"http://127.0.0.1:{server.port}"
        users = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--host", address, "--headless"]
        process = await asyncio.create_subprocess_exec(*users, "-u", "3", "-r", "3", "-t", "4s", "--csv", sys.argv[2])
        print("exit", await process.wait())
asyncio.run(main())
"""
    command = [sys.executable, "-c", program, str(store()), str(tmp_path / "locust")]
    done = subprocess.run(command, cwd=store().parent, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "exit 0", done.stderr  # locust's own: 1 if any request failed
    assert (tmp_path / "locust_stats.csv").read_text(encoding="utf-8").count("POST") > 0
