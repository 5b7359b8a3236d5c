"""What is installed, and whether every bundle that would be served computes on the device that was asked for."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata

from drlongformer import __version__, bundle
from drlongformer.bundle import Bundle
from drlongformer.errors import BundleError
from drlongformer.serving.cards import cards, usable
from drlongformer.serving.engine import available_cpus
from drlongformer.serving.engines import Compute, open_engines
from drlongformer.settings import Settings, require_store

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino", "tokenizers", "numpy", "fastapi", "uvicorn", "torch", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked for."""

    what: str
    found: str


def findings(settings: Settings) -> Iterator[Finding]:
    """The installation, without touching a device."""
    yield Finding(what="drlongformer-service", found=__version__)
    yield Finding(what="Python", found=platform.python_version())
    for name in PACKAGES:
        yield Finding(what=name, found=installed(name) or "not installed")
    yield Finding(what="CPUs for this process", found=str(available_cpus()))
    for card in cards():
        yield Finding(what=f"card {card.index}", found=card.description)
    yield Finding(what="cards that can be used", found=usable())
    store = settings.models.store
    held = ", ".join(bundle.names(store)) or "no bundle" if store.is_dir() else "no such folder"
    yield Finding(what="store", found=f"{store}: {held}")


def served(settings: Settings) -> tuple[Bundle, ...]:
    """The bundles that would be served, verified. Raises SettingsError, BundleError and UnknownModel."""
    chosen = settings.models
    require_store(chosen.store)
    names = chosen.names or bundle.names(chosen.store)
    if not names:
        raise BundleError(f"{chosen.store} holds no bundle, so there is nothing to serve")
    parted = (name.partition(":") for name in names)
    return tuple(bundle.load(bundle.find(chosen.store, name, int(version) if version else None)) for name, _, version in parted)


def models(settings: Settings, bundles: Sequence[Bundle]) -> Iterator[str]:
    """One sentence for each bundle, once it is loaded. Raises BundleError and DeviceUnavailable."""
    chosen = settings.models
    for verified in bundles:
        engines = open_engines(verified, Compute.of(chosen))
        devices, engine = ", ".join(each.device for each in engines), engines[0]
        yield (
            f"{verified.manifest.name}:{verified.manifest.version} is whole and computes on {devices} in {engine.precision} "
            f"({engine.provider}), because DRLONGFORMER_MODELS__DEVICE or its default says {chosen.device}"
        )


def installed(distribution: str) -> str | None:
    """The version of a distribution, None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
