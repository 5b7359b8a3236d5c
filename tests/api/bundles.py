"""The small bundle of the serving tests with no real graph, for tests whose engine is a fake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.serving import bundles as by_hand
from tests.serving.bundles import MAX_TOKENS, SIZE, VOCAB_SIZE

__all__ = ["MAX_TOKENS", "altered", "write"]


def write(store: Path, *, name: str = "fake", version: int = 1, **changes: Any) -> Path:
    """Write the bundle and return its folder."""
    architecture = {"vocab_size": VOCAB_SIZE, "hidden_size": SIZE}
    fields = {"architecture": architecture} | changes
    return by_hand.write(store, name=name, version=version, model=b"no graph", **fields).folder


def altered(folder: Path) -> None:
    """Change one byte of the bundle's tokenizer."""
    path = folder / "tokenizer.json"
    path.write_bytes(path.read_bytes().replace(b"<mask>", b"<mosk>"))
