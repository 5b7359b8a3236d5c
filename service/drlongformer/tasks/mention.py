"""A mention: what the decoders of NER find, before a text is cut by it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A label on code points `start:end`, and how sure the model is of it."""

    label: str
    start: int
    end: int
    score: float
