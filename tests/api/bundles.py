"""A small bundle with a real tokenizer and no real graph, for tests whose engine is a fake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from drlongformer import bundle
from drlongformer.bundle import GraphSpec, HeadSpec, Manifest
from tests.text import tiny

MAX_TOKENS = 64

HEADS = (
    HeadSpec(name="vector", task="embed", output="hidden", global_attention="first", pooling="mean", trained=True),
    HeadSpec(
        name="entities",
        task="ner",
        output="entities",
        labels=("O", "B-SYMPTOM", "I-SYMPTOM"),
        global_attention="first",
        decoding="bio",
        trained=True,
    ),
    HeadSpec(
        name="chapter",
        task="classify",
        output="chapter",
        labels=("C", "N", "R"),
        global_attention="first",
        function="softmax",
        trained=True,
    ),
    HeadSpec(name="words", task="fill-mask", output="words", global_attention="first", trained=True),
)


def write(store: Path, *, name: str = "fake", version: int = 1, **changes: Any) -> Path:
    """Write the bundle and return its folder."""
    content = json.dumps(tiny.content("bytes")).encode()
    vocab_size = tiny.tokenizer("bytes").vocab_size
    fields: dict[str, Any] = {
        "name": name,
        "version": version,
        "base_model": None,
        "base_revision": None,
        "licence": "apache-2.0",
        "patient_data": False,
        "description": "A model of nothing.",
        "architecture": {"vocab_size": vocab_size, "hidden_size": 8},
        "block": 16,
        "max_tokens": MAX_TOKENS,
        "window_overlap": 16,
        "heads": HEADS,
        "tokenizer": tiny.spec("bytes"),
        "graphs": (GraphSpec(file="model.onnx", weights=None, precision="fp32", target="cpu", opset=20),),
    }
    return bundle.write(store, Manifest(**fields | changes), {"tokenizer.json": content, "model.onnx": b"no graph"})


def altered(folder: Path) -> None:
    """Change one byte of the bundle's tokenizer."""
    path = folder / "tokenizer.json"
    path.write_bytes(path.read_bytes().replace(b"<mask>", b"<mosk>"))
