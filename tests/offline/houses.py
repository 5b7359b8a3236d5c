"""What runs over files are tested with: a served model whose engine is a fake, files of invented notes, outputs read back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from drlongformer.offline import options, sources
from drlongformer.offline.archive import House, Orders, archive
from drlongformer.offline.asked import Ask, Written
from drlongformer.offline.reader import Manner
from drlongformer.offline.run import Figures
from drlongformer.serving.engine import Engine
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.reading import Limits
from drlongformer.serving.requests import RequestOptions
from tests.serving import bundles

SENTENCES = (
    "Le patient a de la fièvre et une toux sèche.",
    "Œdème des membres inférieurs, élevé à l’hôpital.",
    "Pas d'antécédent.",
    "Traitement par paracétamol 500 mg,\ntrois fois par jour ; « à surveiller ».",
    "Aujourd'hui la toux persiste, <mask> la fièvre non.",
)


def note(number: int) -> str:
    """An invented note, of one sentence to some twenty, that no other number has."""
    sentences = [SENTENCES[(number + place) % len(SENTENCES)] for place in range(1 + number % 7 * 3)]
    return f"Note {number}. {' '.join(sentences)}"


def jsonl(path: Path, records: Sequence[Any]) -> Path:
    """JSON lines; strings are written as they stand."""
    lines = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in records]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def notes(path: Path, count: int) -> Path:
    """Notes with ids as JSON lines."""
    return jsonl(path, [{"id": f"n{number}", "text": note(number)} for number in range(count)])


def house(folder: Path, engine: Engine | None = None) -> House:
    """The small bundle, served by a fake engine."""
    metrics = Metrics.create()
    models = bundles.models(folder / "store", metrics=metrics, engine=engine, max_queue_tokens=1 << 30)
    return House(models=models, metrics=metrics, limits=Limits())


def ask(task: str = "ner", written: Written | None = None, **own: Any) -> Ask:
    """A task with its options."""
    common = RequestOptions(priority="bulk", on_error="report")
    return options.asked(options.task_named(task), common, own, written or Written())


def orders(inputs: Path | Sequence[Path], output: Path, asked: Ask | None = None, **told: Any) -> Orders:
    """The orders of a run."""
    names = [inputs] if isinstance(inputs, Path) else inputs
    told |= {"manner": told.get("manner", Manner()), "part_documents": told.get("part_documents", 5)}
    return Orders(sources=sources.find([str(name) for name in names]), ask=asked or ask(), folder=output, **told)


def carried_out(given: Orders, at: House) -> Figures | None:
    """The run, told of to nobody; None where it was complete before."""
    done = archive(given, at, lambda _: None)
    return done if isinstance(done, Figures) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """An output read back: rows of `documents/`, of `answers/`, lines of `errors/`, each in order."""

    documents: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    errors: list[dict[str, Any]]

    @property
    def statuses(self) -> list[str]:
        return [row["status"] for row in self.documents]


def read(output: Path) -> Read:
    """Everything an output says."""
    return Read(documents=_rows(output / "documents"), answers=_rows(output / "answers"), errors=_rows(output / "errors"))


def manifest(output: Path) -> dict[str, Any]:
    """What an output says of itself."""
    content: dict[str, Any] = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    return content


def _rows(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".parquet":
            rows += pq.read_table(path).to_pylist()
        elif path.suffix == ".jsonl":
            rows += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return rows
