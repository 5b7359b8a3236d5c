"""What becomes of each record: answered, failed, or known from a former output; every record has exactly one outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from drlongformer.offline.records import Content, Place
from drlongformer.serving.requests import DocumentResult, Embedding

Status = Literal["answered", "failed", "known"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of the record of that number, counted from 0 over all input.

    asked: it is still to be answered. text: what is asked about, or was; empty for other records. result: where it was
    answered. problem, reason: where it failed, a name such as `empty_text` and a sentence. fingerprint: see `known.py`, where
    the record could be read.
    """

    number: int
    place: Place
    id: str | None = None
    text: Content = ""
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
    def document(self) -> str:
        """The text of a document; raises ValueError for a pair and a question."""
        if not isinstance(self.text, str):
            raise ValueError(f"record {self.number} is no document")  # noqa: TRY004 - its kind, not its type
        return self.text

    @property
    def size(self) -> int:
        """What it takes to hold: characters of what is asked about, and numbers of the vectors of chunks."""
        answer = None if self.result is None else self.result.answer
        chunks = answer.chunks if isinstance(answer, Embedding) else None
        return len(self.text) + sum(len(chunk.vector) for chunk in chunks or ())

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
