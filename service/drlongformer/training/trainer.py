"""The training loop: numbered micro-batches in, checkpoints and a log out, resumable, on any number of processes.

A step adds up the gradients of its micro-batches, whoever computed them. Every loss is a mean over rows, and counts by its
share of the rows of the whole step, so that accumulation and data parallelism minimise what one large batch would. Randomness
(dropout) is seeded by a micro-batch's number, so an interrupted run goes on as if it had not stopped. The schedule follows the
step number, or the seconds trained where a time budget comes first.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from drlongformer.errors import DeviceUnavailable, TrainingError
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.training import checkpoints, disk
from drlongformer.training.dataset import Batch, Batches
from drlongformer.training.distributed import Group
from drlongformer.training.recipes import OptimisationRecipe

LOG = "log.jsonl"

Objective = Callable[[LongformerWithHeads, Batch], Mapping[str, Tensor]]
"""The losses of a batch by name, already weighted, each a mean over its rows; their sum is minimised.

A loss named as a head counts by that head's rows; any other counts alike in every micro-batch, of one process only.
"""


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a run is; the part of its state that is neither weights nor optimiser. steps: where it ends at the latest."""

    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    tokens: int = 0


def schedule(progress: Progress, recipe: OptimisationRecipe) -> float:
    """Share of the peak learning rate at this point: linear up, then linear down to zero."""
    done = progress.step / recipe.steps
    if recipe.seconds is not None:
        done = max(done, progress.seconds / recipe.seconds)
    return min(1.0, (progress.step + 1) / recipe.warmup_steps) * max(0.0, 1.0 - done)


