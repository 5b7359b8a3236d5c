"""A run gives every record exactly one outcome: whatever the order of computing, bad records, interruptions and resumptions."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drlongformer.errors import EngineFailed, InvalidRequest, RunError, UnknownLabel
from drlongformer.offline.archive import House
from drlongformer.offline.asked import Format, Written
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models, serve
from drlongformer.serving.pipeline import Pipeline
from drlongformer.serving.reading import Limits
from drlongformer.serving.requests import EmbedOptions, NerOptions
from drlongformer.types import Document
from tests.offline.houses import ask, carried_out, house, jsonl, manifest, note, notes, orders, read
from tests.serving import bundles
from tests.text import tiny


def everything(output: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """What an output says, without the fingerprints, whose key is drawn anew for every output."""
    whole = read(output)
    documents = [{name: value for name, value in row.items() if name != "fingerprint"} for row in whole.documents]
    return documents, whole.answers, whole.errors


def test_every_record_is_answered_once_and_in_order(tmp_path: Path) -> None:
    figures = carried_out(orders(notes(tmp_path / "notes.jsonl", 23), tmp_path / "out"), house(tmp_path))
    whole = read(tmp_path / "out")
    assert figures is not None
    assert figures.statuses == {"answered": 23}
    assert [row["record"] for row in whole.documents] == list(range(23))
    assert [row["id"] for row in whole.documents] == [f"n{number}" for number in range(23)]
    assert [row["at"] for row in whole.documents] == list(range(1, 24))
    assert len(list((tmp_path / "out" / "documents").iterdir())) == 5
    assert manifest(tmp_path / "out")["state"] == "complete"
    assert manifest(tmp_path / "out")["totals"]["answered"] == 23
    for row in whole.answers:
        assert note(row["record"])[row["start"] : row["end"]] == row["text"]
    assert len({row["record"] for row in whole.answers}) > 10


async def served(folder: Path, texts: list[str]) -> tuple[Any, Any]:
    """What the pipeline answers when each text is asked alone."""
    at = house(folder)
    pipeline = Pipeline(at.models, at.metrics)
    await pipeline.start()
    ner, embedded = [], []
    for text in texts:
        [one] = (await pipeline.ner([Document(index=0, text=text)], NerOptions())).results
        ner.append(one.answer)
        [other] = (await pipeline.embed([Document(index=0, text=text)], EmbedOptions())).results
        embedded.append(other.answer)
    await pipeline.stop()
    return ner, embedded


def test_answers_are_those_of_the_service_to_the_last_bit(tmp_path: Path) -> None:
    ner, embedded = asyncio.run(served(tmp_path / "served", [note(number) for number in range(12)]))
    path = notes(tmp_path / "notes.jsonl", 12)
    carried_out(orders(path, tmp_path / "ner"), house(tmp_path))
    found = read(tmp_path / "ner").answers
    assert [(row["record"], row["label"], row["start"], row["end"], row["score"]) for row in found] == [
        (record, each.label, each.start, each.end, each.score) for record, one in enumerate(ner) for each in one.entities
    ]
    carried_out(orders(path, tmp_path / "embed", ask("embed")), house(tmp_path / "other"))
    assert [row["embedding"] for row in read(tmp_path / "embed").answers] == [one.vector.tolist() for one in embedded]


def test_bad_records_are_told_by_place_and_the_others_are_answered(tmp_path: Path) -> None:
    canary = "Mme-Canari-née-en-1931"
    records = [
        {"id": "a", "text": note(0)},
        f'{{"text": "{canary}',
        {"id": "b", "text": 5},
        {"id": "c"},
        f'["{canary}"]',
        {"id": "d", "text": " \u200b"},
        {"id": {"x": canary}, "text": note(1)},
        f'{{"id": "e", "text": "\\ud800 {canary}"}}',
        {"id": "f", "text": note(2)},
    ]
    path = jsonl(tmp_path / "notes.jsonl", records)
    figures = carried_out(orders(path, tmp_path / "out"), house(tmp_path))
    whole = read(tmp_path / "out")
    assert figures is not None
    assert figures.statuses == {"answered": 2, "failed": 7}
    assert [row["record"] for row in whole.errors] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["line"] for row in whole.errors] == [2, 3, 4, 5, 6, 7, 8]
    assert {row["file"] for row in whole.errors} == {str(path)}
    assert [row["error"] for row in whole.errors] == ["bad_record"] * 4 + ["empty_text", "bad_record", "malformed_body"]
    told = "".join(file.read_text(encoding="utf-8") for file in (tmp_path / "out" / "errors").iterdir())
    assert canary not in told
    assert canary not in (tmp_path / "out" / "manifest.json").read_text(encoding="utf-8")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_run_that_was_stopped_anywhere_goes_on_to_the_same_output(data: st.DataObject, tmp_path: Path) -> None:
    """What a kill leaves: the parts up to some number, perhaps answers of the next ones, perhaps hidden rests."""
    count, bad = data.draw(st.integers(1, 14)), data.draw(st.sets(st.integers(0, 13), max_size=4))
    task = data.draw(st.sampled_from(["ner", "embed", "classify"]))
    form: Format = data.draw(st.sampled_from(["parquet", "jsonl"]))
    part = data.draw(st.integers(1, 5))
    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        folder = Path(name)
        records = ["{" if number in bad else {"id": str(number), "text": note(number)} for number in range(count)]
        path, at = jsonl(folder / "notes.jsonl", records), house(folder)
        asked = ask(task, Written(format=form))
        carried_out(orders(path, folder / "whole", asked, part_documents=part), at)
        whole = everything(folder / "whole")

        shutil.copytree(folder / "whole", folder / "cut")
        ledgers = sorted((folder / "cut" / "documents").iterdir())
        kept = data.draw(st.integers(0, len(ledgers) - 1))
        for ledger in ledgers[kept:]:
            ledger.unlink()
        for rest in (*(folder / "cut" / "answers").iterdir(), *(folder / "cut" / "errors").iterdir()):
            if int(rest.stem.removeprefix("part-")) >= kept and data.draw(st.booleans()):
                rest.unlink()
        (folder / "cut" / "answers" / ".unfinished-part-00000.parquet").write_bytes(b"half")
        running = manifest(folder / "cut") | {"state": "running"}
        (folder / "cut" / "manifest.json").write_text(json.dumps(running), encoding="utf-8")

        again = orders(path, folder / "cut", asked, part_documents=data.draw(st.integers(1, 5)), resume=True)
        figures = carried_out(again, house(folder / "again"))
        assert figures is not None
        assert figures.records == count
        assert everything(folder / "cut") == whole
        assert not list((folder / "cut").rglob(".unfinished-*"))


def test_resuming_asks_only_what_has_no_answer_yet(tmp_path: Path) -> None:
    path = notes(tmp_path / "notes.jsonl", 12)
    carried_out(orders(path, tmp_path / "out"), house(tmp_path))
    (tmp_path / "out" / "documents" / "part-00002.parquet").unlink()
    running = manifest(tmp_path / "out") | {"state": "running"}
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(running), encoding="utf-8")
    engine = bundles.fake_engine()
    carried_out(orders(path, tmp_path / "out", resume=True), house(tmp_path / "again", engine))
    asked = sum(len(batch.shares) for batch in engine.batches)
    windows = [row["windows"] for row in read(tmp_path / "out").documents]
    assert asked == sum(windows[10:])
    assert 0 < asked < sum(windows)


def test_resuming_what_is_complete_does_nothing_and_what_is_not_begun_begins(tmp_path: Path) -> None:
    path = notes(tmp_path / "notes.jsonl", 3)
    assert carried_out(orders(path, tmp_path / "out", resume=True), house(tmp_path)) is not None
    before = read(tmp_path / "out")
    assert carried_out(orders(path, tmp_path / "out", resume=True), house(tmp_path / "again")) is None
    assert read(tmp_path / "out") == before


def test_a_run_killed_before_its_first_part_can_be_gone_on_with(tmp_path: Path) -> None:
    output = interrupted(tmp_path, 3)
    for name in ("documents", "answers", "errors"):
        shutil.rmtree(output / name)
    assert carried_out(orders(tmp_path / "notes.jsonl", output, resume=True), house(tmp_path)) is not None
    assert read(output).statuses == ["answered"] * 3
    for entry in output.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
    (output / "manifest.json").unlink()  # killed even before that: the key and the lock are all there is
    assert carried_out(orders(tmp_path / "notes.jsonl", output), house(tmp_path / "again")) is not None
    assert read(output).statuses == ["answered"] * 3


def interrupted(tmp_path: Path, count: int = 12) -> Path:
    """An output whose last part is missing."""
    output = tmp_path / "out"
    carried_out(orders(notes(tmp_path / "notes.jsonl", count), output), house(tmp_path / "first"))
    max((output / "documents").iterdir()).unlink()
    running = manifest(output) | {"state": "running"}
    (output / "manifest.json").write_text(json.dumps(running), encoding="utf-8")
    return output


def test_resuming_with_other_options_is_refused_by_name(tmp_path: Path) -> None:
    output, path = interrupted(tmp_path), tmp_path / "notes.jsonl"
    before = read(output)
    with pytest.raises(RunError, match=r"options\.min_score was 0\.0 and is 0\.5"):
        carried_out(orders(path, output, ask("ner", min_score=0.5), resume=True), house(tmp_path))
    with pytest.raises(RunError, match=r'task was "ner" and is "embed"'):
        carried_out(orders(path, output, ask("embed"), resume=True), house(tmp_path / "2"))
    with pytest.raises(RunError, match=r'written\.format was "parquet" and is "jsonl"'):
        carried_out(orders(path, output, ask("ner", Written(format="jsonl")), resume=True), house(tmp_path / "3"))
    assert read(output) == before


def test_resuming_with_another_model_is_refused(tmp_path: Path) -> None:
    output = interrupted(tmp_path)
    metrics, engine = Metrics.create(), bundles.fake_engine()
    model = serve(bundles.write(tmp_path / "other", version=7), engine, metrics=metrics)
    other = House(models=Models([model]), metrics=metrics, limits=Limits())
    with pytest.raises(RunError, match=r"model\.version was 1 and is 7"):
        carried_out(orders(tmp_path / "notes.jsonl", output, resume=True), other)


def test_resuming_with_another_input_is_refused(tmp_path: Path) -> None:
    output, path = interrupted(tmp_path), tmp_path / "notes.jsonl"
    content = path.read_text(encoding="utf-8")
    path.write_text(content + "\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"input\.sources was .* and is "):
        carried_out(orders(path, output, resume=True), house(tmp_path))
    path.write_text(content.replace("Note 3.", "Note 4."), encoding="utf-8")
    with pytest.raises(RunError, match="line 4 is not what it was when it was answered"):
        carried_out(orders(path, output, resume=True), house(tmp_path / "2"))
    blank = " " * len(content.encode().split(b"\n", 2)[2])
    path.write_text("\n".join([*content.split("\n", 2)[:2], blank]), encoding="utf-8")
    with pytest.raises(RunError, match="the input has 2 records, 10 were answered"):
        carried_out(orders(path, output, resume=True), house(tmp_path / "3"))


def test_an_output_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    path = notes(tmp_path / "notes.jsonl", 3)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    for resume in (False, True):
        with pytest.raises(RunError, match="is not empty"):
            carried_out(orders(path, tmp_path / "out", resume=resume), house(tmp_path / str(resume)))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_folder_that_is_read_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("Toux.", encoding="utf-8")
    with pytest.raises(RunError, match="lies inside the input"):
        carried_out(orders(tmp_path / "texts", tmp_path / "texts" / "out"), house(tmp_path))


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    from drlongformer.offline.output import Output

    output = interrupted(tmp_path)
    with (
        Output.resume(output, manifest(output)["asked"]),
        pytest.raises(RunError, match="another run is writing"),
    ):
        carried_out(orders(tmp_path / "notes.jsonl", output, resume=True), house(tmp_path))


def test_only_new_documents_are_asked_night_after_night(tmp_path: Path) -> None:
    first = [{"id": str(number), "text": note(number)} for number in range(8)]
    second = [*first[:6], {"id": "6", "text": "Le texte a changé."}, {"id": "8", "text": note(8)}, {"text": note(0)}]
    third = [*second, {"id": "9", "text": note(9)}]
    outputs = [tmp_path / f"night{number}" for number in (1, 2, 3)]
    carried_out(orders(jsonl(tmp_path / "1.jsonl", [*first, "{"]), outputs[0]), house(tmp_path / "a"))
    carried_out(orders(jsonl(tmp_path / "2.jsonl", second), outputs[1], only_new=outputs[0]), house(tmp_path / "b"))
    engine = bundles.fake_engine()
    carried_out(orders(jsonl(tmp_path / "3.jsonl", third), outputs[2], only_new=outputs[1]), house(tmp_path / "c", engine))
    assert read(outputs[1]).statuses == ["known"] * 6 + ["answered"] * 3
    assert read(outputs[2]).statuses == ["known"] * 8 + ["answered"] * 2  # a document without an id is never known
    assert {row["record"] for row in read(outputs[2]).answers} <= {8, 9}
    assert engine.batches


def test_what_was_not_answered_before_is_asked_again(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "1.jsonl", [{"id": "a", "text": " "}, {"id": "b", "text": "Toux."}])
    carried_out(orders(path, tmp_path / "first"), house(tmp_path / "a"))
    carried_out(orders(path, tmp_path / "second", only_new=tmp_path / "first"), house(tmp_path / "b"))
    assert read(tmp_path / "second").statuses == ["failed", "known"]


def test_a_former_output_of_other_options_is_refused(tmp_path: Path) -> None:
    path = notes(tmp_path / "notes.jsonl", 3)
    carried_out(orders(path, tmp_path / "first"), house(tmp_path / "a"))
    with pytest.raises(RunError, match="was made with another options"):
        carried_out(
            orders(path, tmp_path / "second", ask("ner", min_score=0.5), only_new=tmp_path / "first"), house(tmp_path / "b")
        )
    assert not (tmp_path / "second").exists()


def test_options_that_cannot_be_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = notes(tmp_path / "notes.jsonl", 3)
    with pytest.raises(UnknownLabel):
        carried_out(orders(path, tmp_path / "out", ask("ner", labels=("NOBODY",))), house(tmp_path / "a"))
    with pytest.raises(InvalidRequest):
        carried_out(orders(path, tmp_path / "out", ask("embed", dimensions=99)), house(tmp_path / "b"))
    assert not (tmp_path / "out").exists()


def test_a_document_that_breaks_the_engine_fails_alone(tmp_path: Path) -> None:
    [encoded] = tiny.tokenizer("bytes").encode_batch(["§"])
    records = [{"id": str(number), "text": "§" if number == 3 else "la toux"} for number in range(6)]
    engine = bundles.fake_engine(fail_on=int(encoded.ids[-1]))
    carried_out(orders(jsonl(tmp_path / "n.jsonl", records), tmp_path / "out", ask("embed")), house(tmp_path, engine))
    assert Counter(read(tmp_path / "out").statuses) == {"answered": 5, "failed": 1}
    assert [(row["record"], row["error"]) for row in read(tmp_path / "out").errors] == [(3, "engine_failed")]


def test_an_engine_that_answers_nothing_ends_the_run_and_keeps_what_was_answered(tmp_path: Path) -> None:
    [encoded] = tiny.tokenizer("bytes").encode_batch(["§"])
    records = [{"id": str(number), "text": "la toux" if number < 40 else "§"} for number in range(80)]
    engine = bundles.fake_engine(fail_on=int(encoded.ids[-1]))
    with pytest.raises(EngineFailed, match="documents in a row failed in the engine"):
        carried_out(orders(jsonl(tmp_path / "n.jsonl", records), tmp_path / "out"), house(tmp_path, engine))
    assert set(read(tmp_path / "out").statuses) == {"answered"}
    assert 30 <= len(read(tmp_path / "out").statuses) <= 40
    assert manifest(tmp_path / "out")["state"] == "running"


def test_an_input_of_which_nothing_can_be_read_ends_the_run_early(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "n.jsonl", [{"id": "a", "texte": "x"}] * 1200)
    with pytest.raises(RunError, match=r"none of the first 1000 records can be read; .*line 1000: there is no 'text'"):
        carried_out(orders(path, tmp_path / "out"), house(tmp_path))
    with pytest.raises(RunError, match="holds no record"):
        carried_out(orders(jsonl(tmp_path / "empty.jsonl", []), tmp_path / "empty"), house(tmp_path / "b"))
