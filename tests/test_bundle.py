"""Bundles: what is written is read back; whatever is missing, extra, altered, linked, outside or unknown is refused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drlongformer import bundle
from drlongformer.bundle import GraphSpec, HeadSpec, Manifest, Parity, TokenizerSpec
from drlongformer.errors import BundleError, UnknownModel, UnsupportedTask

FILES: dict[str, Path | bytes] = {
    "tokenizer.json": b"{}",
    "model.onnx": b"graph",
    "model.weights": b"w" * 3000,
    "README.md": b"# mini",
}
SPEC = TokenizerSpec(bos_id=0, eos_id=2, pad_id=1, mask_id=4, mask_token="<mask>")
EMBED = HeadSpec(name="embed", task="embed", output="hidden", global_attention="first", pooling="mean", trained=True)


def classifier(name: str) -> HeadSpec:
    return HeadSpec(
        name=name,
        task="classify",
        output=name,
        labels=("a", "b"),
        global_attention="first",
        function="softmax",
        thresholds={"a": 0.4},
        trained=True,
    )


def manifest(*, version: int = 1, **changes: Any) -> Manifest:
    graph = GraphSpec(
        file="model.onnx",
        weights="model.weights",
        precision="fp32",
        target="cpu",
        opset=23,
        parity=(Parity(lengths=(1, 2), max_abs_error=1e-6, tolerance=1e-4),),
    )
    fields: dict[str, Any] = {
        "name": "mini",
        "version": version,
        "base_model": None,
        "base_revision": None,
        "licence": "apache-2.0",
        "patient_data": False,
        "description": "A model of nothing.",
        "architecture": {"vocab_size": 11, "attention_window": [8, 8]},
        "block": 4,
        "max_tokens": 64,
        "heads": (EMBED, classifier("atc"), classifier("urgency")),
        "tokenizer": SPEC,
        "graphs": (graph,),
    }
    return Manifest(**fields | changes)


def written(store: Path, *, version: int = 1) -> Path:
    return bundle.write(store, manifest(version=version), FILES)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    folder = written(tmp_path)
    read = bundle.load(folder)
    assert folder == tmp_path / "mini" / "1"
    assert read.folder == folder
    assert read.manifest.model_dump(exclude={"files"}) == manifest().model_dump(exclude={"files"})
    assert read.sha256 == hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    assert {name: (folder / name).read_bytes() for name in read.manifest.files} == FILES
    assert read.manifest.files["README.md"].sha256 == hashlib.sha256(b"# mini").hexdigest()
    assert read.manifest.outputs == ("hidden", "atc", "urgency")


def test_files_are_taken_from_memory_and_from_disk_alike(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"w" * 3000)
    folder = bundle.write(tmp_path / "store", manifest(), FILES | {"model.weights": tmp_path / "weights"})
    assert bundle.load(folder).manifest.files == bundle.load(written(tmp_path / "other")).manifest.files


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        bundle.write(tmp_path, manifest(), FILES | {"model.weights": tmp_path / "absent"})
    assert list((tmp_path / "mini").iterdir()) == []


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    before = (written(tmp_path) / "bundle.json").read_bytes()
    with pytest.raises(BundleError, match="never overwritten"):
        written(tmp_path)
    assert (tmp_path / "mini" / "1" / "bundle.json").read_bytes() == before


def test_a_file_that_the_manifest_names_must_be_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.weights"):
        bundle.write(tmp_path, manifest(), {name: source for name, source in FILES.items() if name != "model.weights"})


@pytest.mark.parametrize("name", ["../escaped", "/absolute", ".hidden", "a//b", "a\\b", "", "a\n", "bundle.json"])
def test_a_file_outside_the_folder_is_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="cannot hold files named"):
        bundle.write(tmp_path / "store", manifest(), FILES | {name: b"x"})
    assert list(tmp_path.iterdir()) == []


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / "bundle.json").read_text())
    change(content)
    (folder / "bundle.json").write_text(json.dumps(content))


def replace_by_link(path: Path, target: Path) -> None:
    path.rename(target)
    path.symlink_to(target)


def add_below(folder: Path) -> None:
    folder.mkdir()
    (folder / "x").write_text("x")


TAMPERINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda f: (f / "bundle.json").unlink(), "no bundle.json"),
    "manifest not JSON": (lambda f: (f / "bundle.json").write_text("{"), "not understood: Invalid JSON"),
    "itself a link": (lambda f: replace_by_link(f, f.parent / "elsewhere"), "is a link"),
    "itself a link to another version": (lambda f: replace_by_link(f, f.parent / "2"), "is a link"),
    "missing": (lambda f: (f / "model.weights").unlink(), "missing .*model.weights"),
    "extra": (lambda f: (f / "extra.txt").write_text("x"), "not in the manifest .*extra.txt"),
    "extra and hidden": (lambda f: (f / ".extra").write_text("x"), r"not in the manifest .*\.extra"),
    "extra in a folder": (lambda f: add_below(f / "more"), "not in the manifest .*more/x"),
    "altered": (lambda f: (f / "model.weights").write_bytes(b"v" * 3000), "altered"),
    "shortened": (lambda f: (f / "model.weights").write_bytes(b"w"), "1 bytes, the manifest says 3000"),
    "tokenizer altered": (lambda f: (f / "tokenizer.json").write_bytes(b"[]"), "altered"),
    "linked": (lambda f: replace_by_link(f / "model.weights", f.parent / "elsewhere"), "is a link"),
    "manifest linked": (lambda f: replace_by_link(f / "bundle.json", f.parent / "elsewhere"), "no bundle.json of its own"),
    "linked folder": (lambda f: (f / "more").symlink_to(f.parent), "is a link"),
    "a pipe": (lambda f: os.mkfifo(f / "pipe"), "not a regular file"),
    "newer schema": (lambda f: rewrite(f, lambda c: c.update(schema_version=2)), "schema_version"),
    "unknown field": (lambda f: rewrite(f, lambda c: c.update(extra=1)), "extra"),
    "unknown field of a head": (lambda f: rewrite(f, lambda c: c["heads"][0].update(temperature=1)), "temperature"),
    "field left out": (lambda f: rewrite(f, lambda c: c.pop("patient_data")), "patient_data"),
    "wrong type": (lambda f: rewrite(f, lambda c: c.update(block="4")), "block"),
    "outside": (lambda f: rewrite(f, lambda c: c["files"].update({"../x": c["files"]["README.md"]})), "files"),
    "absolute": (lambda f: rewrite(f, lambda c: c["files"].update({"/etc/passwd": c["files"]["README.md"]})), "files"),
    "graph outside": (lambda f: rewrite(f, lambda c: c["graphs"][0].update(file="../model.onnx")), "file"),
    "graph not listed": (lambda f: rewrite(f, lambda c: c["graphs"][0].update(file="other.onnx")), "does not list"),
    "other name": (lambda f: rewrite(f, lambda c: c.update(name="other")), "its own name"),
    "other version": (lambda f: rewrite(f, lambda c: c.update(version=3)), "its own name"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_bundle_that_is_not_whole_is_refused(tmp_path: Path, tampering: str) -> None:
    folder = written(tmp_path)
    bundle.verify(folder)
    tamper, reason = TAMPERINGS[tampering]
    tamper(folder)
    with pytest.raises(BundleError, match=reason):
        bundle.verify(folder)


def test_a_hard_link_with_the_right_content_is_accepted(tmp_path: Path) -> None:
    folder = written(tmp_path)
    os.link(folder / "model.weights", tmp_path / "second-name")
    bundle.verify(folder)


def test_a_refusal_does_not_repeat_what_the_manifest_says(tmp_path: Path) -> None:
    folder = written(tmp_path)
    rewrite(folder, lambda content: content.update(block="something confidential"))
    with pytest.raises(BundleError) as caught:
        bundle.load(folder)
    assert "confidential" not in str(caught.value)


def test_the_highest_version_is_found_by_number_not_by_letter(tmp_path: Path) -> None:
    for version in (2, 9, 10):
        written(tmp_path, version=version)
    assert bundle.versions(tmp_path, "mini") == (2, 9, 10)
    assert bundle.find(tmp_path, "mini") == tmp_path / "mini" / "10"
    assert bundle.find(tmp_path, "mini", 9) == tmp_path / "mini" / "9"
    assert bundle.next_version(tmp_path, "mini") == 11
    assert bundle.next_version(tmp_path, "new") == 1


def test_the_active_version_is_found_first(tmp_path: Path) -> None:
    for version in (1, 2):
        written(tmp_path, version=version)
    (tmp_path / "mini" / "active.json").write_text('{"version": 1}')
    assert bundle.find(tmp_path, "mini") == tmp_path / "mini" / "1"
    (tmp_path / "mini" / "active.json").write_text('{"version": 7}')
    with pytest.raises(UnknownModel, match="no version 7"):
        bundle.find(tmp_path, "mini")
    (tmp_path / "mini" / "active.json").write_text('{"version": "1"}')
    with pytest.raises(BundleError, match=r"active\.json"):
        bundle.find(tmp_path, "mini")


@pytest.mark.parametrize(("name", "version"), [("absent", None), ("mini", 2), ("mini", 0), ("../mini", None), ("", None)])
def test_what_is_not_in_the_store_is_unknown(tmp_path: Path, name: str, version: int | None) -> None:
    written(tmp_path)
    with pytest.raises(UnknownModel):
        bundle.find(tmp_path, name, version)


def test_unfinished_folders_are_not_versions(tmp_path: Path) -> None:
    written(tmp_path)
    for unfinished in (".unfinished-00", "02", "3.tmp", "x"):
        (tmp_path / "mini" / unfinished).mkdir()
    (tmp_path / ".export-x").mkdir()
    assert bundle.versions(tmp_path, "mini") == (1,)
    assert bundle.names(tmp_path) == ("mini",)
    assert bundle.names(tmp_path / "absent") == ()


def test_a_head_is_found_by_task_and_name(tmp_path: Path) -> None:
    read = bundle.load(written(tmp_path))
    assert read.tasks == ("embed", "classify")
    assert read.head("classify").name == "atc"
    assert read.head("classify", "urgency").name == "urgency"
    with pytest.raises(UnsupportedTask, match=r"'ner'.*'embed', 'classify'"):
        read.head("ner")
    with pytest.raises(UnsupportedTask, match="'atc', 'urgency'"):
        read.head("classify", "embed")


def test_a_portable_graph_serves_every_device_until_there_is_one_of_its_own(tmp_path: Path) -> None:
    read = bundle.load(written(tmp_path))
    portable = read.manifest.graphs[0]
    assert read.graph("cpu") == read.graph("cuda") == read.graph("cuda", "fp32") == portable
    with pytest.raises(BundleError, match="no fp16 graph for cuda; it has cpu fp32"):
        read.graph("cuda", "fp16")
    own = portable.model_copy(update={"target": "cuda", "precision": "fp16"})
    both = bundle.Bundle(folder=read.folder, manifest=manifest(graphs=(portable, own)), sha256="")
    assert both.graph("cuda") == own
    assert both.graph("cpu") == portable


def test_an_int8_graph_is_for_cpus_alone(tmp_path: Path) -> None:
    read = bundle.load(written(tmp_path))
    portable = read.manifest.graphs[0]
    int8 = portable.model_copy(update={"precision": "int8", "shared_weights": portable.weights})
    both = bundle.Bundle(folder=read.folder, manifest=manifest(graphs=(int8, portable)), sha256="")
    assert both.graph("cuda") == both.graph("cpu", "fp32") == portable
    assert both.graph("cpu", "int8") == int8
    with pytest.raises(BundleError, match="no int8 graph for cuda; it has cpu fp32, cpu int8"):
        both.graph("cuda", "int8")


@pytest.mark.parametrize(
    "changes",
    [
        {"heads": ()},
        {"heads": (EMBED, EMBED)},
        {"graphs": ()},
        {"architecture": {}},
        {"name": "../mini"},
        {"version": 0},
    ],
)
def test_an_inconsistent_manifest_cannot_be_built(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        manifest(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": ()},
        {"labels": ("a", "a")},
        {"thresholds": {"c": 0.5}},
        {"function": None},
        {"pooling": "cls"},
        {"task": "embed", "labels": (), "thresholds": {}},
        {"task": "embed", "labels": (), "thresholds": {}, "pooling": "cls"},
        {"global_attention": "all"},
    ],
)
def test_a_head_that_does_not_fit_its_task_cannot_be_built(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HeadSpec(**classifier("atc").model_dump() | changes)


def choosing(**changes: Any) -> HeadSpec:
    fields: dict[str, Any] = {
        "name": "answers",
        "task": "multiple-choice",
        "output": "answers",
        "global_attention": "first",
        "function": "sigmoid",
        "layout": "each",
        "trained": True,
    }
    return HeadSpec(**fields | changes)


def test_the_answers_of_a_head_that_reads_each_option_by_itself_share_one_threshold() -> None:
    assert choosing(thresholds={"answer": 0.3}).thresholds == {"answer": 0.3}
    assert choosing(layout="joint", labels=("a", "b"), thresholds={"b": 0.3}).thresholds == {"b": 0.3}


@pytest.mark.parametrize(
    "changes",
    [
        {"thresholds": {"a": 0.3}},
        {"thresholds": {"answer": 0.3}, "function": "softmax"},
        {"thresholds": {"answer": 0.3}, "layout": "joint", "labels": ("a", "b")},
        {"labels": ("a", "b")},
        {"layout": "joint"},
        {"layout": None},
        {"function": None},
        {"score_range": (0.0, 5.0)},
    ],
)
def test_a_head_for_choices_that_does_not_fit_its_layout_cannot_be_built(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        choosing(**changes)


def test_only_a_choice_can_be_attended_to_as_one() -> None:
    assert choosing(global_attention="choice").global_attention == "choice"
    with pytest.raises(ValidationError, match="no choice"):
        HeadSpec(**EMBED.model_dump() | {"global_attention": "choice"})


def test_one_similarity_is_not_shared_out_among_several() -> None:
    fields: dict[str, Any] = {"task": "similarity", "output": "near", "global_attention": "first", "trained": True}
    assert HeadSpec(name="near", **fields, function="sigmoid", score_range=(0.0, 5.0)).score_range == (0.0, 5.0)
    with pytest.raises(ValidationError, match="softmax"):
        HeadSpec(name="near", **fields, function="softmax")


def test_a_head_is_found_by_the_first_task_that_has_it(tmp_path: Path) -> None:
    read = bundle.load(written(tmp_path))
    assert read.head_of_any(("similarity", "embed")).name == "embed"
    assert read.head_of_any(("embed", "classify"), "urgency").name == "urgency"
    with pytest.raises(UnsupportedTask, match="task 'similarity' or 'ner'"):
        read.head_of_any(("similarity", "ner"))


def test_every_flipped_bit_of_the_manifest_and_of_its_seal_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    for name in (bundle.MANIFEST, bundle.SEAL):
        content = (folder / name).read_bytes()
        for place in range(0, len(content), 7):
            flipped = bytes([*content[:place], content[place] ^ (1 << place % 8), *content[place + 1 :]])
            (folder / name).write_bytes(flipped)
            with pytest.raises(BundleError):
                bundle.load(folder)
        (folder / name).write_bytes(content)
    bundle.verify(folder)


def test_a_manifest_without_its_seal_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / bundle.SEAL).unlink()
    with pytest.raises(BundleError, match=r"no bundle\.sha256"):
        bundle.load(folder)
