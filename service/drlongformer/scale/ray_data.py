"""Archives on a Ray cluster: each input file is a run of its own (`offline`), done by one of several actors with an engine.

    files -> ray.data: one row a file -> actors: model loaded once, file read, answers written -> one row of figures a file

What a run guarantees, a file's run guarantees here: parts appear whole, every record has one outcome, and whoever goes on with
it reads from its folder what is done. So nothing else is remembered: an actor that ends has its file gone on with by another,
and the same command once more does what is left. Input and output lie where every node sees them.

    python -m drlongformer.scale.ray_data embed --input 'notes/*.parquet' --output out/ --actors 8 --cores 4
    out/<name of the file>/{manifest.json,answers/part-00000.parquet,documents/,errors/}
"""

from __future__ import annotations

import argparse
import asyncio
import glob
import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ray
import ray.data

from drlongformer import logs, settings
from drlongformer.errors import DrLongformerError, RunError
from drlongformer.offline import archive as runs
from drlongformer.offline import options, sources
from drlongformer.offline.archive import Complete, House, Orders
from drlongformer.offline.asked import Ask, Written
from drlongformer.offline.columns import Columns
from drlongformer.offline.opening import open_model
from drlongformer.offline.reader import Manner
from drlongformer.offline.run import Figures, Job, run
from drlongformer.serving.engines import Compute
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.pipeline import Pipeline
from drlongformer.serving.reading import Limits
from drlongformer.serving.requests import RequestOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked of the files, and with what. own: the task's own options; overrides: settings over each node's environment.

    cores: of each actor, the engine's threads. gpus: of each actor.
    """

    task: str
    folder: Path
    model: str | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    text_column: str | None = None
    id_column: str | None = None
    part_documents: int = runs.PART_DOCUMENTS
    actors: int = 1
    cores: float = 1
    gpus: float = 0

    def ask(self) -> Ask:
        """The task with its options. Raises RunError."""
        common = RequestOptions(priority="bulk", on_error="report")
        return options.asked(options.task_named(self.task), common, self.own, Written())


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of one file: outcomes by status and tokens of this run; or why it could not be answered."""

    path: str
    answered: int = 0
    failed: int = 0
    tokens: int = 0
    seconds: float = 0.0
    complete_before: bool = False
    error: str = ""


def archive(paths: Sequence[Path], plan: Plan) -> Iterator[Done]:
    """Answer every file, a few at a time, and tell of each as it is done. Raises RunError before any is begun.

    A cluster that `ray.init` has joined is used.
    """
    plan.ask()
    places(paths, plan.folder)
    rows = [{"path": str(path)} for path in sorted(paths, key=lambda each: -each.stat().st_size)]  # long ones first
    told = (
        ray.data.from_items(rows, override_num_blocks=len(rows))
        .map_batches(
            Worker,
            fn_constructor_args=(plan,),
            batch_size=1,
            # One file at a time each: a file that is given ahead would wait behind a long one while other actors stand idle.
            compute=ray.data.ActorPoolStrategy(size=min(plan.actors, len(rows)), max_tasks_in_flight_per_actor=1),
            num_cpus=plan.cores,
            num_gpus=plan.gpus,
        )
        .iter_rows()
    )
    for row in told:
        yield Done(**json.loads(row["done"]))


