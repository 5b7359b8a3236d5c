"""The training loop: numbered batches in, checkpoints and a log out, resumable at any checkpoint.

Randomness of a step (dropout) is seeded by its number, and batches are asked by number, so an interrupted run goes on as if
it had not stopped. The schedule follows the step number, or the seconds trained where a time budget comes first.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from drlongformer.errors import TrainingError
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.training.dataset import Batch, Batches
from drlongformer.training.recipes import OptimisationRecipe

LOG = "log.jsonl"
STATE = "trainer.pt"
CHECKPOINT = "checkpoint"


Objective = Callable[[LongformerWithHeads, Batch], Mapping[str, Tensor]]
"""The losses of a batch by name, already weighted; their sum is minimised."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a run is; the part of its state that is neither weights nor optimiser."""

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0


def schedule(progress: Progress, recipe: OptimisationRecipe) -> float:
    """Share of the peak learning rate at this point: linear up, then linear down to zero."""
    done = progress.step / recipe.steps
    if recipe.seconds is not None:
        done = max(done, progress.seconds / recipe.seconds)
    return min(1.0, (progress.step + 1) / recipe.warmup_steps) * max(0.0, 1.0 - done)


def has_run(folder: Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return (folder / CHECKPOINT / STATE).is_file()


def check_start(folder: Path, *, resume: bool) -> None:
    """Raise TrainingError where a fresh run would overwrite another, or where there is nothing to resume."""
    if resume != has_run(folder):
        raise TrainingError(f"{folder.name} holds {'no run to resume' if resume else 'a run already'}")


@dataclass(slots=True, kw_only=True)
class Trainer:
    """One run in `folder`: the log, and `checkpoint/` with what `save` writes and the state of the loop."""

    model: LongformerWithHeads
    batches: Batches
    objective: Objective
    recipe: OptimisationRecipe
    seed: int
    folder: Path
    save: Callable[[Path], None]
    held_out: Callable[[], Mapping[str, float]] | None = None
    progress: Progress = field(default_factory=Progress)
    optimiser: torch.optim.AdamW = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.optimiser = torch.optim.AdamW(
            _groups(self.model, self.recipe.weight_decay),
            lr=self.recipe.learning_rate,
            betas=self.recipe.betas,
            eps=self.recipe.eps,
        )

    def resume(self) -> None:
        """Take optimiser and progress of the last checkpoint, whose weights the model must already hold."""
        state = torch.load(self.folder / CHECKPOINT / STATE, weights_only=True)
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress = Progress(**state["progress"])

    def run(self) -> None:
        """Train until the steps or the seconds of the recipe are spent, then write the last checkpoint."""
        recipe, progress = self.recipe, self.progress
        clock, saved = time.monotonic(), progress.seconds
        sums: dict[str, list[float]] = {}
        while progress.step < recipe.steps and (recipe.seconds is None or progress.seconds < recipe.seconds):
            for name, loss in self._step().items():
                sums.setdefault(name, []).append(loss)
            now = time.monotonic()
            progress.seconds, clock = progress.seconds + now - clock, now
            if progress.step % recipe.log_steps == 0:
                self._log({name: sum(values) / len(values) for name, values in sums.items()})
                sums.clear()
            if self.held_out is not None and progress.step % recipe.held_out_steps == 0:
                self._log_held_out()
            if progress.seconds - saved > recipe.checkpoint_seconds:
                self.checkpoint()
                saved = progress.seconds
        if self.held_out is not None:
            self._log_held_out()
        self.checkpoint()

    def checkpoint(self) -> None:
        """Write weights and state beside the last checkpoint, then put them in its place, both or neither."""
        place = self.folder / CHECKPOINT
        partial, old = place.with_suffix(".partial"), place.with_suffix(".old")
        shutil.rmtree(partial, ignore_errors=True)
        self.save(partial)
        state = {"optimiser": self.optimiser.state_dict(), "progress": asdict(self.progress)}
        torch.save(state, partial / STATE)
        if place.exists():
            place.rename(old)
        partial.rename(place)
        shutil.rmtree(old, ignore_errors=True)

    def _step(self) -> dict[str, float]:
        recipe, progress = self.recipe, self.progress
        batch = self.batches[progress.step]
        torch.manual_seed(self.seed * 1_000_003 + progress.step)
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.learning_rate * schedule(progress, recipe)
        self.model.train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bfloat16):
            losses = self.objective(self.model, batch)
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        progress.step += 1
        progress.tokens += batch.packed.tokens
        return {name: loss.item() for name, loss in losses.items()}

    def _log(self, losses: Mapping[str, float]) -> None:
        rate = self.progress.tokens / max(self.progress.seconds, 1e-9)
        self._write({"losses": losses, "tokens_per_second": rate, "learning_rate": self.optimiser.param_groups[0]["lr"]})

    def _log_held_out(self) -> None:
        assert self.held_out is not None
        self.model.eval()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.recipe.bfloat16):
            self._write({"held_out": self.held_out()})

    def _write(self, entry: Mapping[str, Any]) -> None:
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(self.progress) | dict(entry)) + "\n")


def _groups(model: LongformerWithHeads, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases and norms do not."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
