"""The audit tells who asked what of every request, believes trusted proxies alone, and holds no text."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from drlongformer.api import keys
from drlongformer.api.audit import AuditLine, AuditLog
from drlongformer.api.keys import KeyFile
from drlongformer.api.record import size_class
from drlongformer.api.routes import Service
from drlongformer.settings import Audit, Server, Settings, SettingsError
from tests.api import services
from tests.api.logging_state import captured
from tests.api.test_keys import bearer, key

DOCUMENT = Path(__file__).parents[2] / "docs" / "audit.md"
HEADERS = {"X-User": "dr.martin@hospital.example", "X-Study": "CARDIO-7"}


def audited(folder: Path, **settings: Any) -> Service:
    """A service with keys that audits into a file, and trusts the peer of its tests."""
    keys.write(folder / "keys.json", KeyFile(keys=(key("abcd1234", name="Canari"),)))
    fields = {"user_header": "X-User", "study_header": "X-Study", "trusted_proxies": ("127.0.0.0/8",)} | settings
    tree = Settings(server=Server(keys=folder / "keys.json"), audit=Audit(file=folder / "audit.jsonl", **fields))
    return services.service(folder / f"store{len(list(folder.iterdir()))}", tree=tree)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "audit.jsonl").read_text(encoding="utf-8").splitlines()]


async def ask(served: Service, *requests: dict[str, Any]) -> list[httpx.Response]:
    """Answers to POST /embed with the key, each with its own headers, text or path."""
    async with services.client(served) as client:
        return [
            await client.post(
                each.get("path", "/embed"),
                json={"inputs": each.get("inputs", "Toux.")},
                headers={"Authorization": bearer().decode()} | HEADERS | each.get("headers", {}),
            )
            for each in requests
        ]


async def test_each_request_has_one_line_with_key_user_study_and_counts(tmp_path: Path) -> None:
    answer, *_ = await ask(
        audited(tmp_path),
        {"inputs": ["Toux.", "Fièvre."], "headers": {"X-Request-Id": "a1"}},
        {"inputs": ""},
        {"headers": {"Authorization": "Bearer no"}},
        {"path": "/livez"},
    )
    good, bad, stranger = [line for line in lines(tmp_path) if line["route"] != "other"]
    tokens = answer.json()["usage"]["tokens"]
    assert (good["request_id"], good["key"], good["user"], good["study"]) == ("a1", "abcd1234", *HEADERS.values())
    assert (good["route"], good["status"], good["documents"], good["tokens"], good["model"]) == (
        "/embed",
        200,
        2,
        tokens,
        "fake:1",
    )
    assert (bad["status"], bad["problem"], bad["tokens"]) == (422, "empty-text", None)
    assert (stranger["status"], stranger["problem"], stranger["key"]) == (401, "unauthorized", None)
    assert "Canari" not in (tmp_path / "audit.jsonl").read_text()
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


async def test_names_are_believed_from_trusted_proxies_alone_and_only_if_they_look_like_names(tmp_path: Path) -> None:
    await ask(audited(tmp_path, trusted_proxies=("10.0.0.0/8",)), {})
    await ask(audited(tmp_path), {"headers": {"X-User": "Mme Canari née en 1931".encode()}})
    await ask(audited(tmp_path), {"headers": {"X-User": "a" * 129, "X-Study": "\t"}})
    assert [(line["user"], line["study"]) for line in lines(tmp_path)] == [(None, None), ("?", "CARDIO-7"), ("?", "?")]


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    log = AuditLog.of(Audit(file=tmp_path / "audit.jsonl"))
    assert log is not None
    log._append(b'{"line": 1}\n')
    (tmp_path / "audit.jsonl").rename(tmp_path / "audit.1")
    log._append(b'{"line": 2}\n')
    log._append(b'{"line": 3}\n')
    assert lines(tmp_path) == [{"line": 2}, {"line": 3}]


async def test_a_line_that_cannot_be_written_is_told_once_and_the_request_is_answered(tmp_path: Path) -> None:
    with captured() as log:
        served = audited(tmp_path)
        (tmp_path / "audit.jsonl").unlink()
        (tmp_path / "audit.jsonl").mkdir()
        answers = await ask(served, {}, {})
        assert [answer.status_code for answer in answers] == [200, 200]
        assert log.getvalue().count("audit lines cannot be written") == 1


def test_settings_that_cannot_work_are_told(tmp_path: Path) -> None:
    for settings, sentence in (
        (Audit(file=tmp_path / "no" / "audit.jsonl"), "cannot be written"),
        (Audit(file=tmp_path / "a", user_header="X-User"), "TRUSTED_PROXIES alone"),
        (Audit(file=tmp_path / "a", trusted_proxies=("proxy",)), "addresses or networks"),
    ):
        with pytest.raises(SettingsError, match=sentence):
            AuditLog.of(settings)
    assert AuditLog.of(Audit()) is None


def test_the_published_form_is_the_codes_own() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(name, field.description or "Version of the service.") for name, field in AuditLine.model_fields.items()]
    example = re.search(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    AuditLine.model_validate_json(example.group(1))


def test_the_log_tells_sizes_by_powers_of_two() -> None:
    sizes = [0, 1, 2, 3, 512, 513, 4096, 4097]
    assert [size_class(size) for size in sizes] == ["0", "le1", "le2", "le4", "le512", "le1024", "le4096", "le8192"]