@dataclass(slots=True, kw_only=True)
class Trainer:
    """One run in `folder`: the log, and the checkpoint with what `save` writes and the state of the loop.

    micro_batches: of a step, over all processes of `group`; step s computes those numbered s * micro_batches and on.
    identity: what decides which micro-batch has which number; a run is resumed only where it is still the same.
    held_out: scores, asked of all processes together. ended: whether to stop early, asked before every step. on_step, on_log:
    told of every step, and of every entry of the log.
    """

    model: LongformerWithHeads
    batches: Batches
    objective: Objective
    recipe: OptimisationRecipe
    seed: int
    folder: Path
    save: Callable[[Path], None]
    held_out: Callable[[], Mapping[str, float]] | None = None
    micro_batches: int = 1
    group: Group = field(default_factory=Group)
    identity: Mapping[str, Any] = field(default_factory=dict)
    ended: Callable[[], bool] | None = None
    on_step: Callable[[Progress, Mapping[str, float]], None] | None = None
    on_log: Callable[[Mapping[str, Any]], None] | None = None
    progress: Progress = field(default_factory=Progress)
    optimiser: torch.optim.AdamW = field(init=False)
    _losses: dict[str, list[float]] = field(default_factory=dict)
    _best: float = math.inf
    _stopped_by: int = 0

    def __post_init__(self) -> None:
        if self.group.size > self.micro_batches:
            raise TrainingError(f"{self.group.size} processes for {self.micro_batches} micro-batches a step: some are idle")
        if (
            self.recipe.bfloat16
            and self.group.device.type == "cuda"
            and not torch.cuda.is_bf16_supported(including_emulation=False)
        ):
            raise DeviceUnavailable(f"{torch.cuda.get_device_name(self.group.device)} has no bfloat16: train in fp32")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model.to(self.group.device)
        self.group.same_start(self.model.parameters())
        self.optimiser = torch.optim.AdamW(
            _groups(self.model, self.recipe.weight_decay),
            lr=self.recipe.learning_rate,
            betas=self.recipe.betas,
            eps=self.recipe.eps,
        )

    def resume(self) -> None:
        """Take optimiser and progress of the last checkpoint, whose weights the model must already hold.

        Raises TrainingError where the run would read other micro-batches than it began with; what the checkpoint of an older
        version did not write down cannot be compared.
        """
        state = checkpoints.read_state(self.folder)
        before: Mapping[str, Any] = state["identity"]
        if changed := sorted(name for name in self.identity.keys() & before.keys() if before[name] != self.identity[name]):
            raise TrainingError(f"{self.folder.name} was begun with other settings: {', '.join(changed)}")
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress = Progress(**state["progress"])
        self._losses, self._best = state["losses"], state["best"]

    def run(self) -> None:
        """Train until the steps or the seconds of the recipe are spent, then write the last checkpoint.

        Raises TrainingError where the loss is no number any more or has diverged, and after a checkpoint on SIGTERM or SIGINT.
        """
        recipe, progress = self.recipe, self.progress
        progress.steps = recipe.steps
        clock, saved, first = time.monotonic(), progress.seconds, progress.step
        if self.group.leads:
            self._forget_lost_steps()
        with self._signals_heard():
            while not self.done:
                losses = self._step()
                now = time.monotonic()
                progress.seconds, clock = progress.seconds + self.group.led(now - clock), now
                self._tell(losses)
                if self.group.any(self._stopped_by > 0):
                    self._stop()
                if progress.seconds - saved > recipe.checkpoint_seconds:
                    self.checkpoint()
                    saved = progress.seconds
            if self._losses:
                self._log_losses()
            if self.held_out is not None and progress.step > first and progress.step % recipe.held_out_steps:
                self._log_held_out()
            self.checkpoint()

    @property
    def done(self) -> bool:
        """Whether the steps or the seconds are spent."""
        recipe, progress = self.recipe, self.progress
        spent = progress.step >= recipe.steps or (recipe.seconds is not None and progress.seconds >= recipe.seconds)
        return spent or (self.ended is not None and self.ended())

    def checkpoint(self) -> None:
        """Put weights and state in the place of the last checkpoint; raises TrainingError where there is no room."""
        if self.group.leads:
            state = {
                "optimiser": self.optimiser.state_dict(),
                "progress": asdict(self.progress),
                "losses": self._losses,
                "best": self._best,
                "identity": dict(self.identity),
            }
            checkpoints.write(self.folder, step=self.progress.step, save=self.save, state=state)

    def _step(self) -> dict[str, float]:
        """One step of the optimiser; returns the losses of the whole step, by name."""
        progress, group = self.progress, self.group
        first = progress.step * self.micro_batches
        mine = {number: self.batches[number] for number in range(first + group.rank, first + self.micro_batches, group.size)}
        counts = Counter({head: 0 for batch in mine.values() for head in batch.packed.rows})
        for batch in mine.values():
            counts.update({head: len(rows) for head, rows in batch.packed.rows.items()})
        rows = group.total(counts)
        tokens = group.total({"tokens": sum(batch.packed.tokens for batch in mine.values())})["tokens"]
        losses = dict.fromkeys((head for head in rows if rows[head]), 0.0)
        self.model.train()
        for number, batch in mine.items():
            for name, loss in self._backward(number, batch, rows).items():
                losses[name] = losses.get(name, 0.0) + loss
        if group.size > 1 and (others := sorted(losses.keys() - rows.keys())):
            raise TrainingError(
                f"losses {', '.join(others)} compare windows of one batch: {group.size} processes cannot share it"
            )
        losses = group.total(losses)
        self._update(losses)
        progress.step += 1
        progress.tokens += round(tokens)
        return losses

    def _backward(self, number: int, batch: Batch, rows: Mapping[str, float]) -> dict[str, float]:
        """Add a micro-batch's gradients; returns its part of the step's losses."""
        torch.manual_seed(self.seed * 1_000_003 + number)
        with torch.autocast(self.group.device.type, dtype=torch.bfloat16, enabled=self.recipe.bfloat16):
            losses = self.objective(self.model, batch)
        parts = {
            name: loss * (len(batch.packed.rows[name]) / rows[name] if rows.get(name) else 1 / self.micro_batches)
            for name, loss in losses.items()
        }
        torch.stack(list(parts.values())).sum().backward()
        return {name: part.item() for name, part in parts.items()}

    def _update(self, losses: Mapping[str, float]) -> None:
        """Clip the summed gradients and move the weights; raises TrainingError, nothing moved, where they are no numbers."""
        self.group.sum_gradients(self.model.parameters())
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm).item()
        if not math.isfinite(norm + sum(losses.values())):
            told = ", ".join(f"{name} {loss:.4g}" for name, loss in losses.items())
            raise TrainingError(
                f"step {self.progress.step} gives no numbers: losses {told}, gradient {norm:.4g}; {self._kept()},"
                " a lower learning rate or fp32 may help"
            )
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * schedule(self.progress, self.recipe)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _tell(self, losses: Mapping[str, float]) -> None:
        """What is due after a step: callbacks, the log, held-out scores."""
        for name, loss in losses.items():
            self._losses.setdefault(name, []).append(loss)
        if self.on_step is not None and self.group.leads:
            self.on_step(self.progress, losses)
        if self.progress.step % self.recipe.log_steps == 0:
            self._check_divergence(self._log_losses())
        if self.held_out is not None and self.progress.step % self.recipe.held_out_steps == 0:
            self._log_held_out()

    def _log_losses(self) -> float:
        """Write the means since the last entry; returns their sum."""
        means = {name: sum(values) / len(values) for name, values in self._losses.items()}
        self._losses.clear()
        rate = self.progress.tokens / max(self.progress.seconds, 1e-9)
        self._write({"losses": means, "tokens_per_second": rate, "learning_rate": self.optimiser.param_groups[0]["lr"]})
        return sum(means.values())

    def _check_divergence(self, mean: float) -> None:
        limit = self.recipe.diverged
        if limit is not None and mean > limit * self._best:
            raise TrainingError(
                f"the loss has diverged: {mean:.4g} over the last {self.recipe.log_steps} steps, {limit:g} times the best"
                f" {self._best:.4g} is the limit; {self._kept()}, a lower learning rate may help"
            )
        self._best = min(self._best, mean)

    def _stop(self) -> None:
        self.checkpoint()
        named = signal.Signals(self._stopped_by or signal.SIGTERM).name  # another process may have been told
        raise TrainingError(f"stopped by {named} after step {self.progress.step} of {self.recipe.steps}; {self._kept()}")

    def _kept(self) -> str:
        step = checkpoints.last_step(self.folder)
        return "there is no checkpoint yet" if step is None else f"the checkpoint of step {step} is kept, resume from it"

    @contextmanager
    def _signals_heard(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the run after the step in hand; a second one ends it at once, as without us."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def hear(number: int, _: object) -> None:
            self._stopped_by = number
            signal.signal(number, before[signal.Signals(number)])

        for number in before:
            signal.signal(number, hear)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _log_held_out(self) -> None:
        assert self.held_out is not None
        self.model.eval()
        with torch.no_grad(), torch.autocast(self.group.device.type, dtype=torch.bfloat16, enabled=self.recipe.bfloat16):
            self._write({"held_out": self.held_out()})

    def _write(self, entry: Mapping[str, Any]) -> None:
        if not self.group.leads:
            return
        whole = asdict(self.progress) | dict(entry)
        path = self.folder / LOG
        with disk.room(path), path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(whole) + "\n")
        if self.on_log is not None:
            self.on_log(whole)

    def _forget_lost_steps(self) -> None:
        """Cut the log back to the checkpoint: the steps behind it are trained, and logged, again."""
        path = self.folder / LOG
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if json.loads(line)["step"] <= self.progress.step]
        if kept != lines:
            disk.replace(path, "".join(kept).encode())


def summary(log: Path) -> dict[str, Any]:
    """First and last entries of a log: steps, seconds, tokens, losses, and the last held-out scores where there are any."""
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    losses = [entry for entry in entries if "losses" in entry]
    held_out = [entry["held_out"] for entry in entries if "held_out" in entry]
    return {"first": losses[0], "last": losses[-1], "held_out": held_out[-1] if held_out else None}


def _groups(model: LongformerWithHeads, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases and norms do not."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
