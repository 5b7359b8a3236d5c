"""What becomes of each record: answered, failed, or known from a former output; every record has exactly one outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from drlongformer.offline.records import Place
from drlongformer.serving.requests import DocumentResult

Status = Literal["answered", "failed", "known"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of the record of that number, counted from 0 over all input.

    asked: it is still to be answered. text: of a document that is asked for or answered. result: where it was answered.
    problem, reason: where it failed, a name such as `empty_text` and a sentence. fingerprint: see `known.py`, where the record
    could be read.
    """

    number: int
    place: Place
    id: str | None = None
    text: str = ""
    fingerprint: bytes | None = None
    result: DocumentResult[Any] | None = None
    problem: str = ""
    reason: str = ""
    asked: bool = False

    @property
    def status(self) -> Status:
        """Which of the three it is; raises ValueError while it is asked for."""
        if self.asked:
            raise ValueError(f"record {self.number} has no outcome yet")
        if self.result is not None:
            return "answered"
        return "failed" if self.problem else "known"

    @property
    def answer(self) -> Any:
        """The task's own answer; raises ValueError where there is none."""
        if self.result is None or self.result.answer is None:
            raise ValueError(f"record {self.number} was not answered")
        return self.result.answer

    @property
    def name(self) -> str:
        """Its id, or its number where it has none."""
        return str(self.number) if self.id is None else self.id
