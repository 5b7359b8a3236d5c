"""A whole run from its orders: input found, model loaded, output begun or gone on with, work done; one call, one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drlongformer import __version__
from drlongformer.errors import RunError
from drlongformer.offline import known, output
from drlongformer.offline.asked import WAYS, Ask
from drlongformer.offline.known import Known
from drlongformer.offline.output import MANIFEST, Output
from drlongformer.offline.reader import Manner, Reader
from drlongformer.offline.run import Figures, Job, run
from drlongformer.offline.sources import Source
from drlongformer.offline.writer import writer
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models
from drlongformer.serving.pipeline import Pipeline
from drlongformer.serving.reading import Limits

PART_DOCUMENTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What to read and how, what to ask, where to write. only_new: a former output whose documents are not asked again.

    Raises RunError where what is read is not what the task is asked of.
    """

    sources: tuple[Source, ...]
    manner: Manner
    ask: Ask
    folder: Path
    resume: bool = False
    only_new: Path | None = None
    part_documents: int = PART_DOCUMENTS

    def __post_init__(self) -> None:
        wanted, read = WAYS[self.ask.task].kind, self.manner.columns.kind
        if wanted != read:
            raise RunError(f"{self.ask.task} is asked of each {wanted}, and each record is read as a {read}")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The model of a run, with what it is asked through."""

    models: Models
    metrics: Metrics
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """Orders that were carried out before; failed: records that had no answer then."""

    failed: int


def archive(
    orders: Orders, house: House, tell: Callable[[Figures], None], *, through: Callable[[Job], Figures] | None = None
) -> Figures | Complete:
    """Carry the orders out, unless they were carried out before. Raises RunError and what checking the options raises.

    through: does the job where the house's pipeline outlives the run; without it, a pipeline is started and stopped here.
    """
    [model] = house.models
    orders.ask.check(model, house.limits)
    told = asked(orders, orders.ask.told(model.identity))
    _keep_apart(orders)
    before = _former(orders.only_new, told) if orders.only_new else None
    begun = orders.resume and (orders.folder / MANIFEST).exists()
    if begun and output.read_manifest(orders.folder)["state"] == "complete":
        with Output.resume(orders.folder, told) as done:
            return Complete(failed=sum(part.statuses.get("failed", 0) for part in done.parts))
    opened = (
        Output.resume(orders.folder, told) if begun else Output.start(orders.folder, told, key=before.key if before else None)
    )
    with opened:
        job = Job(
            ask=orders.ask,
            reader=Reader(orders.sources, orders.manner),
            output=opened,
            writer=writer(orders.ask, told),
            known=before.known if before else Known(),
            part_documents=orders.part_documents,
            tell=tell,
        )
        return through(job) if through else asyncio.run(_through(job, house))


def asked(orders: Orders, told: dict[str, Any]) -> dict[str, Any]:
    """Everything that a resumed run must have in common with the run it goes on with."""
    sources = [{"name": source.name, "form": source.form, "bytes": source.size} for source in orders.sources]
    return told | {
        "input": asdict(orders.manner) | {"sources": sources},
        "only_new": None if orders.only_new is None else str(orders.only_new),
        "drlongformer": __version__,
    }


async def _through(job: Job, house: House) -> Figures:
    [model] = house.models
    pipeline = Pipeline(house.models, house.metrics, limits=house.limits)
    await pipeline.start()
    try:
        return await run(job, pipeline, model)
    finally:
        await pipeline.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Former:
    key: bytes
    known: Known


def _former(folder: Path, told: dict[str, Any]) -> _Former:
    """What a former output knows. Raises RunError where its answers are not of the kind that is asked for now."""
    before = output.read_manifest(folder)["asked"]
    for name in ("task", "model", "options"):
        if before.get(name) != told[name]:
            raise RunError(
                f"{folder} was made with another {name}: its documents must be answered again; run without --only-new"
            )
    marks = (one.fingerprint for one in output.committed(folder) if one.settled and one.fingerprint is not None)
    return _Former(key=known.read_key(folder), known=Known(marks))


def _keep_apart(orders: Orders) -> None:
    """Raise RunError where the output would become part of the input."""
    for source in orders.sources:
        if source.path is not None and source.path.is_dir():
            folder, inside = source.path.resolve(), orders.folder.resolve()
            if inside == folder or folder in inside.parents:
                raise RunError(f"the output {orders.folder} lies inside the input {source.path}")
    if orders.only_new is not None and orders.only_new.resolve() == orders.folder.resolve():
        raise RunError("--only-new names a former output, and the output is a new one; --resume goes on with one")
