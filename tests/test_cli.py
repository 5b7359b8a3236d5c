"""Commands tell errors in one sentence with exit code 1, and flags come before the environment."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from drlongformer import __version__
from drlongformer.cli import app
from drlongformer.cli.normalising import rules_asked
from drlongformer.settings import FLAGS, reference
from tests.api import bundles
from tests.api.logging_state import restored

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs the train extra")


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    with restored():
        yield


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1"})


def told(result: Result) -> str:
    """The one sentence of a failed command."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result.stderr.strip()


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(command in result.stdout for command in ("serve", "doctor", "import", "models", "train"))


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout.strip() == __version__


def test_models_are_listed_with_the_one_that_is_served(tmp_path: Path) -> None:
    bundles.write(tmp_path, version=1)
    bundles.write(tmp_path, version=2)
    lines = run("models", "list", "--store", str(tmp_path)).stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["fake", "1"], ["fake", "2"]]
    assert ["yes" in line for line in lines[1:]] == [False, True]
    assert "embed, ner, classify, fill-mask" in lines[1]


def test_verify_names_every_version_that_is_not_whole(tmp_path: Path) -> None:
    bundles.write(tmp_path, version=1)
    assert run("models", "verify", "--store", str(tmp_path)).exit_code == 0
    bundles.altered(bundles.write(tmp_path, version=2))
    result = run("models", "verify", "--store", str(tmp_path))
    assert "fake:1 is whole" in result.stdout
    assert "fake:2 is not whole" in told(result)


def test_an_unknown_model_is_told(tmp_path: Path) -> None:
    bundles.write(tmp_path)
    assert "no model 'nobody'" in told(run("models", "verify", "nobody", "--store", str(tmp_path)))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--host", "0.0.0.0"), "--insecure-no-keys"),
        (("--device", "tpu"), "--device (DRLONGFORMER_MODELS__DEVICE) must be cpu, cuda or cuda:0 to cuda:99"),
        (("--threads", "-3"), "--threads (DRLONGFORMER_MODELS__THREADS) must be from 0 to 1024"),
        (("--port", "99999"), "--port (DRLONGFORMER_SERVER__PORT) must be from 0 to 65535"),
        (("--default", "embed"), "TASK=NAME"),
        (
            ("--default", "foo=a"),
            "--default (DRLONGFORMER_MODELS__DEFAULTS) is written TASK=NAME, and TASK must be 'embed', 'ner'",
        ),
        (("--log-format", "xml"), "--log-format (DRLONGFORMER_LOGS__FORMAT) must be 'json' or 'text'"),
        (("--model", "../a"), "--model (DRLONGFORMER_MODELS__NAMES) must be a bundle's NAME or NAME:VERSION"),
        (("--port", "0", "--model", "nobody"), "no model 'nobody'"),
        (("--port", "0"), "holds no model"),
    ],
)
def test_serve_refuses_to_start_in_one_sentence(arguments: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    assert sentence in told(run("serve", "--store", str(tmp_path), *arguments))


@pytest.mark.parametrize(
    "command", [("serve", "--port", "0"), ("models", "list"), ("models", "verify"), ("models", "verify", "a")]
)
def test_a_store_that_is_not_there_is_told_apart_from_one_without_models(command: tuple[str, ...], tmp_path: Path) -> None:
    assert "there is no folder" in told(run(*command, "--store", str(tmp_path / "misspelt")))
    assert "holds no model" in told(run(*command, "--store", str(tmp_path)))


@pytest.mark.parametrize("name", ["nope", "nope:1"])
def test_a_default_that_is_not_served_is_told_with_those_that_are(name: str, tmp_path: Path) -> None:
    bundles.write(tmp_path)
    sentence = told(run("serve", "--port", "0", "--store", str(tmp_path), "--default", f"embed={name}"))
    assert f"--default (DRLONGFORMER_MODELS__DEFAULTS) embed={name}: no such bundle is served; there are fake" in sentence


def test_every_flag_of_a_setting_is_a_flag_of_serve() -> None:
    help_text = run("serve", "--help").stdout
    assert all(flag in help_text for flag in FLAGS.values())
    known = {line.variable for line in reference()}
    assert {f"DRLONGFORMER_{field.upper().replace('.', '__')}" for field in FLAGS} <= known


def test_serve_refuses_an_altered_bundle(tmp_path: Path) -> None:
    bundles.altered(bundles.write(tmp_path))
    assert "tokenizer.json" in told(run("serve", "--store", str(tmp_path), "--port", "0"))


def test_serve_refuses_a_port_in_use(tmp_path: Path) -> None:
    bundles.write(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port}" in told(run("serve", "--store", str(tmp_path), "--port", port))


def test_a_misspelt_variable_stops_serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DRLONGFORMER_SERVER__PROT", "1")
    assert "DRLONGFORMER_SERVER__PROT" in told(run("serve", "--store", str(tmp_path)))


def test_doctor_tells_what_is_installed_and_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DRLONGFORMER_MODELS__STORE", str(tmp_path))
    result = run("doctor")
    assert "no bundle" in told(result)
    assert "onnxruntime" in result.stdout
    monkeypatch.setenv("DRLONGFORMER_MODELS__STORE", str(tmp_path / "misspelt"))
    assert "there is no folder" in told(run("doctor"))


@needs_torch
def test_import_tells_what_is_wrong_with_a_source(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sentence = told(run("import", str(tmp_path / "empty"), "--name", "x", "--store", str(tmp_path / "store")))
    assert sentence.startswith("Error: ")
    assert not (tmp_path / "store").exists()


def test_import_refuses_a_task_that_does_not_exist(tmp_path: Path) -> None:
    assert "no such task: translate" in told(run("import", "x", "--name", "x", "--task", "translate", "--store", str(tmp_path)))


def test_import_refuses_a_rule_of_normalisation_that_does_not_exist(tmp_path: Path) -> None:
    for wrong, rule in (("lines,capitals", "capitals"), ("none,lines", "none"), ("", "")):
        sentence = told(run("import", "x", "--name", "x", "--normalise", wrong, "--store", str(tmp_path)))
        assert f"--normalise {rule}: no such rule; there are encoding, pages, hyphens, lines" in sentence


def test_rules_of_normalisation_are_named_in_any_order() -> None:
    assert rules_asked("lines, encoding,hyphens") == ("encoding", "hyphens", "lines")
    assert rules_asked("none") == ()
    assert rules_asked(None) is None


@needs_torch
def test_recipes_are_listed() -> None:
    assert "mini" in run("train", "recipes").stdout


@needs_torch
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("tokenizer", "--recipe", "nobody", "--data", "{folder}", "--output", "{folder}/t.json"), "nobody"),
        (("tokenizer", "--recipe", "mini", "--data", "{folder}", "--output", "{folder}/t.json"), "MANIFEST.json"),
        (("run", "mini", "--data", "{folder}", "--output", "{folder}/out"), "MANIFEST.json"),
        (("ship", "{folder}", "--name", "x", "--store", "{folder}/store"), "holds no trained model"),
        (("evaluate", "{folder}", "--recipe", "mini", "--data", "{folder}", "--output", "{folder}/out"), "neither a bundle"),
    ],
)
def test_training_tells_what_is_missing(arguments: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    assert sentence in told(run("train", *(argument.format(folder=tmp_path) for argument in arguments)))
