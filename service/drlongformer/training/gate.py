"""The check of an import: a bundle scored on annotations of one's own, as it will be served, before it is put in place.

Its graph answers in the engine that serves, through the tokenizer, windows and decoders that serve. The score that decides is
the one that decides in training (`judging.py`); of masked words it is the accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drlongformer.bundle import Bundle, Compared, HeadSpec, Precision
from drlongformer.errors import CheckpointError, TrainingError
from drlongformer.serving.engine import OnnxEngine
from drlongformer.training.evaluate import OwnFiles, records_of
from drlongformer.training.examine import Options, Watch, examine, unwatched
from drlongformer.training.precisions import compared, score_that_decides
from drlongformer.training.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a bundle must reach. min_score: of the score that decides; None lets every bundle pass, with its scores.

    head: by default the first that was trained for its task, or the first of all.
    """

    gold: Path
    min_score: float | None = None
    head: str | None = None
    threads: int | None = None
    watch: Watch = unwatched

    def __post_init__(self) -> None:
        if not self.gold.exists():
            raise TrainingError(f"{self.gold} does not exist")

    def __call__(self, bundle: Bundle) -> Mapping[str, Any]:
        """The scores, by set and head. Raises TrainingError for faulty annotations, CheckpointError below the least score."""
        head = self._head(bundle)
        scores = self._scores(bundle, head, "fp32")
        name = score_that_decides(head)
        # Not a number, such as the correlation of equal answers, is no score that was reached.
        if self.min_score is not None and not scores[name] >= self.min_score:
            raise CheckpointError(
                f"head {head.name} has {name} {scores[name]:.4f} on {self.gold.name} ({scores['documents']} records), "
                f"the least is {self.min_score:.4f}; nothing was written"
            )
        return {self._key(head): scores}

    def int8(self, bundle: Bundle, scores: Mapping[str, Any]) -> Mapping[str, Compared]:
        """The scores of the int8 graph beside those of the fp32 one, which were given by the check."""
        head = self._head(bundle)
        return compared(bundle, scores, {self._key(head): self._scores(bundle, head, "int8")})

    def _scores(self, bundle: Bundle, head: HeadSpec, precision: Precision) -> dict[str, Any]:
        subject = Subject.of_bundle(bundle, OnnxEngine(bundle, "cpu", self.threads, precision=precision))
        records = records_of(self.gold, head, OwnFiles(test=self.gold))
        return examine(subject, head, records, options=Options(baselines=False, robustness=False), watch=self.watch)

    def _key(self, head: HeadSpec) -> str:
        return f"{self.gold.stem}/{head.name}"

    def _head(self, bundle: Bundle) -> HeadSpec:
        heads = bundle.manifest.heads
        if self.head is None:
            return next((head for head in heads if head.trained), heads[0])
        for head in heads:
            if head.name == self.head:
                return head
        raise TrainingError(f"the bundle has no head {self.head!r} to check; it has {', '.join(head.name for head in heads)}")
