"""The models that are served: each bundle with its tokenizer, its engines and its batcher, found by name or by task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from drlongformer import bundle as bundles
from drlongformer.bundle import Bundle
from drlongformer.errors import BundleError, InvalidRequest, UnknownModel, UnsupportedTask
from drlongformer.packing import blocks_of
from drlongformer.serving.batcher import Batcher
from drlongformer.serving.budget import Budget
from drlongformer.serving.engine import Engine, parse_device
from drlongformer.serving.engines import Compute, open_engines
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.requests import ModelIdentity
from drlongformer.serving.runner import Station
from drlongformer.settings import SettingsError
from drlongformer.text.tokenizer import Tokenizer
from drlongformer.text.windows import SPECIALS
from drlongformer.types import Task

logger = logging.getLogger(__name__)

WINDOWS_PER_BATCH: Mapping[str, int] = {"cpu": 1, "cuda": 16}
"""Full windows in a batch at first: a CPU gains nothing from more, an accelerator needs them to be busy."""

MOST_WINDOWS_PER_BATCH: Mapping[str, int] = {"cpu": 2, "cuda": 64}
"""Full windows that a batch may come to hold, if live batches show that this is faster; memory grows with it."""

ANSWERING: Mapping[Task, tuple[Task, ...]] = {"similarity": ("similarity", "embed")}
"""The tasks that can answer another, the best first: texts whose embeddings lie close are similar."""


@dataclass(slots=True)
class Uses:
    """How many requests are being answered with a model, and what is called when there are none; of the event loop alone."""

    count: int = 0
    when_idle: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One bundle at work; a request that began with it ends with it, whatever version is served by then.

    engines: one for each device, alike in all but the device.
    """

    bundle: Bundle
    tokenizer: Tokenizer
    engines: tuple[Engine, ...]
    batcher: Batcher
    uses: Uses = field(default_factory=Uses)

    @property
    def engine(self) -> Engine:
        """The first engine; what is asked of it holds for all."""
        return self.engines[0]

    @property
    def device(self) -> str:
        """The devices as they are asked for: `cpu`, or `cuda:0,cuda:1`."""
        return ",".join(engine.device for engine in self.engines)

    @property
    def identity(self) -> ModelIdentity:
        """What answers say about who gave them."""
        manifest = self.bundle.manifest
        return ModelIdentity(
            name=manifest.name, version=manifest.version, sha256=self.bundle.sha256[:12], precision=self.engine.precision
        )

    @property
    def info(self) -> tuple[str, ...]:
        """The labels of `model_info`, in its order."""
        identity = self.identity
        return (
            identity.name,
            str(identity.version),
            identity.precision,
            self.device,
            self.engine.provider,
            identity.sha256,
        )

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the model from being unloaded while a request is answered with it."""
        self.uses.count += 1
        try:
            yield
        finally:
            self.uses.count -= 1
            if not self.uses.count and self.uses.when_idle:
                self.uses.when_idle()

    def answers_to(self, name: str) -> bool:
        """Whether `name` or `name:version` means this model."""
        return name in (self.identity.name, f"{self.identity.name}:{self.identity.version}")


class Models:
    """Everything that is served; `defaults` names the model that answers a task when the caller names none."""

    def __init__(self, served: Sequence[ServedModel], *, defaults: Mapping[Task, str] | None = None) -> None:
        # The newest version first: a bare name means it.
        self._served = sorted(served, key=lambda model: (model.identity.name, -model.identity.version))
        self._defaults = dict(defaults or {})
        for task, name in self._defaults.items():
            self.get_for_any(name, ANSWERING.get(task, (task,)))

    @classmethod
    def load(
        cls,
        store: Path,
        names: Sequence[str] = (),
        *,
        metrics: Metrics,
        defaults: Mapping[Task, str] | None = None,
        compute: Compute | None = None,
        max_batch_tokens: int | None = None,
        max_queue_tokens: int = 1_000_000,
        public_key: Path | None = None,
    ) -> Models:
        """Load, verify and warm up bundles of a store, `NAME` or `NAME:VERSION`; without names all of them.

        public_key: they must be signed for it.
        Raises UnknownModel, BundleError, DeviceUnavailable, and SettingsError for a budget that cannot work.
        """
        wanted = names or bundles.names(store)
        if not wanted:
            raise UnknownModel(f"the store {store} holds no model")
        served = [
            load(
                _find(store, name),
                metrics=metrics,
                compute=compute,
                max_batch_tokens=max_batch_tokens,
                max_queue_tokens=max_queue_tokens,
                public_key=public_key,
            )
            for name in dict.fromkeys(wanted)
        ]
        return cls(served, defaults=defaults)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._served)

    def __len__(self) -> int:
        return len(self._served)

    def get(self, name: str | None, task: Task | None) -> ServedModel:
        """The model of that name, or the one for that task. Raises UnknownModel, UnsupportedTask and InvalidRequest."""
        return self.get_for_all(name, () if task is None else (task,))

    def get_for_all(self, name: str | None, tasks: Sequence[Task]) -> ServedModel:
        """The model of that name, or the one that has all these tasks. Raises as `get` does."""
        named = {self._defaults[task] for task in tasks if task in self._defaults}
        if name is None and len(named) == 1:
            [name] = named
        fitting = [model for model in self if name is None or model.answers_to(name)]
        if not fitting:
            raise UnknownModel(f"this model is not served; served are {', '.join(self._names(self))}", location=("model",))
        able = [model for model in fitting if set(tasks) <= set(model.bundle.tasks)]
        if not able:
            asked = f"the task {tasks[0]!r}" if len(tasks) == 1 else f"all of the tasks {', '.join(tasks)}"
            there = ", ".join(sorted({task for model in fitting for task in model.bundle.tasks}))
            lacks = min(([task for task in tasks if task not in model.bundle.tasks] for model in fitting), key=len)
            missing = "" if len(tasks) == 1 else f", {', '.join(map(repr, lacks))} {'is' if len(lacks) == 1 else 'are'} missing"
            raise UnsupportedTask(f"no such model has {asked}{missing}; there is {there}", location=("model",))
        if name is None and len({model.identity.name for model in able}) > 1:
            raise InvalidRequest(f"several models can answer: {', '.join(self._names(able))}; name one", location=("model",))
        return able[0]

    def get_for_any(self, name: str | None, tasks: Sequence[Task]) -> ServedModel:
        """The model for the first of these tasks that one of that name has. Raises as `get` does."""
        if name is None:
            name = self._defaults.get(tasks[0])
        there = {task for model in self if name is None or model.answers_to(name) for task in model.bundle.tasks}
        return self.get(name, next((task for task in tasks if task in there), tasks[0]))

    def replace(self, old: ServedModel, new: ServedModel) -> None:
        """Serve `new` where `old` was, all at once. Raises as a start does where a default cannot be kept."""
        served = [new if each is old else each for each in self._served]
        self._served = Models(served, defaults=self._defaults)._served

    def require_alive(self) -> None:
        """Raise DeviceLost if a device is lost, EngineFailed if an engine hangs or a batching loop has ended by itself."""
        for model in self:
            model.batcher.require_alive()

    @staticmethod
    def _names(models: Iterator[ServedModel] | Sequence[ServedModel] | Models) -> list[str]:
        return [f"{model.identity.name}:{model.identity.version}" for model in models]


def load(
    folder: Path,
    *,
    metrics: Metrics,
    compute: Compute | None = None,
    max_batch_tokens: int | None = None,
    max_queue_tokens: int = 1_000_000,
    public_key: Path | None = None,
) -> ServedModel:
    """Verify, load and warm up the bundle of a folder. Raises BundleError, DeviceUnavailable and SettingsError."""
    bundle = bundles.load(folder, public_key=public_key)
    engines = open_engines(bundle, compute or Compute())
    return serve(
        bundle,
        *engines,
        metrics=metrics,
        max_batch_tokens=max_batch_tokens,
        max_queue_tokens=max_queue_tokens,
        seconds_per_slot=max(engine.warm_up() for engine in engines),
    )


def serve(
    bundle: Bundle,
    *engines: Engine,
    metrics: Metrics,
    max_batch_tokens: int | None = None,
    max_queue_tokens: int = 1_000_000,
    seconds_per_slot: float = 0.0,
) -> ServedModel:
    """Put a bundle to work on its engines. Raises BundleError, and SettingsError for a budget that cannot work."""
    manifest = bundle.manifest
    if manifest.window_overlap >= manifest.max_tokens - SPECIALS:
        raise BundleError(f"windows of {manifest.max_tokens} tokens cannot overlap by {manifest.window_overlap}")
    stations = [
        Station(engine=engine, budget=_budget(bundle, engine, max_batch_tokens, max_queue_tokens)) for engine in engines
    ]
    model = ServedModel(
        bundle=bundle,
        tokenizer=Tokenizer.from_file(bundle.folder / manifest.tokenizer.file, spec=manifest.tokenizer),
        engines=engines,
        batcher=Batcher(
            stations,
            metrics=metrics,
            max_queue_tokens=max_queue_tokens,
            seconds_per_slot=seconds_per_slot,
        ),
    )
    identity = model.identity
    metrics.model_info.labels(*model.info).set(1)
    said = (identity.name, identity.version, model.device, model.engine.provider)
    logger.info("serving %s:%d on %s (%s), %d token slots a batch", *said, stations[0].budget.slots)
    return model


def _budget(bundle: Bundle, engine: Engine, asked: int | None, max_queue_tokens: int) -> Budget:
    """The budget that was asked for, or one that live batches refine. Raises SettingsError for one that cannot work."""
    window = blocks_of(bundle.manifest.max_tokens, engine.block) * engine.block
    if asked is not None and asked < window:
        raise SettingsError(f"batches of {asked} tokens cannot hold one full window of {bundle.manifest.name}: {window}")
    device = parse_device(engine.device)[0]
    least = asked or window * WINDOWS_PER_BATCH[device]
    if max_queue_tokens < least:
        raise SettingsError(f"a queue of {max_queue_tokens} tokens cannot hold one batch of {least}")
    if asked is not None:
        return Budget.fixed(asked)
    most = min(MOST_WINDOWS_PER_BATCH[device], max_queue_tokens // window)
    return Budget.refined(window=window, windows=WINDOWS_PER_BATCH[device], most_windows=most)


def _find(store: Path, name: str) -> Path:
    """The folder of `NAME` or `NAME:VERSION`."""
    name, colon, version = name.partition(":")
    if colon and not version.isdecimal():
        raise UnknownModel(f"{version!r} is no version; versions are whole numbers")
    return bundles.find(store, name, int(version) if colon else None)
