from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drlongformer.training import paper
from tests.training import test_convert, texts

ROOT = Path(__file__).parents[2]
SLOTS = {"scratch": "1,572,864", "continue": "2,097,152", "convert": "131,072"}


def test_the_published_figures_are_those_of_the_scripts() -> None:
    scratch, convert = paper.scratch_published(), paper.convert_published()
    assert scratch.batches.batch_tokens == 128 * 3 * 4096
    assert scratch.batches.micro_batches == 128
    assert (scratch.optimisation.warmup_steps, scratch.optimisation.learning_rate, scratch.epochs) == (4000, 5e-5, 100)
    assert convert.batches.batch_tokens == 8 * 4 * 4096
    assert (convert.optimisation.eps, convert.optimisation.clip_norm, convert.optimisation.weight_decay) == (1e-6, 5.0, 0.01)
    assert convert.copy_local_to_global
    assert not any(recipe.batches.first_global for recipe in (scratch, convert, paper.continue_published()))


def test_what_continues_trains_as_what_begins_from_scratch() -> None:
    scratch, continued = paper.scratch(), paper.continued()
    assert continued.batches == scratch.batches
    assert continued.optimisation == scratch.optimisation
    assert continued.base == "yikuan8/Clinical-Longformer"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "published"), [("scratch", False), ("continue", True), ("convert", False)])
def test_a_slurm_script_calls_torchrun_with_what_the_command_understands(name: str, published: bool, tmp_path: Path) -> None:
    """The script runs under bash; `srun` runs what it is given, and `torchrun` asks our command for its outlook."""
    texts.made(tmp_path / "data")
    test_convert.written(tmp_path / "base")
    ours = f'{sys.executable} -c "from drlongformer.cli import app; app()"'
    told = tmp_path / "torchrun.txt"
    commands = {
        "srun": 'shift; exec "$@"',
        "scontrol": "echo node0; echo node1",
        "torchrun": f'echo "$@" > {told}; while [ "$1" != drlongformer ]; do shift; done; shift; exec {ours} "$@" --dry-run',
    }
    for command, body in commands.items():
        (tmp_path / command).write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        (tmp_path / command).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "service"),
        "CORPUS": str(tmp_path / "data"),
        "TOKENIZER": str(tmp_path / "data" / "tokenizer.json"),
        "BASE": str(tmp_path / "base"),
        "OUTPUT": str(tmp_path / "run"),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "node[0-1]",
        "COLUMNS": "200",
    }
    if published:
        environment["RECIPE"] = f"paper-{name}-published"
    script = ROOT / "deploy" / "slurm" / f"{name}.sbatch"
    result = subprocess.run(["bash", script], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert f"slots of a step  {SLOTS[name]} in " in result.stdout
    assert "--nnodes=2 --nproc-per-node=4 --rdzv-backend=c10d --rdzv-id=7 --rdzv-endpoint=node0:29500" in told.read_text(
        "utf-8"
    )
