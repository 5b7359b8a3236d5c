"""What is put right in the texts of a corpus is recorded with its tokens, trained on, and read by whatever follows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tokenizers
from typer.testing import CliRunner

from drlongformer.cli import app
from drlongformer.errors import TrainingError
from drlongformer.training import corpus, pretrain, trained, whole
from drlongformer.training.base import read_base
from drlongformer.training.corpus import Corpus, RawDocument
from drlongformer.types import Rule
from tests.training import served, texts, tiny

RULES: tuple[Rule, ...] = ("encoding", "hyphens", "lines")
WRAPPED = "Le patient est hospitalisé pour une douleur thora-\ncique qui dure depuis\ntrois jours."
WHOLE = "Le patient est hospitalisé pour une douleur thoracique qui dure depuis trois jours."


def ids(folder: Path) -> list[list[int]]:
    made = Corpus(folder)
    return [made.read(number, 0, int(length)).tolist() for number, length in enumerate(made.lengths)]


def test_a_corpus_holds_the_tokens_of_what_the_service_will_read(tmp_path: Path) -> None:
    known = tokenizers.Tokenizer.from_str(served.tokenizer_json())
    mended = corpus.write(tmp_path / "mended", [RawDocument(text=WRAPPED)], known, normalisation=RULES)
    as_it_stands = corpus.write(tmp_path / "plain", [RawDocument(text=WRAPPED)], known)
    corpus.write(tmp_path / "whole", [RawDocument(text=WHOLE)], known)
    assert (mended.normalisation, as_it_stands.normalisation) == (RULES, ())
    assert ids(tmp_path / "mended") == ids(tmp_path / "whole") != ids(tmp_path / "plain")


def test_train_corpus_takes_the_rules(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(served.tokenizer_json(), encoding="utf-8")
    (tmp_path / "notes.jsonl").write_text(json.dumps({"text": WRAPPED}), encoding="utf-8")
    arguments = ["train", "corpus", "--tokenizer", str(tmp_path / "tokenizer.json"), "--normalise", "lines,hyphens"]
    own = [str(tmp_path / "notes.jsonl"), "--output", str(tmp_path / "own"), "--held-out", "0"]
    result = CliRunner().invoke(app, [*arguments, *own])
    assert result.exit_code == 0, result.output
    assert Corpus(tmp_path / "own" / "train").normalisation == ("hyphens", "lines")
    again = CliRunner().invoke(app, [*arguments[:-1], "lines", *own])
    assert (again.exit_code, "a corpus of other normalisation" in again.output) == (1, True)
    recipe = ["--recipe", "mini", "--data", str(tmp_path), "--output", str(tmp_path / "recipe")]
    taken = CliRunner().invoke(app, [*arguments, *recipe])
    assert (taken.exit_code, "MANIFEST.json" in taken.output) == (1, True)  # its sets are what is missing


def test_the_corpus_of_a_recipe_takes_the_rules_and_a_run_goes_on_with_the_same_alone(tmp_path: Path) -> None:
    data, output = tiny.data_folder(tmp_path / "data"), tmp_path / "run"
    whole.make_tokenizer(tiny.recipe(), data=data, output=output / "tokenizer.json")
    whole.make_corpus(
        tiny.recipe(), data=data, tokenizer_json=output / "tokenizer.json", output=output / "corpus", normalisation=RULES
    )
    assert [Corpus(output / "corpus" / part).normalisation for part in ("train", "held_out")] == [RULES, RULES]
    with pytest.raises(TrainingError, match="was normalised by encoding, hyphens, lines, not no rule"):
        whole.run(tiny.recipe(), data=data, output=output, normalisation=())


def normalised(folder: Path) -> pretrain.Texts:
    read = texts.made(folder)
    known = tokenizers.Tokenizer.from_str(served.tokenizer_json())
    for name, count in (("rules", 40), ("rules_held_out", 8)):
        corpus.write(folder / name, texts.documents(count), known, normalisation=RULES)
    return replace(read, corpus=folder / "rules", held_out=folder / "rules_held_out")


def test_a_pretrained_model_says_how_its_texts_were_read_and_fine_tuning_reads_alike(tmp_path: Path) -> None:
    read, recipe = normalised(tmp_path), texts.recipe(steps=2)
    model = pretrain.run(recipe, texts=read, output=tmp_path / "run")
    assert trained.tokenizer_of(model).spec.normalisation == RULES
    assert read_base(model).tokenizer.spec.normalisation == RULES
    assert json.loads((model / "provenance.json").read_text(encoding="utf-8"))["corpus"]["normalisation"] == list(RULES)
    assert pretrain.outlook(recipe, read)["normalised by"] == "encoding, hyphens, lines"
    longer = replace(recipe, optimisation=replace(recipe.optimisation, steps=3))
    again = pretrain.run(longer, texts=read, output=tmp_path / "run", resume=True)
    assert trained.tokenizer_of(again).spec.normalisation == RULES


def test_held_out_texts_that_were_read_otherwise_are_refused(tmp_path: Path) -> None:
    read = replace(normalised(tmp_path), held_out=tmp_path / "held_out")
    with pytest.raises(TrainingError, match="was normalised by no rule, what is trained on by encoding, hyphens, lines"):
        pretrain.run(texts.recipe(steps=1), texts=read, output=tmp_path / "run")
