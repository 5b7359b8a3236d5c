"""The import rules of the house, checked on the syntax trees of every module, and proofs that the checker sees violations."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "drlongformer"
ROOT = Path(__file__).parents[1] / "service"

# Who may import whom inside the package: a module imports rooms of its own level or below, never above.
#
#     5   cli
#     4   api     doctor     bench     offline     scale
#     3   serving     training
#     2   model       (importing and exporting; torch starts here)
#     1   text   tasks   packing   bundle   client
#     0   errors   types   settings   logs   disk
LEVELS: Mapping[str, int] = {
    "": 0,
    "errors": 0,
    "types": 0,
    "settings": 0,
    "logs": 0,
    "disk": 0,
    "text": 1,
    "tasks": 1,
    "packing": 1,
    "bundle": 1,
    "client": 1,
    "model": 2,
    "serving": 3,
    "training": 3,
    "api": 4,
    "doctor": 4,
    "bench": 4,
    "offline": 4,
    "scale": 4,
    "cli": 5,
}

# The package's own front opens one room, when that is asked for by name.
FRONT = ("", "client")

# Serving must run where torch is absent, so it may not import the rooms that need torch.
NEVER: Mapping[str, frozenset[str]] = {
    "serving": frozenset({"model", "training"}),
    "api": frozenset({"model", "training"}),
    "doctor": frozenset({"model", "training"}),
    "bench": frozenset({"model", "training"}),
    "offline": frozenset({"model", "training"}),
    "scale": frozenset({"model", "training"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """Packages that only some places may import; a place is a module or a room, by its dotted name."""

    packages: frozenset[str]
    places: frozenset[str]


GUARDS = (
    Guarded(packages=frozenset({"fastapi", "starlette", "uvicorn", "h11"}), places=frozenset({"api", "scale"})),
    Guarded(packages=frozenset({"ray"}), places=frozenset({"scale"})),
    Guarded(
        packages=frozenset({"asyncio", "anyio"}),
        places=frozenset(
            {
                "serving.batcher",
                "serving.runner",
                "serving.pipeline",
                "serving.swap",
                "serving.turns",
                "serving.differences",
                "api",
                "client.awaiting",
                "offline",
                "scale",
            }
        ),
    ),
    Guarded(packages=frozenset({"httpx"}), places=frozenset({"client"})),
    Guarded(
        packages=frozenset({"onnxruntime"}),
        places=frozenset({"serving.engine", "serving.bucketed_engine", "serving.buffers", "model", "training"}),
    ),
    Guarded(packages=frozenset({"opentelemetry"}), places=frozenset({"api.tracing"})),
    Guarded(packages=frozenset({"openvino"}), places=frozenset({"serving.openvino_engine"})),
    Guarded(packages=frozenset({"torch", "transformers", "onnx", "onnxscript"}), places=frozenset({"model", "training"})),
    Guarded(packages=frozenset({"prometheus_client"}), places=frozenset({"serving.metrics", "api"})),
)


def violations(module: str, source: str) -> list[str]:
    """What one module's source breaks; `module` is its dotted name inside the package."""
    tree = ast.parse(source)
    return [*_wrong_imports(module, tree), *_environment_reads(module, tree)]


