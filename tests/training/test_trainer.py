from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from drlongformer.errors import TrainingError
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.training import checkpoints
from drlongformer.training.dataset import Batch
from drlongformer.training.distributed import Group
from drlongformer.training.masked import losses
from drlongformer.training.recipes import OptimisationRecipe
from drlongformer.training.trainer import Progress, Trainer, schedule
from tests.training import models

RECIPE = OptimisationRecipe(learning_rate=1.0, steps=100, warmup_steps=10, seconds=50.0)


class Numbered:
    """Micro-batches of random tokens by number, and a list of those that were asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __getitem__(self, step: int) -> Batch:
        self.asked.append(step)
        return models.masked_batch(7, 12, 5 + step % 9, seed=step)


def trainer(folder: Path, **changed: Any) -> Trainer:
    model = models.model()
    settings: dict[str, Any] = {
        "model": model,
        "batches": Numbered(),
        "objective": lambda module, batch: losses(module, batch, weights={}),
        "recipe": OptimisationRecipe(learning_rate=1e-2, steps=6, warmup_steps=2, log_steps=2, checkpoint_seconds=0.0),
        "seed": 1,
        "folder": folder,
        "save": lambda place: torch.save(model.state_dict(), place / "weights.pt"),
    }
    return Trainer(**settings | changed)


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def _terminated_at(step: int, number: int = signal.SIGTERM) -> Callable[[Progress, Mapping[str, float]], None]:
    return lambda progress, _: os.kill(os.getpid(), number) if progress.step == step else None


@pytest.mark.parametrize(
    ("step", "seconds", "share"),
    [(0, 0.0, 0.1), (9, 0.0, 0.91), (50, 0.0, 0.5), (50, 40.0, 0.2), (100, 0.0, 0.0), (20, 60.0, 0.0)],
)
def test_the_rate_warms_up_then_falls_by_steps_or_by_time_whichever_is_ahead(step: int, seconds: float, share: float) -> None:
    assert schedule(Progress(step=step, seconds=seconds), RECIPE) == pytest.approx(share)


def test_a_step_adds_up_its_own_micro_batches(tmp_path: Path) -> None:
    run = trainer(tmp_path, micro_batches=3, recipe=replace(RECIPE, steps=2))
    run.run()
    assert run.batches.asked == [0, 1, 2, 3, 4, 5]  # type: ignore[attr-defined]
    assert run.progress.tokens == sum(Numbered()[number].packed.tokens for number in range(6))


def test_a_loss_that_is_no_number_stops_the_run_and_moves_nothing(tmp_path: Path) -> None:
    def broken(model: LongformerWithHeads, batch: Batch) -> Mapping[str, torch.Tensor]:
        found = losses(model, batch, weights={})
        return {name: loss * (float("nan") if run.progress.step == 3 else 1.0) for name, loss in found.items()}

    run = trainer(tmp_path, objective=broken)
    with pytest.raises(TrainingError, match=r"step 3 gives no numbers: losses mlm nan.*the checkpoint of step 3 is kept"):
        run.run()
    kept = torch.load(tmp_path / "checkpoint" / "weights.pt", weights_only=True)
    assert all(torch.equal(kept[name], value) for name, value in run.model.state_dict().items())


def test_a_loss_that_diverges_stops_the_run(tmp_path: Path) -> None:
    def worse(model: LongformerWithHeads, batch: Batch) -> Mapping[str, torch.Tensor]:
        found = losses(model, batch, weights={})
        return {name: loss * (3.0 if run.progress.step >= 4 else 1.0) for name, loss in found.items()}

    run = trainer(tmp_path, objective=worse, recipe=replace(trainer(tmp_path).recipe, diverged=2.0))
    with pytest.raises(TrainingError, match=r"diverged: .* over the last 2 steps, 2 times the best .* step 5 is kept"):
        run.run()
    assert [entry["step"] for entry in entries(tmp_path)] == [2, 4, 6]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_behind_a_checkpoint(number: signal.Signals, tmp_path: Path) -> None:
    before = signal.getsignal(number)

    run = trainer(tmp_path, on_step=_terminated_at(2, number), recipe=replace(RECIPE, steps=50))
    with pytest.raises(TrainingError, match=f"stopped by {number.name} after step 2 of 50; the checkpoint of step 2 is kept"):
        run.run()
    assert signal.getsignal(number) is before
    assert checkpoints.last_step(tmp_path) == 2


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    weights = run.save

    def full(place: Path) -> None:
        weights(place)
        if run.progress.step == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    run.save = full
    with pytest.raises(TrainingError, match=r"of step 3 could not be written \(.*No space left.*the last one is kept"):
        run.run()
    assert checkpoints.last_step(tmp_path) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "checkpoint-00000002", "log.jsonl"]


def test_a_process_killed_while_it_writes_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    class Killed(BaseException):
        """Nothing catches it, as nothing runs after a kill."""

    run = trainer(tmp_path)
    weights = run.save

    def half(place: Path) -> None:
        weights(place)
        if run.progress.step == 3:
            raise Killed

    run.save = half
    with pytest.raises(Killed):
        run.run()
    assert checkpoints.last_step(tmp_path) == 2
    assert (tmp_path / "checkpoint-00000003.partial").is_dir()
    again = trainer(tmp_path)
    again.model.load_state_dict(torch.load(tmp_path / "checkpoint" / "weights.pt", weights_only=True))
    again.resume()
    again.run()
    assert again.batches.asked == [2, 3, 4, 5]  # type: ignore[attr-defined]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "checkpoint-00000006", "log.jsonl"]


def test_a_checkpoint_that_was_left_without_its_link_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-00000001").mkdir()
    (tmp_path / "checkpoint-00000001" / "stale").touch()
    trainer(tmp_path, recipe=replace(RECIPE, steps=1)).run()
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == ["trainer.pt", "weights.pt"]


def test_the_last_steps_are_logged_where_no_entry_was_due(tmp_path: Path) -> None:
    trainer(tmp_path, recipe=replace(RECIPE, steps=3, log_steps=2)).run()
    assert [entry["step"] for entry in entries(tmp_path)] == [2, 3]


def test_a_resumed_run_forgets_what_was_logged_behind_the_checkpoint(tmp_path: Path) -> None:
    trainer(tmp_path).run()
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 8, "losses": {"mlm": 1.0}}\n{"step": 10, "los')
    run = trainer(tmp_path, recipe=replace(RECIPE, steps=8, log_steps=2))
    run.resume()
    run.run()
    assert [entry["step"] for entry in entries(tmp_path)] == [2, 4, 6, 8]


def test_a_fresh_run_forgets_one_that_left_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 2, "losses": {"mlm": 1.0}}\n', encoding="utf-8")
    trainer(tmp_path, recipe=replace(RECIPE, steps=2, log_steps=1)).run()
    assert [entry["step"] for entry in entries(tmp_path)] == [1, 2]


def test_a_mean_goes_on_across_an_interruption(tmp_path: Path) -> None:
    recipe = OptimisationRecipe(learning_rate=1e-2, steps=4, warmup_steps=2, log_steps=4)
    trainer(tmp_path / "whole", recipe=recipe).run()
    half = trainer(tmp_path / "half", recipe=recipe, on_step=_terminated_at(2))
    with pytest.raises(TrainingError, match="stopped by SIGTERM after step 2"):
        half.run()
    rest = trainer(tmp_path / "half", recipe=recipe)
    rest.model.load_state_dict(torch.load(tmp_path / "half" / "checkpoint" / "weights.pt", weights_only=True))
    rest.resume()
    rest.run()
    assert entries(tmp_path / "half")[0]["losses"] == entries(tmp_path / "whole")[0]["losses"]


def test_a_run_is_resumed_only_where_it_reads_the_same(tmp_path: Path) -> None:
    trainer(tmp_path, identity={"seed": 1, "tokens": 10}).run()
    with pytest.raises(TrainingError, match="begun with other settings: tokens"):
        trainer(tmp_path, identity={"seed": 1, "tokens": 11}).resume()
    trainer(tmp_path, identity={"seed": 1, "tokens": 10, "corpus": "of a version that writes it down"}).resume()


def test_idle_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="4 processes for 3 micro-batches"):
        trainer(tmp_path, micro_batches=3, group=Group(rank=0, size=4))


def test_an_unreadable_state_is_told(tmp_path: Path) -> None:
    trainer(tmp_path).run()
    (tmp_path / "checkpoint" / "trainer.pt").write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match=r"trainer\.pt cannot be read"):
        trainer(tmp_path).resume()


@pytest.mark.parametrize("name", ["steps", "log_steps", "learning_rate", "warmup_steps"])
def test_an_optimisation_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(TrainingError, match=f"{name} is 0, which must be more than 0"):
        replace(RECIPE, **{name: 0})  # type: ignore[arg-type]
