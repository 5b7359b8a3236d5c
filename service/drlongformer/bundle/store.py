"""A store of bundles, `<store>/<name>/<version>/`: which there are, which is active, and one of them read and verified.

Reading refuses every file that is missing, extra, altered, linked or outside the folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from drlongformer.bundle.files import digest, regular_files
from drlongformer.bundle.manifest import GraphSpec, HeadSpec, Manifest, Precision, Strict, Target, reasons
from drlongformer.bundle.signing import SIGNATURE, require_signature
from drlongformer.errors import BundleError, UnknownModel, UnsupportedTask
from drlongformer.types import Task

MANIFEST = "bundle.json"
SEAL = "bundle.sha256"
"""The manifest's own hash, in the form that `sha256sum --check` reads."""
ACTIVE = "active.json"


class Active(Strict):
    """Content of `active.json`: the version that is served, and the one that was before it."""

    version: Annotated[int, Field(ge=1)]
    previous: Annotated[int, Field(ge=1)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle; sha256 is the digest of its `bundle.json`, which holds the digests of all other files."""

    folder: Path
    manifest: Manifest
    sha256: str

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks its heads serve, each once, in manifest order."""
        return tuple(dict.fromkeys(head.task for head in self.manifest.heads))

    def head(self, task: Task, name: str | None = None) -> HeadSpec:
        """The head of that task and name; without a name the task's first. Raises UnsupportedTask."""
        return self.head_of_any((task,), name)

    def head_of_any(self, tasks: Sequence[Task], name: str | None = None) -> HeadSpec:
        """The first head of that name for the first of the tasks that has one. Raises UnsupportedTask."""
        heads = [head for task in tasks for head in self.manifest.heads if head.task == task]
        for head in heads:
            if name in (None, head.name):
                return head
        task = " or ".join(map(repr, tasks))
        wanted = f"task {task}" if name is None else f"such head for task {task}"
        location = () if name is None else ("head",)
        there = f"its heads for it: {[head.name for head in heads]}" if heads else f"its tasks: {list(self.tasks)}"
        raise UnsupportedTask(f"model {self.manifest.name!r} has no {wanted}; {there}", location=location)

    def graph(self, target: Target, precision: Precision | None = None) -> GraphSpec:
        """The first graph made for the device, else the first portable (`cpu`) one, in that precision if one is given."""
        fitting = [graph for graph in self.manifest.graphs if graph.runs_on(target) and precision in (None, graph.precision)]
        for wanted in (target, "cpu"):
            for graph in fitting:
                if graph.target == wanted:
                    return graph
        there = sorted({f"{graph.target} {graph.precision}" for graph in self.manifest.graphs})
        makes = {
            "int8": "; `import --precision fp32,int8` makes one for CPUs",
            "fp16": "; `import --target cpu,cuda` makes one",
        }
        advice = makes.get(precision or "", "")
        asked = f"{precision or 'fitting'} graph for {target}"
        raise BundleError(f"model {self.manifest.name!r} has no {asked}; it has {', '.join(there)}{advice}")


def load(folder: Path, *, public_key: Path | None = None) -> Bundle:
    """Read and verify a bundle: each file's presence, kind, size and hash, with a key its signature too. Raises BundleError."""
    if folder.is_symlink():
        raise BundleError(f"{folder} is a link")
    content = _read_manifest(folder)
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(f"{folder / MANIFEST} is not understood: {reasons(error)}") from None
    if (folder.parent.name, folder.name) != (manifest.name, str(manifest.version)):
        raise BundleError(f"{folder} holds {manifest.name}/{manifest.version}; a bundle lies in its own name and version")
    _check_files(folder, manifest)
    _check_seal(folder, content)
    if public_key is not None:
        require_signature(folder, public_key)
    return Bundle(folder=folder, manifest=manifest, sha256=hashlib.sha256(content).hexdigest())


def verify(folder: Path, *, public_key: Path | None = None) -> None:
    """Raise BundleError unless the bundle in `folder` is whole and unaltered, and with a key signed for it."""
    load(folder, public_key=public_key)


def names(store: Path) -> tuple[str, ...]:
    """The models of a store that have at least one version, sorted."""
    if not store.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in store.iterdir() if versions(store, entry.name)))


def versions(store: Path, name: str) -> tuple[int, ...]:
    """The versions of one model, ascending; folders that are not a number, such as unfinished ones, are not versions."""
    folder = store / name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or not folder.is_dir():
        return ()
    entries = [entry for entry in folder.iterdir() if re.fullmatch(r"[1-9][0-9]*", entry.name) and entry.is_dir()]
    return tuple(sorted(int(entry.name) for entry in entries))


def find(store: Path, name: str, version: int | None = None) -> Path:
    """The folder of one version; without a number the active one, else the highest. Raises UnknownModel."""
    there = versions(store, name)
    if not there:
        raise UnknownModel(f"no model {name!r} in the store; it has {list(names(store))}")
    if version is None:
        chosen = active(store, name)
        version = chosen.version if chosen else there[-1]
    if version not in there:
        raise UnknownModel(f"model {name!r} has no version {version}; it has {list(there)}")
    return store / name / str(version)


def active(store: Path, name: str) -> Active | None:
    """What `active.json` says, if there is one. Raises BundleError for one that is not understood."""
    path = store / name / ACTIVE
    if not path.exists():
        return None
    try:
        return Active.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BundleError(f"{path} is not understood: {reasons(error)}") from None


def next_version(store: Path, name: str) -> int:
    """The number after the highest version, 1 for a new model."""
    return max(versions(store, name), default=0) + 1


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{folder} has no {MANIFEST} of its own")
    return path.read_bytes()


def seal(manifest: bytes) -> bytes:
    """The content of `bundle.sha256` for a manifest."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def _check_seal(folder: Path, manifest: bytes) -> None:
    """A manifest that was altered by chance: whoever alters it on purpose alters its seal, too."""
    path = folder / SEAL
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{folder} has no {SEAL}: it was half copied, or made before manifests were sealed")
    if path.read_bytes() != seal(manifest):
        raise BundleError(f"{folder}: {MANIFEST} is altered, its sha256 is not that of {SEAL}")


def _check_files(folder: Path, manifest: Manifest) -> None:
    """Compare the folder with the manifest: first what is there, then sizes (cheap), then hashes."""
    if absent := manifest.named_files - manifest.files.keys():
        raise BundleError(f"{folder}: the manifest refers to files it does not list: {sorted(absent)}")
    there = {path.relative_to(folder).as_posix(): path for path in regular_files(folder)}
    if missing := manifest.files.keys() - there.keys():
        raise BundleError(f"{folder}: missing {sorted(missing)}")
    if extra := there.keys() - manifest.files.keys() - {MANIFEST, SEAL, SIGNATURE}:
        raise BundleError(f"{folder}: not in the manifest {sorted(extra)}")
    for name, entry in manifest.files.items():
        if (size := there[name].stat().st_size) != entry.bytes:
            raise BundleError(f"{folder}: {name} has {size} bytes, the manifest says {entry.bytes}")
    for name, entry in manifest.files.items():
        with there[name].open("rb") as content:
            if digest(content) != entry:
                raise BundleError(f"{folder}: {name} is altered, its sha256 is not the manifest's")
