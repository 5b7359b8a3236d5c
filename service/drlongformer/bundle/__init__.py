"""Bundles: `<store>/<name>/<version>/`, one self-contained model with the manifest `bundle.json` that describes and hashes it.

    model_store/drlongformer-mini/active.json     optional, {"version": 3}; without it the highest version is served
    model_store/drlongformer-mini/3/bundle.json   the manifest (`manifest.py`)
                                    bundle.sha256, the manifest's own hash
                                    bundle.sig, if it is signed (`signing.py`)
                                    tokenizer.json, *.onnx, their weights, README.md

A bundle is written beside its place and renamed into it (`writing.py`). Reading (`store.py`) refuses every file that is
missing, extra, altered, linked or outside the folder, and every manifest it does not fully understand.
"""

from drlongformer.bundle.active import activate, rollback
from drlongformer.bundle.manifest import (
    ANSWER,
    Compared,
    FileEntry,
    GraphSpec,
    Halving,
    HeadSpec,
    Manifest,
    Parity,
    Precision,
    Rounding,
    Target,
    TokenizerSpec,
)
from drlongformer.bundle.packing import pack, unpack
from drlongformer.bundle.signing import SIGNATURE, sign
from drlongformer.bundle.store import ACTIVE, MANIFEST, SEAL, Bundle, find, load, names, next_version, verify, versions
from drlongformer.bundle.writing import write

__all__ = [
    "ACTIVE",
    "ANSWER",
    "MANIFEST",
    "SEAL",
    "SIGNATURE",
    "Bundle",
    "Compared",
    "FileEntry",
    "GraphSpec",
    "Halving",
    "HeadSpec",
    "Manifest",
    "Parity",
    "Precision",
    "Rounding",
    "Target",
    "TokenizerSpec",
    "activate",
    "find",
    "load",
    "names",
    "next_version",
    "pack",
    "rollback",
    "sign",
    "unpack",
    "verify",
    "versions",
    "write",
]
