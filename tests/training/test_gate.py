"""The check of an import: a bundle is written with its score on one's own annotations, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from typer.testing import CliRunner, Result

from drlongformer import bundle
from drlongformer.cli import app
from drlongformer.errors import TrainingError
from drlongformer.training.gate import Gate
from drlongformer.training.subject import Subject
from tests.api.logging_state import restored
from tests.model.checkpoints import SENTENCES, save_checkpoint

LABELS = ("calme", "urgent", "suivi")
TEXTS = (*SENTENCES, "Toux.", "Pas de fièvre ; contrôle à 6 mois.", "œdème de la cheville", "39 °C")


def run(*arguments: str) -> Result:
    with restored():
        return CliRunner().invoke(app, ["import", *arguments], env={"COLUMNS": "200", "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of random weights, whose labels differ from text to text."""
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, "RobertaForSequenceClassification", num_hidden_layers=1, id2label=dict(enumerate(LABELS)))
    return folder


def gold(checkpoint: Path, path: Path, *, turned: int = 0) -> Path:
    """What transformers answers, the first `turned` of them changed to another label."""
    model = transformers.RobertaForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = transformers.RobertaTokenizerFast.from_pretrained(checkpoint)
    with torch.no_grad():
        found = [int(model(**tokenizer(text, return_tensors="pt")).logits.argmax()) for text in TEXTS]
    lines = [
        {"id": str(number), "text": text, "labels": [LABELS[(label + (number < turned)) % 3]]}
        for number, (text, label) in enumerate(zip(TEXTS, found, strict=True))
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_bundle_that_reaches_the_score_is_written_with_it(checkpoint: Path, tmp_path: Path) -> None:
    asked = ("--name", "urgence", "--store", str(tmp_path / "store"), "--task", "classify", "--min-score", "1")
    result = run(str(checkpoint), *asked, "--check", str(gold(checkpoint, tmp_path / "notes.jsonl")))
    assert result.exit_code == 0, result.output
    read = bundle.load(tmp_path / "store" / "urgence" / "1")
    scores = json.loads(read.manifest.model_dump_json())["scores"]["notes/classify"]
    assert (scores["documents"], scores["macro_f1"], scores["accuracy"]) == (len(TEXTS), 1.0, 1.0)
    assert "robustness" not in scores


def test_a_bundle_below_the_score_is_not_written_and_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    asked = ("--name", "urgence", "--store", str(tmp_path / "store"), "--min-score", "0.9")
    result = run(str(checkpoint), *asked, "--check", str(gold(checkpoint, tmp_path / "notes.jsonl", turned=3)))
    assert result.exit_code == 1
    sentence = " ".join(result.stderr.split())
    assert "head classify has macro_f1 0." in sentence
    assert f"on notes.jsonl ({len(TEXTS)} records), the least is 0.9000; nothing was written" in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["notes.jsonl"]


def test_annotations_that_are_not_there_are_told_before_anything_is_exported(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"absent\.jsonl does not exist"):
        Gate(gold=tmp_path / "absent.jsonl")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--precision", "fp32,fp16"), "--precision fp16 cannot be exported; there is fp32, int8"),
        (("--target", "cpu,rocm"), "--target rocm cannot be exported; there is cpu, cuda"),
        (("--target", "cuda"), "--target cuda stands beside the graph that proves it: --target cpu,cuda"),
        (("--min-score", "0.5"), "--min-score and --check-head need --check"),
        (("--task", "summarise"), "no such task: summarise"),
        (("--check", "absent.jsonl"), "absent.jsonl does not exist"),
    ],
)
def test_what_cannot_be_done_is_told_first(tmp_path: Path, flags: tuple[str, ...], sentence: str) -> None:
    result = run(str(tmp_path), "--name", "x", "--store", str(tmp_path / "store"), *flags)
    assert result.exit_code == 1
    assert sentence in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_an_int8_graph_is_written_with_its_scores_beside_those_of_fp32(checkpoint: Path, tmp_path: Path) -> None:
    asked = ("--name", "urgence", "--store", str(tmp_path / "store"), "--task", "classify", "--precision", "fp32,int8")
    result = run(
        str(checkpoint), *asked, "--check", str(gold(checkpoint, tmp_path / "notes.jsonl", turned=1)), "--max-loss", "100"
    )
    assert result.exit_code == 0, result.output
    read = bundle.load(tmp_path / "store" / "urgence" / "1")
    fp32, int8 = read.manifest.graphs
    assert (fp32.precision, fp32.rounding, int8.precision, int8.shared_weights) == ("fp32", None, "int8", fp32.weights)
    assert int8.rounding is not None
    assert (int8.rounding.layers, int8.rounding.most_points, int8.rounding.neighbours_change) == (6, 100, 0)
    found = int8.rounding.scores["notes/classify"]
    scores = json.loads(read.manifest.model_dump_json())["scores"]["notes/classify"]
    assert (found.name, found.documents, found.fp32) == ("macro_f1", len(TEXTS), scores["macro_f1"])
    subject = Subject.load(read.folder, threads=1, precision="int8")
    assert subject.provenance["graph"] == "model.int8.onnx"
    card = (read.folder / "README.md").read_text(encoding="utf-8")
    assert "6 of 6 linear layers in int8" in card
    assert f"| notes/classify | {len(TEXTS)} | macro_f1 |" in card


def test_an_int8_graph_that_turns_embeddings_too_far_is_not_written(checkpoint: Path, tmp_path: Path) -> None:
    asked = ("--name", "urgence", "--store", str(tmp_path / "store"), "--precision", "fp32,int8", "--min-cosine", "1")
    result = run(str(checkpoint), *asked)
    assert result.exit_code == 1
    assert "the least is 1.0; nothing was written" in " ".join(result.output.split())
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--precision", "int8"), "stands beside the graph that proves it: --precision fp32,int8"),
        (("--precision", "fp32,int4"), "--precision int4 cannot be exported; there is fp32, int8"),
        (("--max-loss", "1"), "are about an int8 graph"),
        (("--precision", "fp32,int8", "--max-loss", "1"), "--max-loss needs --check"),
    ],
)
def test_flags_of_int8_that_fit_nothing_are_refused(
    checkpoint: Path, tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    result = run(str(checkpoint), "--name", "urgence", "--store", str(tmp_path / "store"), *flags)
    assert result.exit_code == 1
    assert told in " ".join(result.output.split())
