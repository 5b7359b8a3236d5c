"""`drlongformer run` beside the bare engine: the same documents, the same engine, in turns; one JSON line last.

    python loadtests/archive.py [--store model_store] [--task embed] [--documents 300] [--rounds 3] [--threads 2]

The ceiling is the engine alone: documents tokenized before, in packs of the size that the run uses, nothing decoded or written.
The run reads JSON lines, tokenizes, computes, decodes and writes Parquet. Lengths are log-normal (mu 6.3, sigma 1.0, in tokens,
about). Beside wall time stands the processors' time of this process: others' load on the machine changes it far less.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drlongformer import bundle as bundles
from drlongformer.offline import options, sources
from drlongformer.offline.archive import House, Orders, archive
from drlongformer.offline.asked import WAYS, Ask, Written
from drlongformer.offline.opening import QUEUE_TOKENS, only_name
from drlongformer.offline.reader import Manner
from drlongformer.packing import blocks_of
from drlongformer.serving.engine import GraphEngine, compute
from drlongformer.serving.engines import Compute, open_engine
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import WINDOWS_PER_BATCH, Models, serve
from drlongformer.serving.reading import Limits
from drlongformer.serving.requests import RequestOptions
from drlongformer.types import Document, WindowInput

SENTENCES = (
    "Le patient de 62 ans est hospitalisé pour une douleur thoracique.",
    "Pas de fièvre ce jour, tension à 13/8, saturation à 97 %.",
    "Antécédents d’hypertension artérielle et de diabète de type 2.",
    "Traitement par paracétamol 500 mg trois fois par jour.",
    "L’échographie retrouve un œdème modéré des membres inférieurs.",
    "Sortie prévue le 12 mars vers le domicile, avec suivi par le médecin traitant.",
)
TOKENS_PER_SENTENCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Seconds on the wall and of the processors."""

    wall: float
    processors: float


def timed(work: Callable[[], object]) -> Taken:
    """How long a piece of work takes."""
    wall, processors = time.perf_counter(), time.process_time()
    work()
    return Taken(wall=time.perf_counter() - wall, processors=time.process_time() - processors)


def written(path: Path, documents: int) -> list[str]:
    """Invented documents, also as a file of JSON lines."""
    draw = random.Random(0)
    counts = [min(4000, max(20, int(draw.lognormvariate(6.3, 1.0)))) // TOKENS_PER_SENTENCE + 1 for _ in range(documents)]
    texts = [" ".join(draw.choice(SENTENCES) for _ in range(count)) for count in counts]
    lines = (json.dumps({"id": number, "text": text}, ensure_ascii=False) for number, text in enumerate(texts))
    path.write_text("\n".join(lines), encoding="utf-8")
    return texts


def house(bundle: bundles.Bundle, engine: GraphEngine) -> House:
    """The engine at work, with a queue of its own: that of a run ends with it."""
    metrics = Metrics.create()
    model = serve(bundle, engine, metrics=metrics, max_queue_tokens=QUEUE_TOKENS)
    return House(models=Models([model]), metrics=metrics, limits=Limits())


def packs(windows: Sequence[WindowInput], *, slots: int, block: int) -> list[list[WindowInput]]:
    """Windows by descending length, each put where it still fits: the fullest packs that are easily had."""
    groups: list[list[WindowInput]] = []
    room: list[int] = []
    for window in sorted(windows, key=len, reverse=True):
        size = blocks_of(len(window), block) * block
        place = next((place for place, left in enumerate(room) if left >= size), None)
        if place is None:
            groups.append([window])
            room.append(slots - size)
        else:
            groups[place].append(window)
            room[place] -= size
    return groups


def main() -> None:
    """Race, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--task", default="embed")
    parser.add_argument("--documents", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()

    task = options.task_named(given.task)
    ask: Ask = options.asked(task, RequestOptions(priority="bulk", on_error="report"), {}, Written())
    bundle = bundles.load(bundles.find(given.store, only_name(given.store, task)))
    engine = open_engine(bundle, Compute(threads=given.threads))
    engine.warm_up()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = written(folder / "notes.jsonl", given.documents)
        [model] = house(bundle, engine).models
        read = WAYS[task].reader(model, ask.options, Limits())
        windows = [window for place, text in enumerate(texts) for window in read(Document(index=place, text=text)).passes]
        slots = blocks_of(bundle.manifest.max_tokens, engine.block) * engine.block * WINDOWS_PER_BATCH["cpu"]
        groups = packs(windows, slots=slots, block=engine.block)
        tokens = sum(map(len, windows))
        orders = [
            Orders(
                sources=sources.find([str(folder / "notes.jsonl")]),
                manner=Manner(),
                ask=ask,
                folder=folder / f"out{turn}",
            )
            for turn in range(given.rounds)
        ]
        bare, whole = [], []
        for order in orders:
            bare.append(timed(lambda: [compute(engine, group, [lambda _: None] * len(group)) for group in groups]))
            whole.append(timed(lambda order=order: archive(order, house(bundle, engine), lambda _: None)))  # type: ignore[misc]
    told = {
        "task": task,
        "documents": given.documents,
        "tokens": tokens,
        "bare_tokens_per_second": tokens / statistics.median(one.wall for one in bare),
        "run_tokens_per_second": tokens / statistics.median(one.wall for one in whole),
        "of_bare_wall": statistics.median(a.wall / b.wall for a, b in zip(bare, whole, strict=True)),
        "of_bare_processors": statistics.median(a.processors / b.processors for a, b in zip(bare, whole, strict=True)),
    }
    for what, figure in told.items():
        print(f"{what:>24} {figure if isinstance(figure, str) else round(figure, 3)}")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
