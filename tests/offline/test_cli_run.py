"""`drlongformer run` as it is typed: exit codes, one sentence for each error, kills at any time, a full disk, no text told."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from drlongformer import settings
from tests.api.logging_state import restored
from tests.offline.houses import Read, jsonl, manifest, note, notes, read
from tests.serving import bundles
from tests.test_cli import run, told

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    with restored():
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the bundle whose graph was made by hand."""
    return bundles.write(tmp_path_factory.mktemp("store")).folder.parents[1]


def started(*arguments: str | Path, limit_bytes: int | None = None) -> subprocess.Popen[str]:
    """The command in a process of its own, with files of at most so many bytes."""

    def limited() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    inherited = {name: value for name, value in os.environ.items() if not name.startswith(settings.PREFIX)}
    return subprocess.Popen(
        [sys.executable, "-c", "from drlongformer.cli import app; app()", "run", *map(str, arguments)],
        env=inherited | {"PYTHONPATH": str(ROOT / "service"), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limited,  # noqa: PLW1509 - the limit is for the new process alone
    )


def test_a_run_tells_what_came_of_it_and_bad_records_by_its_exit_code(tmp_path: Path, store: Path) -> None:
    arguments = ("run", "ner", "--store", str(store), "--threads", "1")
    good = notes(tmp_path / "good.jsonl", 7)
    result = run(*arguments, "--input", str(good), "--output", str(tmp_path / "a"))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("7 of 7 documents answered; ")
    assert "tokens/s" in result.stdout
    again = run(*arguments, "--input", str(good), "--output", str(tmp_path / "a"), "--resume")
    assert (again.exit_code, "complete already" in again.stdout) == (0, True)

    table = tmp_path / "export.csv"
    table.write_bytes("id;text\n1;Fièvre élevée à l’hôpital, œdème.\n".encode("cp1252"))
    result = run(*arguments, "--input", str(table), "--output", str(tmp_path / "t"))
    assert (result.exit_code, result.stderr.strip()) == (0, "read as cp1252: 1 file")
    assert manifest(tmp_path / "t")["encodings"] == {"cp1252": 1}

    mixed = jsonl(tmp_path / "mixed.jsonl", [{"text": note(0)}, "{", {"text": "Mme-Canari", "id": []}])
    result = run(*arguments, "--input", str(mixed), "--output", str(tmp_path / "b"))
    assert result.exit_code == 3
    again = run(*arguments, "--input", str(mixed), "--output", str(tmp_path / "b"), "--resume")
    assert (again.exit_code, "2 failed then" in again.stdout) == (3, True)
    assert result.stdout.startswith("1 of 3 documents answered, 2 failed (see ")
    assert "Canari" not in result.output
    assert len(read(tmp_path / "b").errors) == 2

    result = run(*arguments, "--input", str(good), "--output", str(tmp_path / "c"), "--only-new", str(tmp_path / "a"))
    assert result.stdout.startswith("0 of 7 documents answered, 7 known; ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("translate", "--input", "{notes}", "--output", "{out}"), "no task 'translate' for files"),
        (("ner", "--input", "{notes}"), "--output names the folder"),
        (("ner", "--input", "nobody.jsonl", "--output", "{out}"), "there is no file or folder nobody.jsonl"),
        (("embed", "--input", "{notes}", "--output", "{out}", "--format", "brat"), "no format 'brat' for embed"),
        (("embed", "--input", "{notes}", "--output", "{out}", "--label", "X"), "embed knows no --label"),
        (("ner", "--input", "{notes}", "--output", "{out}", "--chunks", "sentences"), "ner knows no --chunks"),
        (("similarity", "--input", "{notes}", "--output", "{out}", "--text-column", "x"), "a pair has no --text-column"),
        (("ner", "--input", "{notes}", "--output", "{out}", "--label", "X"), "label 0 is unknown"),
        (("ner", "--input", "{notes}", "--output", "{out}", "--head", "X"), "has no such head"),
        (("ner", "--input", "{notes}", "--output", "{out}", "--model", "nobody"), "no model 'nobody'"),
        (("ner", "--input", "{notes}", "--output", "{out}", "--encoding", "rot13"), "is no encoding"),
        (("ner", "--input", "{notes}", "--output", "{out}", "--delimiter", "::"), "--delimiter is one character"),
        (("ner", "--input", "{notes}", "--output", "{notes}"), "cannot be written"),
        (("ner", "--input", "{notes}", "--output", "{out}", "--only-new", "{store}"), "is no output of a run"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(
    tmp_path: Path, store: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    places = {"notes": notes(tmp_path / "notes.jsonl", 2), "out": tmp_path / "out", "store": store}
    given = [argument.format(**places) for argument in arguments]
    assert sentence in told(run("run", *given, "--store", str(store), "--threads", "1"))


def test_several_models_for_a_task_want_a_name(tmp_path: Path) -> None:
    for name in ("one", "other"):
        bundles.write(tmp_path / "store", name=name)
    arguments = ("run", "ner", "--input", str(notes(tmp_path / "n.jsonl", 2)), "--store", str(tmp_path / "store"))
    sentence = told(run(*arguments, "--output", str(tmp_path / "out"), "--threads", "1"))
    assert "several models have the task 'ner': one, other; name one with --model" in sentence
    assert run(*arguments, "--output", str(tmp_path / "out"), "--threads", "1", "--model", "other:1").exit_code == 0


def test_an_estimate_writes_nothing(tmp_path: Path, store: Path) -> None:
    path = notes(tmp_path / "notes.jsonl", 40)
    before = set(tmp_path.rglob("*"))
    result = run("run", "embed", "--input", str(path), "--store", str(store), "--threads", "1", "--estimate")
    assert result.exit_code == 0, result.output
    tokens = sum(row["tokens"] for row in _answered(path, tmp_path / "out", store))
    assert "40 documents (0 bad records)" in result.stdout
    assert f"about {tokens:,} tokens" in result.stdout  # every document is in so small a sample
    assert "likely" in result.stdout
    assert set(tmp_path.rglob("*")) - {path} >= before - {path}


def _answered(path: Path, output: Path, store: Path) -> list[dict[str, int]]:
    arguments = ("run", "embed", "--input", str(path), "--store", str(store), "--threads", "1", "--output", str(output))
    assert run(*arguments).exit_code == 0
    return read(output).documents


def test_a_full_disk_is_told_in_one_sentence_and_nothing_written_is_lost(tmp_path: Path, store: Path) -> None:
    path, output = notes(tmp_path / "notes.jsonl", 400), tmp_path / "full"
    arguments = ("embed", "--input", path, "--output", output, "--store", store, "--threads", "1", "--part-documents", "150")
    with started(*arguments, limit_bytes=6_000) as process:
        stdout, stderr = process.communicate(timeout=250)
    assert process.returncode == 1, stdout
    assert stderr.startswith("Error: no room to write")
    assert "--resume" in stderr
    assert "Traceback" not in stderr
    with started(*arguments, "--resume") as process:
        _, stderr = process.communicate(timeout=250)
    assert process.returncode == 0, stderr
    assert [row["record"] for row in read(tmp_path / "full").documents] == list(range(400))


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_to_every_record_exactly_once(tmp_path: Path, store: Path) -> None:
    count = 600
    path, output = notes(tmp_path / "notes.jsonl", count), tmp_path / "out"
    arguments = ("ner", "--input", path, "--output", output, "--store", store, "--threads", "1", "--part-documents", "20")
    kills, records = 0, 0
    for delay in (0.0, 0.03, 0.1, None):
        with started(*arguments, "--resume") as process:
            if delay is None:
                _, stderr = process.communicate(timeout=240)
                assert process.returncode == 0, stderr
                break
            _wait_for_a_part(process, output, after=records)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
        kills += process.returncode == -signal.SIGKILL
        finished = sum(pq.read_metadata(part).num_rows for part in (output / "documents").glob("part-*.parquet"))
        assert finished >= records
        records = finished
    assert kills >= 2
    whole = read(output)
    assert [row["record"] for row in whole.documents] == list(range(count))
    assert {row["status"] for row in whole.documents} == {"answered"}
    for form in ("answers", "documents"):
        assert not list((output / form).glob(".unfinished*"))
    assert whole.answers == _uninterrupted(path, tmp_path / "whole", store)
    assert manifest(output)["totals"]["answered"] == count


def test_a_run_stopped_by_hand_keeps_what_it_has_and_says_how_to_go_on(tmp_path: Path, store: Path) -> None:
    output = tmp_path / "out"
    arguments = ("ner", "--input", notes(tmp_path / "n.jsonl", 6000), "--output", output, "--store", store, "--threads", "1")
    with started(*arguments, "--part-documents", "20") as process:
        _wait_for_a_part(process, output, after=0)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=240)
    assert (process.returncode, stderr.strip()) == (130, f"Stopped; the same command with --resume goes on from {output}")
    assert 20 <= len(read(output).documents) < 6000


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_ten_thousand_documents_come_out_exactly_once_whenever_the_run_is_killed(tmp_path: Path, store: Path) -> None:
    count, part, moments = 10_000, 250, random.Random(22)
    texts = [f"Note {number}. Pas de fièvre, toux sèche." for number in range(count)]
    path = jsonl(tmp_path / "notes.jsonl", [{"id": f"n{number}", "text": text} for number, text in enumerate(texts)])
    arguments = ("ner", "--input", path, "--output", tmp_path / "out", "--store", store, "--threads", "1")
    kills, done, limit = 0, 0, 0
    while True:
        with started(*arguments, "--part-documents", str(part), "--resume") as process:
            limit = min(done + moments.randrange(1, 12) * part, count)
            if kills < 5:
                _wait_for_a_part(process, tmp_path / "out", after=limit - part, part=part)
                time.sleep(moments.random() / 4)
                process.send_signal(signal.SIGKILL)
            _, stderr = process.communicate(timeout=1200)
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, stderr
            break
        kills, done = kills + 1, len(list((tmp_path / "out" / "documents").glob("part-*.parquet"))) * part
    assert kills >= 3
    whole = read(tmp_path / "out")
    assert [(row["record"], row["id"], row["status"]) for row in whole.documents] == [
        (number, f"n{number}", "answered") for number in range(count)
    ]
    assert len({(row["record"], row["start"]) for row in whole.answers}) == len(whole.answers) > count
    assert all(texts[row["record"]][row["start"] : row["end"]] == row["text"] for row in whole.answers)
    assert manifest(tmp_path / "out")["totals"] == {"records": count, "tokens": _tokens(whole), "answered": count}


def _tokens(whole: Read) -> int:
    return sum(row["tokens"] for row in whole.documents)


def _wait_for_a_part(process: subprocess.Popen[str], output: Path, *, after: int, part: int = 20) -> None:
    """Return when more records than that have their outcome, or the process has ended."""
    end = time.monotonic() + 1200
    while process.poll() is None and time.monotonic() < end:
        if len(list((output / "documents").glob("part-*.parquet"))) * part > after:
            return
        time.sleep(0.01)


def _uninterrupted(path: Path, output: Path, store: Path) -> list[dict[str, object]]:
    arguments = ("ner", "--input", path, "--output", output, "--store", store, "--threads", "1")
    with started(*arguments) as process:
        _, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    return read(output).answers


@pytest.mark.slow
def test_the_embedded_model_answers_every_task_of_an_archive(tmp_path: Path) -> None:
    texts = ["Patient de 62 ans, douleur thoracique depuis 3 jours.", "Le <mask> prend un comprimé par jour."]
    path = jsonl(tmp_path / "notes.jsonl", [{"note_id": 5 + number, "note_text": text} for number, text in enumerate(texts)])
    common = ("--input", str(path), "--store", str(ROOT / "model_store"), "--threads", "1")
    for task, form in (("embed", "parquet"), ("ner", "note-nlp"), ("classify", "jsonl")):
        result = run("run", task, *common, "--output", str(tmp_path / task), "--format", form)
        assert result.exit_code == 0, result.output
        assert {row["id"] for row in read(tmp_path / task).documents} == {"5", "6"}
    result = run("run", "fill-mask", *common, "--output", str(tmp_path / "words"))
    assert result.exit_code == 3
    assert [row["error"] for row in read(tmp_path / "words").errors] == ["mask_error"]
    assert [row["rank"] for row in read(tmp_path / "words").answers] == [1, 2, 3, 4, 5]
    pairs = jsonl(tmp_path / "pairs.jsonl", [{"text1": texts[0], "text2": texts[0]}, {"text1": texts[0], "text2": texts[1]}])
    result = run("run", "similarity", "--input", str(pairs), *common[2:], "--output", str(tmp_path / "pairs"))
    assert result.exit_code == 0, result.output
    same, other = read(tmp_path / "pairs").answers
    assert same["score"] == pytest.approx(1, abs=1e-6)
    assert other["score"] < 0.99
    assert same["method"] == "cosine"
    asked = {"question": "De quoi souffre le patient ?", "options": {"a": "d'angor", "b": "de surdité"}, "context": texts[0]}
    questions = jsonl(tmp_path / "questions.jsonl", [asked])
    result = run("run", "multiple-choice", "--input", str(questions), *common[2:], "--output", str(tmp_path / "questions"))
    assert result.exit_code == 0, result.output
    assert [choice["option"] for choice in read(tmp_path / "questions").answers[0]["choices"]] == ["a", "b"]
    redacting = ("--output", str(tmp_path / "redacted"), "--head", "deid", "--redact", "--no-text")
    assert run("run", "ner", *common, *redacting).exit_code == 0
    assert len(read(tmp_path / "redacted").answers) == 2
    schema = pq.read_schema(tmp_path / "embed" / "answers" / "part-00000.parquet")
    assert json.loads(schema.metadata[b"drlongformer"])["model"]["name"] == "drlongformer-mini"