def _wrong_imports(module: str, tree: ast.Module) -> Iterator[str]:
    room = module.split(".", maxsplit=1)[0]
    for line, name in _imports(tree):
        package, _, inside = name.partition(".")
        if package == PACKAGE:
            other = inside.split(".", maxsplit=1)[0]
            if LEVELS[other] > LEVELS[room] and (room, other) != FRONT:
                yield f"{module}:{line} imports upwards: {name}"
            if other in NEVER.get(room, ()):
                yield f"{module}:{line} needs torch through {name}"
        for guard in GUARDS:
            if package in guard.packages and not any(_within(module, place) for place in guard.places):
                yield f"{module}:{line} may not import {name}"


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported anywhere in a module, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from drlongformer import errors` imports drlongformer.errors.
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == PACKAGE else [str(node.module)]
            yield from ((node.lineno, name) for name in names if name != f"{PACKAGE}.__version__")


def _environment_reads(module: str, tree: ast.Module) -> Iterator[str]:
    if module in ("settings", ""):  # the package itself only tells ONNX Runtime not to report
        return
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb" | "getenv" | "getenvb"):
                yield f"{module}:{node.lineno} reads the environment"
            case ast.ImportFrom(module="os", names=names) if {alias.name for alias in names} & {"environ", "getenv"}:
                yield f"{module}:{node.lineno} imports the environment"


def _within(module: str, place: str) -> bool:
    return module == place or module.startswith(f"{place}.")


def _modules() -> dict[str, Path]:
    """Dotted name inside the package, and file, of every module."""
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT / PACKAGE).with_suffix("").parts) for file in files]
    return {name.removesuffix("__init__").removesuffix("."): file for name, file in zip(names, files, strict=True)}


MODULES = _modules()


def test_every_room_has_a_level() -> None:
    assert {module.split(".", maxsplit=1)[0] for module in MODULES} <= set(LEVELS)
    assert len(MODULES) > 10


@pytest.mark.parametrize("module", MODULES)
def test_a_module_keeps_the_import_rules(module: str) -> None:
    assert violations(module, MODULES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("packing", "from drlongformer.serving.queue import Queue"),
        ("text.windows", "from drlongformer import cli"),
        ("errors", "import drlongformer.bundle"),
        ("serving.models", "from drlongformer.model.longformer import Longformer"),
        ("api.routes", "from drlongformer.training import recipes"),
        ("serving.pipeline", "from starlette.requests import Request"),
        ("serving.queue", "import asyncio"),
        ("serving.models", "import onnxruntime as ort"),
        ("serving.engine", "import torch"),
        ("api.app", "from opentelemetry.sdk.trace import TracerProvider"),
        ("tasks.embed", "def pool():\n    import torch.nn.functional as F"),
        ("bundle", "from transformers import AutoTokenizer"),
        ("serving.batcher", "from prometheus_client import Counter"),
        ("cli", "import os\nport = os.environ['PORT']"),
        ("training.pretrain", "from os import getenv"),
    ],
)
def test_a_forbidden_import_is_seen(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("serving.batcher", "import asyncio\nfrom drlongformer.packing import pack"),
        ("serving.engine", "import onnxruntime"),
        ("training.pretrain", "import torch\nfrom drlongformer.tasks import ner"),
        ("api.app", "from fastapi import FastAPI\nfrom drlongformer.serving.pipeline import Pipeline"),
        ("settings", "import os\nhome = os.environ['HOME']"),
        ("bundle", "import os\nos.fsync(3)"),
        ("cli", "from drlongformer import __version__"),
    ],
)
def test_an_allowed_import_passes(module: str, source: str) -> None:
    assert violations(module, source) == []


IMPORTED_AS = {"scikit_learn": "sklearn", "opentelemetry_sdk": "opentelemetry"}
"""Packages whose import name is not that of their distribution."""


def declared(*extras: str) -> set[str]:
    """Import names of the packages that an installation with these extras is promised."""
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    lines = project["dependencies"] + [line for extra in extras for line in optional[extra]]
    names = [re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0].replace("-", "_") for line in lines]
    return {IMPORTED_AS.get(name, name) for name in names}


@pytest.mark.parametrize("module", MODULES)
def test_every_package_that_is_imported_is_declared(module: str) -> None:
    room = module.split(".", maxsplit=1)[0]
    extras: dict[str, tuple[str, ...]] = {"model": ("train",), "training": ("train",), "serving": ("openvino",)}
    extras |= {"client": ("client",), "offline": ("offline",), "api": ("otel",), "scale": ("ray",), "bundle": ("signing",)}
    promised = declared("cpu", *extras.get(room, ()))
    names = {name.partition(".")[0] for _, name in _imports(ast.parse(MODULES[module].read_text(encoding="utf-8")))}
    assert names - promised - set(sys.stdlib_module_names) - {PACKAGE} == set()
