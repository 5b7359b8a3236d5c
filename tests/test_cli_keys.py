"""`drlongformer keys` shows a secret once, keeps only its hash, and changes the file as a whole."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drlongformer.api import keys
from drlongformer.api.keys import Ring
from drlongformer.cli import app
from tests.test_cli import run, told


def create(file: Path, *arguments: str) -> str:
    """The key that is shown."""
    result = run("keys", "create", "Urgences", "--keys", str(file), *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_a_key_that_was_made_is_recognised_and_its_secret_is_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    shown = create(file, "--scope", "infer", "--scope", "metrics", "--lane", "bulk", "--weight", "2", "--days", "30")
    key = Ring(file).identify([b"Bearer " + shown.encode()])
    assert (key.scopes, key.lane, key.weight) == (("infer", "metrics"), "bulk", 2.0)
    assert key.expires is not None
    assert (key.expires - key.created).days == 30
    assert len(base64.urlsafe_b64decode(shown.partition(".")[2] + "=")) == 32
    assert shown.partition(".")[2] not in file.read_text()
    assert shown.partition(".")[2] not in run("keys", "list", "--keys", str(file)).stdout


def test_keys_are_listed_and_revoked_by_their_id(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    one, other = (create(file, "--requests-per-minute", "60").partition(".")[0] for _ in range(2))
    assert run("keys", "revoke", one, "--keys", str(file)).exit_code == 0
    rows = [line.split()[:3] for line in run("keys", "list", "--keys", str(file)).stdout.splitlines()[1:]]
    assert rows == [[other, "Urgences", "valid"], [one, "Urgences", "revoked"]]
    assert "revoked already" in told(run("keys", "revoke", one, "--keys", str(file)))
    assert [key.requests_per_minute for key in keys.read(file).keys] == [60, 60]


def test_ids_are_listed_whole_on_a_narrow_terminal(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    id_ = create(file, "--scope", "infer", "--scope", "metrics").partition(".")[0]
    listed = CliRunner().invoke(app, ["keys", "list", "--keys", str(file)], env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert id_ in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("create", "x", "--scope", "root"), "--scope must be one of"),
        (("create", "x", "--lane", "fast"), "--lane must be"),
        (("create", ""), "1 to 100 printable"),
        (("list",), "cannot be read"),
        (("revoke", "abcd1234"), "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_told_and_makes_no_file(arguments: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    assert sentence in told(run("keys", *arguments, "--keys", str(tmp_path / "keys.json")))
    assert list(tmp_path.iterdir()) == []


def test_serve_refuses_keys_inside_the_store_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    create(tmp_path / "keys.json")
    inside = run("serve", "--host", "0.0.0.0", "--port", "0", "--store", str(tmp_path), "--keys", str(tmp_path / "keys.json"))
    assert "lie in the store" in told(inside)
