"""One frozen tree: flags before environment before defaults, and nothing misspelt passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from drlongformer import settings
from drlongformer.settings import SettingsError


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for line in settings.reference():
        monkeypatch.delenv(line.variable, raising=False)


def test_the_defaults_stand_alone() -> None:
    tree = settings.load()
    assert (tree.server.host, tree.server.port, tree.limits.max_documents) == ("127.0.0.1", 8000, 64)


def test_flags_come_before_the_environment_and_leave_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRLONGFORMER_SERVER__PORT", "9000")
    monkeypatch.setenv("DRLONGFORMER_SERVER__HOST", "::1")
    assert settings.load().server.port == 9000
    tree = settings.load({"server": {"port": 9001}})
    assert (tree.server.port, tree.server.host) == (9001, "::1")


def test_lists_and_mappings_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRLONGFORMER_MODELS__NAMES", '["a", "b:2"]')
    monkeypatch.setenv("DRLONGFORMER_MODELS__DEFAULTS", '{"fill-mask": "b"}')
    tree = settings.load()
    assert (tree.models.names, tree.models.defaults) == (("a", "b:2"), {"fill-mask": "b"})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DRLONGFORMER_SERVER__PROT", "9000"),
        ("DRLONGFORMER_PORT", "9000"),
        ("DRLONGFORMER_SERVER__PORT", "many"),
        ("DRLONGFORMER_SERVER__PORT", "70000"),
        ("DRLONGFORMER_LIMITS__MAX_BODY_BYTES", "0"),
        ("DRLONGFORMER_MODELS__DEVICE", "tpu"),
        ("DRLONGFORMER_MODELS__NAMES", "a"),
        ("DRLONGFORMER_MODELS__NAMES", '["../a"]'),
        ("DRLONGFORMER_MODELS__DEFAULTS", '{"translate": "a"}'),
        ("DRLONGFORMER_LOGS__FORMAT", "xml"),
    ],
)
def test_what_does_not_exist_or_fit_is_refused_by_name(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as raised:
        settings.load()
    assert variable.removeprefix("DRLONGFORMER_").split("__")[0].lower() in str(raised.value).lower()


def test_every_number_out_of_range_is_told_with_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [line for line in settings.reference() if line.default.replace(".", "", 1).isdigit()]
    assert len(numbers) > 12
    for line in numbers:
        monkeypatch.setenv(line.variable, "-1")
        with pytest.raises(SettingsError, match=f"^{line.variable} must be (from|at least|above) "):
            settings.load()
        monkeypatch.delenv(line.variable)


def test_a_group_that_is_no_mapping_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRLONGFORMER_SERVER", "[]")
    with pytest.raises(SettingsError, match=r"^DRLONGFORMER_SERVER "):
        settings.load()


def test_settings_do_not_change() -> None:
    tree = settings.load()
    with pytest.raises(ValidationError):
        tree.server.port = 1  # type: ignore[misc]


def test_every_setting_says_in_one_sentence_what_it_trades() -> None:
    lines = list(settings.reference())
    assert len(lines) > 15
    for line in lines:
        assert line.variable.count("__") == 1
        assert line.meaning.endswith(".")
        assert line.meaning.count(". ") == 0


def test_every_default_of_the_reference_is_read_back_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for line in settings.reference():
        if line.default:
            monkeypatch.setenv(line.variable, line.default)
    assert settings.load() == settings.Settings()
    assert settings.load().models.store == Path("model_store")


@pytest.mark.parametrize("device", ["cpu", "cpu,cpu", "cuda", "cuda:3", "cuda:0,1", "cuda:0,cuda:11"])
def test_a_device_or_several_can_be_asked_for(device: str) -> None:
    assert settings.load({"models": {"device": device}}).models.device == device


@pytest.mark.parametrize("device", ["", "cpu,", "cpu:1", "cpu,cuda", "cuda:", "cuda:0,", "cuda:0;1", "cuda,cuda"])
def test_what_names_no_devices_is_refused(device: str) -> None:
    with pytest.raises(SettingsError, match="must be cpu, cuda or cuda:0 to cuda:99, or several"):
        settings.load({"models": {"device": device}})
