"""A log line holds named fields only: never an exception's message, never a field nobody listed."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Literal

import pytest

from drlongformer import logs
from tests.api.logging_state import restored

CANARY = "Mme-Canari"


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    with restored():
        yield


def configured(style: Literal["json", "text"] = "json") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(style=style, level="info", stream=stream)
    return stream


def fail() -> None:
    raise ValueError(CANARY)


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize("name", ["drlongformer.api", "uvicorn.error", "asyncio", "somebody.else"])
def test_an_exception_is_its_type_and_place(style: Literal["json", "text"], name: str) -> None:
    stream = configured(style)
    try:
        fail()
    except ValueError:
        logging.getLogger(name).exception("failed")
    assert "ValueError" in stream.getvalue()
    assert "test_logs.py" in stream.getvalue()
    assert CANARY not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_a_json_line_has_the_listed_fields_and_no_others() -> None:
    stream = configured()
    logs.get("api").info("request", extra={"status": 200, "route": "/embed", "text": CANARY, "tokens": None})
    line = json.loads(stream.getvalue())
    assert set(line) == {"time", "level", "logger", "message", "status", "route"}
    assert (line["level"], line["logger"], line["message"], line["status"]) == ("info", "drlongformer.api", "request", 200)


def test_a_text_line_is_for_people() -> None:
    stream = configured("text")
    logs.get("api").info("request", extra={"status": 200, "route": "/embed"})
    assert stream.getvalue().endswith("info    request route=/embed status=200\n")


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_message_is_its_first_line_without_control_characters(style: Literal["json", "text"]) -> None:
    stream = configured(style)
    logs.get("api").info("one\x1b[31m\ntwo")
    assert "one?[31m" in stream.getvalue()
    assert "two" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_what_asyncio_says_of_a_lost_exception_does_not_hold_its_message() -> None:
    stream = configured()
    loop = asyncio.new_event_loop()
    future: asyncio.Future[None] = loop.create_future()
    future.set_exception(ValueError(CANARY))
    del future
    gc.collect()
    loop.close()
    line = json.loads(stream.getvalue())
    assert (line["logger"], line["error"]) == ("asyncio", "ValueError")
    assert CANARY not in stream.getvalue()


def test_urls_are_never_written() -> None:
    stream = configured()
    logging.getLogger("uvicorn.access").info('"GET /%s"', CANARY)
    assert stream.getvalue() == ""


def test_warnings_go_the_same_way() -> None:
    stream = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("careful", stacklevel=1)
    assert json.loads(stream.getvalue())["logger"] == "py.warnings"
