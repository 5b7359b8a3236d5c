"""Real processes: several that train as one, one that is killed and goes on, one whose disk is full."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from drlongformer.model.checkpoint import architecture
from drlongformer.training import checkpoints
from tests.training import notes, texts, tiny

pytestmark = pytest.mark.slow

COMMAND = (sys.executable, "-c", "from drlongformer.cli import app; app()", "train", "pretrain")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2] / "service"), "COLUMNS": "200"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpora, a tokenizer, and a config.json; runs are written beside them."""
    made = tmp_path_factory.mktemp("processes")
    texts.made(made)
    described = architecture(tiny.architecture()) | {"block": 4}
    (made / "config.json").write_text(json.dumps(described), encoding="utf-8")
    return made


def arguments(folder: Path, name: str, *, steps: int = 8) -> list[str]:
    options: dict[str, Any] = {
        "strategy": "scratch",
        "architecture": folder / "config.json",
        "tokenizer": folder / "tokenizer.json",
        "corpus": folder,
        "output": folder / name,
        "steps": steps,
        "batch-tokens": 512,
        "micro-tokens": 128,
        "window-tokens": 62,
        "learning-rate": 0.01,
        "warmup-steps": 2,
        "log-steps": 1,
        "held-out-steps": 4,
        "checkpoint-seconds": 0,
    }
    return [word for option, value in options.items() for word in (f"--{option}", str(value))] + [
        "--no-bf16",
        "--no-tensorboard",
    ]


def finished(*command: str, timeout: float = 240.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout, check=False)


def log(folder: Path, kind: str = "losses") -> dict[int, dict[str, float]]:
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return {entry["step"]: entry[kind] for entry in map(json.loads, lines) if kind in entry}


@pytest.fixture(scope="module")
def alone(folder: Path) -> Path:
    """An uninterrupted run of one process."""
    result = finished(*COMMAND, *arguments(folder, "alone"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == f"trained: {folder / 'alone' / 'model'}"
    return folder / "alone"


def test_two_processes_reach_the_loss_of_one(folder: Path, alone: Path) -> None:
    result = finished(*TORCHRUN, *COMMAND, *arguments(folder, "two"))
    assert result.returncode == 0, result.stderr
    one, two = log(alone), log(folder / "two")
    assert one.keys() == two.keys() == set(range(1, 9))
    assert [two[step]["mlm"] for step in two] == pytest.approx([one[step]["mlm"] for step in one], rel=1e-4)
    assert one[8]["mlm"] < one[1]["mlm"]
    assert log(folder / "two", "held_out")[8] == pytest.approx(log(alone, "held_out")[8], rel=1e-3)


def test_fine_tuning_in_several_processes_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    notes.written(tmp_path / "topics.jsonl", notes.as_json(notes.topics(2)))
    wanted = ("train", "finetune", "--base", str(notes.base_folder(tmp_path / "base")), "--task", "classify")
    files = ("--train", str(tmp_path / "topics.jsonl"), "--output", str(tmp_path / "out"))
    result = finished(*TORCHRUN, *COMMAND[:-2], *wanted, *files)
    assert result.returncode != 0
    told = "Error: fine-tuning runs in one process, not in 2: start the command without torchrun; to use several GPUs"
    assert told in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_killed_run_resumes_to_the_same_loss_curve(folder: Path, alone: Path) -> None:
    running = subprocess.Popen(
        [*COMMAND, *arguments(folder, "killed")], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 100.0
    while (checkpoints.last_step(folder / "killed") or 0) < 3:
        assert running.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    running.kill()
    running.wait()
    kept = checkpoints.last_step(folder / "killed")
    assert kept is not None
    assert 3 <= kept < 8
    result = finished(*COMMAND, *arguments(folder, "killed"), "--resume")
    assert result.returncode == 0, result.stderr
    assert log(folder / "killed") == log(alone)
    assert log(folder / "killed", "held_out") == log(alone, "held_out")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (folder / "killed" / "model" / name).read_bytes() == (alone / "model" / name).read_bytes()


def test_a_terminated_run_tells_how_to_go_on(folder: Path) -> None:
    running = subprocess.Popen(
        [*COMMAND, *arguments(folder, "terminated", steps=5000)], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 100.0
    while checkpoints.last_step(folder / "terminated") is None:
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=60.0)
    assert running.returncode == 1
    kept = checkpoints.last_step(folder / "terminated")
    assert f"stopped by SIGTERM after step {kept} of 5000; the checkpoint of step {kept} is kept" in told
    assert "Traceback" not in told


def test_a_disk_without_room_is_told_in_one_sentence(folder: Path) -> None:
    """A limit on the size of files stands for the full disk: the optimiser's state is the first file to pass it."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); "
    result = finished(sys.executable, "-c", limited + COMMAND[2], *COMMAND[3:], *arguments(folder, "full"))
    assert result.returncode == 1
    assert "the checkpoint of step 1 could not be written" in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in (folder / "full").iterdir()) == ["log.jsonl", "provenance.json"]
