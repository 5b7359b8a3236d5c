"""The model of a run: the bundle that was named, or the only one of the store that has the task, loaded as for serving."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from drlongformer import bundle as bundles
from drlongformer.errors import InvalidRequest, UnsupportedTask
from drlongformer.serving.engines import Compute
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import ANSWERING, Models
from drlongformer.settings import require_store
from drlongformer.types import Task

QUEUE_TOKENS: Final = 1 << 40
"""Nothing is refused for want of room: the run itself bounds what waits."""


def open_model(
    store: Path,
    name: str | None,
    task: Task,
    *,
    metrics: Metrics,
    compute: Compute,
    max_batch_tokens: int | None = None,
    public_key: Path | None = None,
) -> Models:
    """One model, warmed up. Raises SettingsError, UnknownModel, UnsupportedTask, InvalidRequest, BundleError and more."""
    require_store(store)
    return Models.load(
        store,
        [name or only_name(store, task)],
        metrics=metrics,
        compute=compute,
        max_batch_tokens=max_batch_tokens,
        max_queue_tokens=QUEUE_TOKENS,
        public_key=public_key,
    )


def only_name(store: Path, task: Task) -> str:
    """The one model of a store that has the task. Raises UnsupportedTask and InvalidRequest."""
    names = bundles.names(store)
    wanted = set(ANSWERING.get(task, (task,)))
    able = [name for name in names if wanted & set(bundles.load(bundles.find(store, name)).tasks)]
    if not able:
        raise UnsupportedTask(f"no model of the store {store} has the task {task!r}; there is {', '.join(names) or 'none'}")
    if len(able) > 1:
        raise InvalidRequest(f"several models have the task {task!r}: {', '.join(able)}; name one with --model")
    return able[0]
