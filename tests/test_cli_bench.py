"""`drlongformer bench` ends in a table, or in one JSON line, and refuses what it cannot measure."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from drlongformer.cli import app

STORE = str(Path(__file__).parents[1] / "model_store")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", "--store", STORE, *arguments], env={"COLUMNS": "200", "NO_COLOR": "1"})


def test_the_json_line_tells_the_ceiling_and_every_length() -> None:
    result = run("--json", "--seconds", "1", "--lengths", "60,30", "--engine", "onnxruntime", "--threads", "1")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["ids"] == "random"
    assert told["peak_gflops"] > 0
    [engine] = told["engines"]
    assert engine["lengths"][0]["tokens"] == 30
    assert engine["lengths"][0]["share_of_ceiling"] > 0


def test_an_engine_that_cannot_be_had_is_told_with_exit_code_1() -> None:
    result = run("--engine", "onnxruntime", "--precision", "bf16", "--seconds", "1")
    assert result.exit_code == 1
    assert "was not measured" in result.stdout


def test_lengths_are_whole_numbers() -> None:
    result = run("--lengths", "12,long")
    assert result.exit_code == 1
    assert "whole numbers" in result.stderr


def test_a_length_that_the_model_does_not_read_is_refused_with_its_limit() -> None:
    result = run("--lengths", "100,100000")
    assert result.exit_code == 1
    assert "up to 4096 tokens, not 100000" in result.stderr