def places(paths: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """The output folder of each file. Raises RunError where there is no file, or two have one name."""
    if not paths:
        raise RunError("the input names no file")
    found = {path: folder / path.name.partition(".")[0] for path in paths}
    if len(set(found.values())) < len(found):
        raise RunError(f"{len(found)} files have {len(set(found.values()))} names; each is answered into a folder of its name")
    return found


class Worker:
    """An actor: it loads the model once and keeps its pipeline at work, file after file."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._ask = plan, plan.ask()
        logs.configure(style="json", level="warning")
        self._house = _house(plan, self._ask)
        self._pipeline = Pipeline(self._house.models, self._house.metrics, limits=self._house.limits)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="archive", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._pipeline.start(), self._loop).result()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Answer the files of a batch; what is wrong with one is told of it, and costs the others nothing."""
        return {"done": [json.dumps(asdict(self.answer(Path(str(path))))) for path in batch["path"]]}

    def answer(self, path: Path) -> Done:
        """Answer one file, or what is left of it."""
        try:
            figures = runs.archive(self._orders(path), self._house, lambda _figures: None, through=self._through)
        except DrLongformerError as error:
            return Done(path=str(path), error=f"{type(error).__name__}: {error}")
        if isinstance(figures, Complete):
            return Done(path=str(path), failed=figures.failed, complete_before=True)
        counts = figures.statuses
        return Done(
            path=str(path),
            answered=counts.get("answered", 0),
            failed=counts.get("failed", 0),
            tokens=figures.tokens,
            seconds=round(figures.seconds, 3),
        )

    def close(self) -> None:
        """Stop the pipeline; an actor that Ray ends needs no such thing."""
        asyncio.run_coroutine_threadsafe(self._pipeline.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _orders(self, path: Path) -> Orders:
        return Orders(
            sources=sources.find([str(path)], None),
            manner=Manner(
                columns=Columns(text=self._plan.text_column, id=self._plan.id_column), encoding="auto", delimiter=None
            ),
            ask=self._ask,
            folder=places([path], self._plan.folder)[path],
            resume=True,
            part_documents=self._plan.part_documents,
        )

    def _through(self, job: Job) -> Figures:
        [model] = self._house.models
        return asyncio.run_coroutine_threadsafe(run(job, self._pipeline, model), self._loop).result()


def _house(plan: Plan, ask: Ask) -> House:
    """The model with the threads of this actor's share, unless the settings have a number."""
    chosen = settings.load(plan.overrides)
    compute = Compute.of(chosen.models)
    metrics = Metrics.create()
    models = open_model(
        chosen.models.store,
        plan.model,
        ask.task,
        metrics=metrics,
        compute=Compute(
            engine=compute.engine,
            device=compute.device,
            precision=compute.precision,
            threads=compute.threads or max(1, int(plan.cores)),
        ),
        max_batch_tokens=chosen.batching.max_batch_tokens,
        public_key=chosen.models.public_key,
    )
    set_ = chosen.limits
    limits = Limits(max_characters=set_.max_characters, max_windows=set_.max_windows, max_answer_items=set_.max_answer_items)
    return House(models=models, metrics=metrics, limits=limits)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; exit code 3 where records failed, 1 where a file could not be answered."""
    parser = argparse.ArgumentParser(
        prog="python -m drlongformer.scale.ray_data", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("task")
    parser.add_argument("--input", action="append", required=True, metavar="PATTERN", help="files; may be repeated")
    parser.add_argument("--output", type=Path, required=True, help="folder that every node sees")
    parser.add_argument("--model", help="NAME[:VERSION]")
    parser.add_argument("--options", type=json.loads, default={}, metavar="JSON", help='the task\'s, say {"pooling": "mean"}')
    parser.add_argument("--settings", type=json.loads, default={}, metavar="JSON", help='say {"models": {"store": "/models"}}')
    parser.add_argument("--text-column")
    parser.add_argument("--id-column")
    parser.add_argument("--part-documents", type=int, default=runs.PART_DOCUMENTS)
    parser.add_argument("--actors", type=int, default=1)
    parser.add_argument("--cores", type=float, default=1)
    parser.add_argument("--gpus", type=float, default=0)
    parser.add_argument("--address", help="of the cluster; RAY_ADDRESS, or one of this machine alone by default")
    asked = parser.parse_args(argv)
    plan = Plan(
        task=asked.task,
        folder=asked.output.absolute(),
        model=asked.model,
        own=asked.options,
        overrides=asked.settings,
        text_column=asked.text_column,
        id_column=asked.id_column,
        part_documents=asked.part_documents,
        actors=asked.actors,
        cores=asked.cores,
        gpus=asked.gpus,
    )
    paths = [Path(found).absolute() for pattern in asked.input for found in sorted(glob.glob(pattern))]  # noqa: PTH207 - absolute
    try:
        ray.init(address=asked.address, log_to_driver=False)
        done = [_told(each) for each in archive(paths, plan)]
    except DrLongformerError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 1 if any(each.error for each in done) else 3 if any(each.failed for each in done) else 0


def _told(done: Done) -> Done:
    sys.stdout.write(json.dumps(asdict(done), ensure_ascii=False) + "\n")
    sys.stdout.flush()
    return done


if __name__ == "__main__":
    sys.exit(main())
