"""Which epoch is kept: the one that does best on held-out documents; and when to stop: after some epochs without a better one.

    best/                   the model of the best epoch so far, a trained folder
    selection.json          every epoch's scores

Of several heads the mean of their deciding scores decides. A resumed run forgets the epochs behind its checkpoint: they are
trained again, and come out the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drlongformer.training import disk

BEST = "best"
HISTORY = "selection.json"


@dataclass(slots=True, kw_only=True)
class Selection:
    """The epochs judged so far; patience: epochs without a better one after which the run ends."""

    folder: Path
    patience: int
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def best(self) -> dict[str, Any] | None:
        """The best epoch so far, the first of equal ones."""
        return max(self.history, key=lambda entry: entry["score"], default=None)

    @property
    def ended(self) -> bool:
        """Whether patience is at its end; it is not spent before the first right answer, for which NER takes some epochs."""
        best = self.best
        return best is not None and best["score"] > 0.0 and len(self.history) - 1 - self.history.index(best) >= self.patience

    def judged(self, step: int) -> bool:
        """Whether this step's model was judged already."""
        return any(entry["step"] == step for entry in self.history)

    def add(self, *, step: int, score: float, scores: Mapping[str, Mapping[str, float]], save: Callable[[Path], None]) -> None:
        """Take in an epoch; `save` writes its model where it is the best so far."""
        before = self.best
        self.history.append({"step": step, "score": score, "scores": {name: dict(one) for name, one in scores.items()}})
        if before is None or score > before["score"]:
            self._keep(save)
        disk.replace_json(self.folder / HISTORY, self.history)

    def resume(self, step: int) -> None:
        """Take up what was judged until the checkpoint's step."""
        path = self.folder / HISTORY
        known = disk.read_json(path) if path.is_file() else []
        self.history = [entry for entry in known if entry["step"] <= step]

    def _keep(self, save: Callable[[Path], None]) -> None:
        with disk.whole(self.folder / BEST) as place:
            save(place)
