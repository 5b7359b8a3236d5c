"""The script that makes replicas anew: the next is not touched before the proxy reaches the one before."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.deploy.prometheus import ROOT

COMPOSE = """#!/bin/sh
# Stands for `docker compose`: writes down what it is told; the proxy reaches a replica at the second try, or never.
echo "$*" >> "$(dirname "$0")/told"
case "$*" in
*"exec -T nginx"*) [ "$(grep -c "exec -T nginx" "$(dirname "$0")/told")" -ge "$REACHED_AT" ] ;;
esac
"""


def rolled(folder: Path, *, reached_at: int) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """How `roll` ended, and the verbs and services that it called, in order."""
    command = folder / "compose"
    command.write_text(COMPOSE, encoding="utf-8")
    command.chmod(0o755)
    environment = os.environ | {"REACHED_AT": str(reached_at), "READY_SECONDS": "2"}
    roll = [str(ROOT / "deploy" / "compose" / "roll"), str(command)]
    done = subprocess.run(roll, env=environment, capture_output=True, text=True, check=False)
    lines = (folder / "told").read_text(encoding="utf-8").splitlines()
    return done, [" ".join(line.split()[:3]) for line in lines if line.split()[0] in ("stop", "up", "exec")]


def test_replicas_are_made_anew_one_after_the_other_each_reached_by_the_proxy_before_the_next(tmp_path: Path) -> None:
    done, told = rolled(tmp_path, reached_at=2)
    assert (done.returncode, done.stdout) == (0, "drlongformer-1: ready\ndrlongformer-2: ready\n"), done.stderr
    first = ["stop -t 45", "up -d --no-deps", "exec -T drlongformer-1", "exec -T nginx", "exec -T nginx"]
    second = ["stop -t 45", "up -d --no-deps", "exec -T drlongformer-2", "exec -T nginx"]
    assert told == first + second


def test_a_replica_that_the_proxy_does_not_reach_stops_the_roll(tmp_path: Path) -> None:
    done, told = rolled(tmp_path, reached_at=100)
    assert done.returncode == 1
    assert "nginx does not reach drlongformer-1" in done.stderr
    assert told.count("stop -t 45") == 1
