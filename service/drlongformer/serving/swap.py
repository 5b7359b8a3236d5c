"""Versions swapped while they are served: `active.json` of each model is watched, and what it names takes over.

    load and warm up beside -> change one reference -> end the requests that began with the old version with it -> unload it

A request keeps the model it began with, so its answer is of one version, and a batch never mixes two. A version that cannot be
loaded changes nothing: it is told in the log and in `model_swaps_total`, and tried again when `active.json` changes again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from drlongformer import bundle as bundles
from drlongformer import logs
from drlongformer.errors import DrLongformerError
from drlongformer.serving import memory
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models, ServedModel

logger = logging.getLogger(__name__)

CHECK_SECONDS: Final = 1.0
CHECKS_PER_TRIM: Final = 10
"""Checks after which free memory is given back to the system; at the next one where a model was unloaded."""
Signature = tuple[int, int, int] | None


class Swapper:
    """Follows the active versions of models that are served by their bare name."""

    def __init__(
        self, models: Models, *, store: Path, names: Sequence[str], load: Callable[[Path], ServedModel], metrics: Metrics
    ) -> None:
        """names: the models to follow. load: a verified, warm model from a version's folder; it runs in a thread."""
        self._models = models
        self._store = store
        self._load = load
        self._metrics = metrics
        self._serving = {name: models.get(name, None) for name in names}
        self._seen: dict[str, Signature] = dict.fromkeys(names)
        self._retiring: dict[asyncio.Task[None], ServedModel] = {}
        self._checks_to_trim = 0

    async def watch(self) -> None:
        """Check every second, until cancelled; now and then give back what is free."""
        while True:
            await self.check()
            await self._trim()
            await asyncio.sleep(CHECK_SECONDS)

    async def _trim(self) -> None:
        if self._checks_to_trim <= 0:
            self._checks_to_trim = CHECKS_PER_TRIM
            await asyncio.to_thread(memory.give_back)
        self._checks_to_trim -= 1

    async def check(self) -> None:
        """Swap every model whose `active.json` changed and names another version than the one at work."""
        for name in self._serving:
            signature = await asyncio.to_thread(_signature, self._store / name / bundles.ACTIVE)
            if signature != self._seen[name]:
                self._seen[name] = signature
                if signature is not None:
                    await self._follow(name)

    async def close(self) -> None:
        """Unload what was replaced, whoever still uses it."""
        for task, model in list(self._retiring.items()):
            task.cancel()
            await model.batcher.stop()

    async def _follow(self, name: str) -> None:
        old = self._serving[name]
        try:
            folder = await asyncio.to_thread(bundles.find, self._store, name)
            if int(folder.name) == old.identity.version:
                return
            new = await asyncio.to_thread(self._load, folder)
            await self._put_in_place(old, new)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new version, the old one goes on
            self._metrics.model_swaps_total.labels(outcome="failed").inc()
            told = f": {error}" if isinstance(error, DrLongformerError) else ""
            said = ("%s:%d stays: its active version cannot be served%s", name, old.identity.version, told)
            logger.error(*said, extra=logs.origin(error))  # noqa: TRY400 - of a stranger's error, its type and place alone
            return
        self._serving[name] = new
        self._metrics.model_swaps_total.labels(outcome="done").inc()
        logger.info("%s:%d is replaced by version %d", name, old.identity.version, new.identity.version)
        task = asyncio.create_task(self._retire(old), name="retiring")
        self._retiring[task] = old
        task.add_done_callback(self._retired)

    async def _put_in_place(self, old: ServedModel, new: ServedModel) -> None:
        try:
            await new.batcher.start()
            self._models.replace(old, new)
        except BaseException:
            self._forget(new)
            await new.batcher.stop()
            raise

    async def _retire(self, model: ServedModel) -> None:
        """Wait for the last request that began with it, then unload it."""
        idle = asyncio.Event()
        model.uses.when_idle = idle.set
        if model.uses.count:
            await idle.wait()
        await model.batcher.stop()
        self._forget(model)
        logger.info("%s:%d is unloaded", model.identity.name, model.identity.version)

    def _retired(self, task: asyncio.Task[None]) -> None:
        del self._retiring[task]
        self._checks_to_trim = 0

    def _forget(self, model: ServedModel) -> None:
        """Take it out of `model_info`, unless the same version is loaded once more: back again, while it still retires."""
        others = [each for each in (*self._models, *self._retiring.values()) if each is not model]
        if all(each.info != model.info for each in others):
            self._metrics.model_info.remove(*model.info)


def _signature(path: Path) -> Signature:
    """What changes with the file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
