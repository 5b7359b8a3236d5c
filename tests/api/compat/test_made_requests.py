"""Requests that Schemathesis makes for the drop-in surfaces, right ones and wrong ones, are answered in each surface's form.

The service's own OpenAPI document leaves the surfaces out: their schemas are other projects'. What their clients send is
written here, and served beside the app.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import settings
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from drlongformer.api.app import create_app
from tests.api import services

PROVEN = frozenset({"not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"})
"""Checks of Schemathesis that say something here: the schemas below are looser and stricter than the surfaces."""

TEXT = {"type": "string", "maxLength": 200}
TEXTS = {"anyOf": [TEXT, {"type": "array", "items": TEXT, "maxItems": 6}]}
SOURCE = {
    "type": "object",
    "properties": {"source_sentence": TEXT, "sentences": {"type": "array", "items": TEXT, "maxItems": 4}},
    "required": ["source_sentence", "sentences"],
}
RIGHT = "Le <mask> a de la fièvre."
PAIR = {"source_sentence": RIGHT, "sentences": ["Toux."]}
VECTOR = [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [RIGHT]}]
MESSAGE = {"type": "string", "minLength": 1}
PLAIN = {"error": MESSAGE}
TENSOR = {
    "type": "object",
    "properties": {
        "name": {"enum": ["text", "texts"]},
        "datatype": {"enum": ["BYTES", "FP32"]},
        "shape": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
        "data": {"type": "array", "items": TEXT, "maxItems": 3},
    },
    "required": ["name", "datatype", "shape"],
}


def taking(inputs: Any, *, refused: dict[str, Any], right: Any = RIGHT, name: str = "inputs", **fields: Any) -> dict[str, Any]:
    """A route: the schema of its body with inputs that are right, and that of its errors."""
    body = {"type": "object", "properties": {name: inputs, **fields}, "required": [name]}
    problem = {"type": "object", "properties": refused, "required": list(refused), "additionalProperties": False}
    answers: dict[str, Any] = {"200": {}} | dict.fromkeys(("400", "404", "405", "413", "415", "422", "429"), problem)
    return {
        "post": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": body, "example": {name: right}}}},
            "responses": {
                status: {"description": "-", "content": {"application/json": {"schema": schema}}}
                for status, schema in answers.items()
            },
        }
    }


HUB: dict[str, Any] = {
    "/hf/ner": {"aggregation_strategy": {"enum": ["simple", "none"]}, "ignore_labels": {"type": "array", "items": TEXT}},
    "/hf/classify": {"top_k": {"type": "integer"}, "function_to_apply": {"enum": ["softmax", "sigmoid", "none"]}},
    "/hf/fill-mask": {"top_k": {"type": "integer"}, "targets": {"type": "array", "items": TEXT}},
}
TEI = {"error": MESSAGE, "error_type": {"enum": ["Validation", "Overloaded"]}}
OPENAI = {
    "error": {
        "type": "object",
        "properties": {name: {"type": ["string", "null"]} for name in ("message", "type", "param", "code")},
        "required": ["message", "type", "param", "code"],
    }
}
PATHS: dict[str, Any] = {
    "/v1/embeddings": taking(
        TEXTS,
        refused=OPENAI,
        name="input",
        encoding_format={"enum": ["float", "base64"]},
        dimensions={"type": "integer"},
        user={"type": "string"},
    ),
    **{path: taking(TEXTS, refused=PLAIN, parameters={"type": "object", "properties": own}) for path, own in HUB.items()},
    "/hf/embed": taking(TEXTS, refused=PLAIN, truncate={"type": "boolean"}, truncation_direction={"enum": ["left", "right"]}),
    "/hf/similarity": taking(SOURCE, refused=PLAIN, right=PAIR),
    "/tei/embed": taking(TEXTS, refused=TEI, normalize={"type": "boolean"}, truncate={"type": "boolean"}),
    "/tei/predict": taking(TEXTS, refused=TEI, raw_scores={"type": "boolean"}),
    "/tei/similarity": taking(SOURCE, refused=TEI, right=PAIR),
    "/tei/tokenize": taking(TEXTS, refused=TEI, add_special_tokens={"type": "boolean"}),
    "/v2/models/fake/infer": taking(
        {"type": "array", "items": TENSOR, "maxItems": 2},
        refused=PLAIN,
        right=VECTOR,
        outputs={"type": "array", "items": {"type": "object", "properties": {"name": {"enum": ["ner", "embedding"]}}}},
        parameters={"type": "object"},
        id={"type": "string"},
    ),
}


def beside(app: ASGIApp, document: Any) -> ASGIApp:
    """The app, and the document at a path of its own."""

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["path"] == "/surfaces.json"
        await (JSONResponse(document) if asked else app)(scope, receive, send)

    return both


@pytest.mark.slow
def test_every_surface_answers_in_its_form_whatever_is_sent(tmp_path: Path) -> None:
    written = {"openapi": "3.1.0", "info": {"title": "surfaces", "version": "1"}, "paths": PATHS}
    served = create_app(services.service(tmp_path))
    document = schemathesis.openapi.from_asgi("/surfaces.json", beside(served, written), config=SchemathesisConfig())
    document.config.seed = 0
    document.config.generation.deterministic = True
    document.config.generation.database = "none"
    document.config.generation.max_examples = max(1, settings().max_examples // 25)
    told: list[str] = []
    statuses: Counter[tuple[str, int]] = Counter()
    for event in from_schema(document).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            told.append(repr(event))
        elif isinstance(event, events.ScenarioFinished):
            recorder = event.recorder
            for checks in recorder.checks.values():
                told += [
                    f"{recorder.label}: {check.name}: {check.failure_info.failure.message}"
                    for check in checks
                    if check.failure_info is not None and check.name in PROVEN
                ]
            for made in recorder.interactions.values():
                if made.response is not None:
                    statuses[recorder.label, made.response.status_code] += 1
    assert told == []
    for status in (200, 422):
        assert [path for path in PATHS if not statuses[f"POST {path}", status]] == []
