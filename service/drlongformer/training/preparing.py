"""From raw files to a corpus: read, clean, leave out copies, hold documents out, tokenise; an interrupted run goes on.

Two passes over the files (`passes.py`), so that memory stays bounded. Between them it is decided which documents stay and to
which part they go. The files of an interrupted run are those of an uninterrupted one, byte by byte.

    train/  held_out/     the corpus, two folders of the output as `shards.py` draws them
    report.json           what was read, left out and written; it comes last: with it the corpus is finished

While it grows, the folder `work` of the output holds state.json and survey.bin. Shapes: D documents with text.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from drlongformer.errors import TrainingError
from drlongformer.training import disk
from drlongformer.training.near_duplicates import same_text, similar_text
from drlongformer.training.passes import LEFT_OUT, Pass, Stage, Stand, survey, survey_row, tokenise
from drlongformer.training.reading_text import Encoding, Inputs
from drlongformer.training.shards import DESCRIPTION, PARTIAL_INDEX, SHARD_TOKENS, Writer
from drlongformer.training.tokenizer import as_served, digest, opened
from drlongformer.types import IntArray, Rule

Duplicates = Literal["near", "exact", "keep"]
TRAIN, HELD_OUT = "train", "held_out"
PARTS: Final = (TRAIN, HELD_OUT)
REPORT, WORK, STATE, SURVEY, LOCK = "report.json", "work", "state.json", "survey.bin", "lock"
COMMIT_BYTES = 16_000_000
LEAST_SIMILARITY = 0.5
SURVEYED: Final = ("field", "encoding", "duplicates", "input")
"""What the survey depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a corpus is made of and how.

    duplicates: `near` leaves out documents of at least `similarity`, `exact` those of equal text, `keep` none. held_out: share
    of the documents, chosen by a hash of the text; 0 writes no such part. normalisation: what is put right in cleaned texts
    before they become tokens, as the service will. commit_bytes: input between two commits, what an
    interruption can cost.
    """

    inputs: tuple[Path, ...]
    tokenizer: Path
    output: Path
    field: str = "text"
    encoding: Encoding = "utf-8"
    duplicates: Duplicates = "near"
    similarity: float = 0.8
    held_out: float = 0.01
    normalisation: tuple[Rule, ...] = ()
    shard_tokens: int = SHARD_TOKENS
    commit_bytes: int = COMMIT_BYTES

    def __post_init__(self) -> None:
        if self.duplicates not in get_args(Duplicates):
            raise TrainingError(f"duplicates {self.duplicates!r}, only {', '.join(get_args(Duplicates))}")
        if not LEAST_SIMILARITY <= self.similarity <= 1.0:
            raise TrainingError(f"a similarity of {self.similarity}, which must lie between {LEAST_SIMILARITY} and 1")
        if not 0.0 <= self.held_out < 1.0:
            raise TrainingError(f"a held-out share of {self.held_out}, which must be at least 0 and below 1")
        if min(self.shard_tokens, self.commit_bytes) < 1:
            raise TrainingError(
                f"shards of {self.shard_tokens} tokens, commits every {self.commit_bytes} bytes: at least 1 each"
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the folders that are written, by number."""
        return PARTS if self.held_out else (TRAIN,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a pass is: documents with text, and bytes of `total` bytes of input."""

    stage: Stage
    documents: int
    done: int
    total: int


Listener = Callable[[Progress], None]


def prepare(plan: Plan, listener: Listener = lambda _: None) -> dict[str, Any]:
    """Write the corpus, or what is left of it, and return its report; a finished one is left as it is.

    Raises TrainingError for input that cannot be read, a full disk, and a folder that holds something else.
    """
    inputs = Inputs(plan.inputs, field=plan.field, encoding=plan.encoding)
    tokenizer = opened(plan.tokenizer)
    described = _described(plan, inputs, digest(tokenizer))
    if (plan.output / REPORT).is_file():
        finished: dict[str, Any] = disk.read_json(plan.output / REPORT)
        _same(plan.output, finished["plan"], described)
        _cleared(plan.output)
        return finished
    with _alone(plan.output) as work:
        state = _State(work / STATE, plan, described)
        survey(state.begun("survey", inputs, listener), work / SURVEY, signed=plan.duplicates == "near")
        if not (work / SURVEY).stat().st_size:
            raise TrainingError(f"no text in {len(inputs.files)} files")
        rows = np.memmap(work / SURVEY, dtype=survey_row(signed=plan.duplicates == "near"), mode="r")
        stays, goes_to = _decided(plan, rows)
        its = state.begun("tokens", inputs, listener)
        folders = [plan.output / part for part in plan.parts]
        if not any((folder / DESCRIPTION).is_file() for folder in folders):
            served = as_served(tokenizer, normalisation=plan.normalisation)
            tokenise(its, folders, goes_to, rows["digest"], served, shard_tokens=plan.shard_tokens)
        content = _finished(plan, its.stand, described, copies=int((stays != np.arange(len(stays))).sum()))
        disk.replace_json(plan.output / REPORT, content)
    _cleared(plan.output)
    return content


class _State:
    """state.json of the folder `work`: the plan, and where each pass stands.

    Until tokens are written the plan may be mended: a survey of the same texts is kept, of others made anew.
    """

    def __init__(self, path: Path, plan: Plan, described: dict[str, Any]) -> None:
        self._path, self._plan = path, plan
        found: dict[str, Any] = disk.read_json(path) if path.is_file() else {"plan": described}
        if any((plan.output / part).exists() for part in PARTS):
            _same(plan.output, found["plan"], described)
        surveyed = all(found["plan"].get(name) == described[name] for name in SURVEYED)
        self._content = found | {"plan": described} if surveyed else {"plan": described}

    def begun(self, stage: Stage, inputs: Inputs, listener: Listener) -> Pass:
        """A pass from where it stands."""
        stand = Stand.of(self._content[stage]) if stage in self._content else Stand()

        def keep() -> None:
            self._content[stage] = asdict(stand)
            disk.replace_json(self._path, self._content)

        def tell(stand: Stand) -> None:
            listener(Progress(stage=stage, documents=stand.documents, done=stand.done, total=inputs.size))

        return Pass(inputs=inputs, stand=stand, keep=keep, tell=tell, commit_bytes=self._plan.commit_bytes)


def _decided(plan: Plan, rows: NDArray[np.void]) -> tuple[IntArray, IntArray]:
    """For each document `[D]` the one that stays for it (itself, if it stays), and its part's number or LEFT_OUT.

    Raises TrainingError where a part would hold no document.
    """
    stays = np.arange(len(rows))
    if plan.duplicates == "near":
        stays = similar_text(rows["signature"], plan.similarity)
    elif plan.duplicates == "exact":
        stays = same_text(rows["digest"])
    held_out = rows["digest"] < np.uint64(int(plan.held_out * 2**64))
    goes_to = np.where(stays == np.arange(len(stays)), held_out.astype(np.int64), LEFT_OUT)
    for number, part in enumerate(plan.parts):
        if not (goes_to == number).any():
            left = int((goes_to != LEFT_OUT).sum())
            raise TrainingError(
                f"no document of {left} falls to {part} with a held-out share of {plan.held_out}:"
                " change --held-out; 0 holds none out"
            )
    return stays, goes_to


def _finished(plan: Plan, stand: Stand, described: dict[str, Any], *, copies: int) -> dict[str, Any]:
    """Close both parts and tell what was done."""
    content: dict[str, Any] = {"plan": described, "documents": stand.documents + stand.empty, "empty": stand.empty}
    content |= {"copies": copies, "without_tokens": stand.without_tokens}
    content[HELD_OUT] = {"documents": 0, "tokens": 0}
    for part in plan.parts:
        folder, written = plan.output / part, stand.written[part]
        if not (folder / DESCRIPTION).is_file():
            with Writer(folder, shard_tokens=plan.shard_tokens, written=written) as writer:
                writer.finish(labels=(), tokenizer=described["tokenizer"], normalisation=plan.normalisation)
        (folder / PARTIAL_INDEX).unlink(missing_ok=True)  # left where an earlier run ended between two steps of `finish`
        content[part] = {"documents": written.documents, "tokens": written.tokens}
    return content


def _described(plan: Plan, inputs: Inputs, tokenizer: str) -> dict[str, Any]:
    """What must be the same for a run to go on: settings, tokenizer, names and sizes of the files."""
    settings = ("field", "encoding", "duplicates", "similarity", "held_out", "shard_tokens")
    files = {"files": len(inputs.files), "bytes": inputs.size, "names and sizes": inputs.digest}
    made = {"normalisation": list(plan.normalisation), "tokenizer": tokenizer, "input": files}
    return {name: getattr(plan, name) for name in settings} | made


def _same(output: Path, found: dict[str, Any], described: dict[str, Any]) -> None:
    different = [name for name, value in described.items() if found.get(name) != value]
    if different:
        raise TrainingError(f"{output} holds a corpus of other {', '.join(different)}: choose another folder, or empty it")


def _cleared(output: Path) -> None:
    if (output / WORK).is_dir():
        shutil.rmtree(output / WORK)


@contextmanager
def _alone(output: Path) -> Iterator[Path]:
    """The work folder, held by this process alone; raises TrainingError where another has it or the output is not ours."""
    work = output / WORK
    if output.exists() and not work.is_dir() and any(output.iterdir()):
        raise TrainingError(f"{output} is not empty and holds no unfinished corpus: choose another folder")
    work.mkdir(parents=True, exist_ok=True)
    with (work / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(f"another process is writing {output}") from None
        yield work
