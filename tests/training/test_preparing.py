"""A corpus from raw files, interrupted in every way: the result is that of an uninterrupted run, byte by byte."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drlongformer.errors import TrainingError
from drlongformer.training import tokenizer
from drlongformer.training.corpus import Corpus
from drlongformer.training.preparing import Plan, Progress, prepare
from drlongformer.training.recipes import TokenizerRecipe
from drlongformer.training.shards import Written

PLACES = ("fièvre", "toux", "douleur", "œdème", "asthénie", "nausée", "vertige", "prurit", "ictère", "dyspnée")
DOCUMENTS = 60
COPIES = 6
EMPTY = 2

# Kills itself with SIGKILL, or is stopped by the limit on file sizes, in a process of its own.
PROCESS = """
import json, os, resource, signal, sys
from dataclasses import fields
from pathlib import Path
from drlongformer.errors import TrainingError
from drlongformer.training.preparing import Plan, prepare

plan = json.loads(sys.argv[1])
paths = {"inputs": tuple(map(Path, plan.pop("inputs"))), **{name: Path(plan.pop(name)) for name in ("tokenizer", "output")}}
stage, documents, limit = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

def listener(progress):
    if (progress.stage, progress.documents) == (stage, documents):
        os.kill(os.getpid(), signal.SIGKILL)

try:
    prepare(Plan(**paths, **plan), listener)
except TrainingError as error:
    sys.exit(str(error))
"""


def note(number: int) -> str:
    """A text of its own: the digits of its number as findings."""
    digits = f"{number * 7919:06d}"
    findings = ", ".join(f"{PLACES[int(digit)]} depuis {place + number} jours" for place, digit in enumerate(digits))
    return f"Le patient numéro {number} signale {findings}. Tension {number + 100}/80, poids {number + 50} kg."


def raw(folder: Path) -> Path:
    """Sixty notes in three forms, six of them again with another end, two empty ones."""
    folder.mkdir()
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": note(i)}) + "\n" for i in range(30)))
    (folder / "b").mkdir()
    for number in range(30, DOCUMENTS):
        (folder / "b" / f"{number}.txt").write_text(note(number), encoding="utf-8")
    again = [f"{note(i)} Vu." for i in range(0, DOCUMENTS, DOCUMENTS // COPIES)]
    (folder / "c.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in [*again, " \n", "\u200b"]))
    return folder


def plan(folder: Path) -> Plan:
    learnt = tokenizer.train(lambda: map(note, range(DOCUMENTS)), TokenizerRecipe(vocab_size=300, min_documents=1))
    learnt.save(str(folder / "tokenizer.json"))
    return Plan(
        inputs=(raw(folder / "raw"),),
        tokenizer=folder / "tokenizer.json",
        output=folder / "whole",
        held_out=0.2,
        shard_tokens=800,
        commit_bytes=2500,
    )


def process(its: Plan, *, stage: str = "", documents: int = 0, limit: int = 0) -> subprocess.CompletedProcess[str]:
    names = ("inputs", "tokenizer", "output", "held_out", "shard_tokens", "commit_bytes", "duplicates")
    settings: dict[str, Any] = {name: getattr(its, name) for name in names}
    arguments = [json.dumps(settings | {"inputs": list(its.inputs)}, default=str), stage, str(documents), str(limit)]
    return subprocess.run([sys.executable, "-c", PROCESS, *arguments], capture_output=True, text=True, check=False)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_documents_go_cleaned_and_once_to_one_of_two_parts(tmp_path: Path) -> None:
    its = plan(tmp_path)
    report = prepare(its)
    assert (report["documents"], report["empty"], report["copies"]) == (DOCUMENTS + COPIES + EMPTY, EMPTY, COPIES)
    learnt = tokenizer.opened(its.tokenizer)
    train, held_out = Corpus(its.output / "train"), Corpus(its.output / "held_out")
    texts = {learnt.decode(part.read(i, 0, n).tolist()) for part in (train, held_out) for i, n in enumerate(part.lengths)}
    assert texts == {note(number) for number in range(DOCUMENTS)}
    assert len(train) + len(held_out) == DOCUMENTS
    assert 0 < len(held_out) < DOCUMENTS / 2
    assert train.tokenizer == tokenizer.digest(learnt)
    assert len(list((its.output / "train").glob("tokens-*.bin"))) > 2
    assert sorted(path.name for path in its.output.iterdir()) == ["held_out", "report.json", "train"]
    assert report["train"] == {"documents": len(train), "tokens": train.tokens}


def test_tokens_that_begin_words_are_marked(tmp_path: Path) -> None:
    its = plan(tmp_path)
    prepare(its)
    corpus, learnt = Corpus(its.output / "train"), tokenizer.opened(its.tokenizer)
    length = int(corpus.lengths[0])
    ids, starts = corpus.read(0, 0, length), corpus.starts(0, 0, length)
    firsts = np.flatnonzero(starts).tolist()
    words = [learnt.decode(part.tolist()).strip() for part in np.split(ids, firsts[1:])]
    assert words[:6] == ["Le", "patient", "numéro", "0", "signale", "fièvre"]


def test_which_documents_are_held_out_depends_on_their_text_alone(tmp_path: Path) -> None:
    its = plan(tmp_path)
    prepare(its)
    (tmp_path / "raw" / "b").rename(tmp_path / "raw" / "_first")
    prepare(replace(its, output=tmp_path / "moved", duplicates="exact"))
    held_out = [Corpus(folder / "held_out") for folder in (its.output, tmp_path / "moved")]
    one, other = ({tuple(part.read(i, 0, n)) for i, n in enumerate(part.lengths)} for part in held_out)
    assert one <= other


@pytest.mark.parametrize(
    ("stage", "documents"), [("survey", 1), ("survey", 17), ("survey", 66), ("tokens", 1), ("tokens", 23), ("tokens", 66)]
)
def test_a_killed_run_goes_on_to_the_same_bytes(stage: str, documents: int, tmp_path: Path) -> None:
    its = plan(tmp_path)
    prepare(its)
    interrupted = replace(its, output=tmp_path / "interrupted")
    assert process(interrupted, stage=stage, documents=documents).returncode == -9
    assert not (interrupted.output / "report.json").exists()
    first: list[Progress] = []
    prepare(interrupted, first.append)
    assert files(interrupted.output) == files(its.output)
    if documents == 23:
        assert {progress.stage for progress in first} == {"tokens"}
        assert 1 < first[0].documents <= 24


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    its = plan(tmp_path)
    prepare(its)
    full = replace(its, output=tmp_path / "full")
    for limit in (3000, 30_000):
        ended = process(full, limit=limit)
        assert ended.returncode == 1, limit
        assert "no room to write" in ended.stderr
        assert "make room and run the same command again" in ended.stderr
        assert "Traceback" not in ended.stderr
    committed = json.loads((full.output / "work" / "state.json").read_text())
    assert committed["survey"]["documents"] > 0
    again: list[Progress] = []
    prepare(full, again.append)
    assert files(full.output) == files(its.output)
    assert again[0].documents > committed["survey"]["documents"] or again[0].stage == "tokens"


def test_a_disk_that_is_full_of_tokens_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    its = replace(plan(tmp_path), duplicates="keep", shard_tokens=100_000)
    prepare(its)
    full = replace(its, output=tmp_path / "full")
    ended = process(full, limit=10_000)
    assert ended.returncode == 1
    assert "tokens-00000.bin" in ended.stderr
    committed = json.loads((full.output / "work" / "state.json").read_text())["tokens"]
    assert Written.of(committed["written"]["train"]).tokens > 0
    prepare(full)
    assert files(full.output) == files(its.output)


def test_a_finished_corpus_is_left_as_it_is(tmp_path: Path) -> None:
    its = plan(tmp_path)
    report = prepare(its)
    told: list[Progress] = []
    assert prepare(its, told.append) == report
    assert told == []


@pytest.mark.parametrize("change", [{"similarity": 0.9}, {"held_out": 0.3}])
def test_other_settings_do_not_go_on_in_the_same_folder(change: dict[str, float], tmp_path: Path) -> None:
    its = plan(tmp_path)
    process(its, stage="tokens", documents=9)
    other = replace(its, **change)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=f"holds a corpus of other {next(iter(change))}"):
        prepare(other)
    prepare(its)
    with pytest.raises(TrainingError, match=f"holds a corpus of other {next(iter(change))}"):
        prepare(other)


def test_input_that_changed_between_the_passes_is_told(tmp_path: Path) -> None:
    its = plan(tmp_path)
    process(its, stage="tokens", documents=3)
    path = tmp_path / "raw" / "a.jsonl"
    path.write_text(path.read_text().replace("patient num", "malade_ num"))
    with pytest.raises(TrainingError, match=r"a\.jsonl:\d+ changed while the corpus was made"):
        prepare(its)


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    its = plan(tmp_path)
    its.output.mkdir()
    (its.output / "thesis.txt").write_text("a")
    with pytest.raises(TrainingError, match="not empty and holds no unfinished corpus"):
        prepare(its)


def test_two_processes_do_not_write_one_corpus(tmp_path: Path) -> None:
    its = plan(tmp_path)
    process(its, stage="survey", documents=3)
    with (its.output / "work" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TrainingError, match="another process is writing"):
            prepare(its)


def test_a_part_without_documents_and_input_without_text_are_told(tmp_path: Path) -> None:
    its = plan(tmp_path)
    with pytest.raises(TrainingError, match="no document of 60 falls to held_out with a held-out share of 1e-09"):
        prepare(replace(its, output=tmp_path / "a", held_out=1e-9))
    (tmp_path / "empty.txt").write_text(" ")
    with pytest.raises(TrainingError, match="no text in 1 files"):
        prepare(replace(its, output=tmp_path / "b", inputs=(tmp_path / "empty.txt",)))


def test_one_document_is_a_corpus_where_none_is_held_out(tmp_path: Path) -> None:
    its = plan(tmp_path)
    (tmp_path / "one.txt").write_text(note(1), encoding="utf-8")
    one = replace(its, inputs=(tmp_path / "one.txt",))
    with pytest.raises(TrainingError, match=r"no document of 1 falls to .*: change --held-out; 0 holds none out"):
        prepare(one)
    stages: list[Progress] = []
    report = prepare(replace(one, held_out=0.0), stages.append)
    assert {progress.stage for progress in stages} == {"tokens"}, "the survey was made already"
    assert len(Corpus(its.output / "train")) == report["train"]["documents"] == 1
    assert report["held_out"] == {"documents": 0, "tokens": 0}
    assert not (its.output / "held_out").exists()


def test_what_could_not_be_read_is_mended_in_the_same_folder(tmp_path: Path) -> None:
    its = plan(tmp_path)
    (tmp_path / "wrong.txt").write_bytes("fièvre élevée".encode("cp1252"))
    wrong = replace(its, inputs=(*its.inputs, tmp_path / "wrong.txt"))
    with pytest.raises(TrainingError, match=r"wrong\.txt.* is not utf-8"):
        prepare(wrong)
    (tmp_path / "wrong.txt").write_text("fièvre élevée, toux", encoding="utf-8")
    assert prepare(wrong)["train"]["documents"] + prepare(wrong)["held_out"]["documents"] == 61


@pytest.mark.parametrize(
    "change", [{"similarity": 0.2}, {"held_out": 1.0}, {"held_out": -0.1}, {"duplicates": "most"}, {"shard_tokens": 0}]
)
def test_settings_out_of_range_are_told(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=str(next(iter(change.values())))):
        Plan(inputs=(), tokenizer=tmp_path, output=tmp_path, **change)
