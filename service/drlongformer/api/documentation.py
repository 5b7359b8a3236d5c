"""`/openapi.json` and `/docs`: generated from the very models that read requests and write answers.

Bodies are read by our own strict reader, not by FastAPI, so their schemas are put into the document here. The page is plain
HTML made from that document when the service starts: no script, no asset of another site, nothing to ship beside it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from html import escape
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from drlongformer.api import refusals
from drlongformer.api.examples import EXAMPLES
from drlongformer.api.problems import Problem
from drlongformer.api.schemas import CommonRequest

REFERENCE: Final = "#/components/schemas/{model}"

KEY: Final = "key"
"""Name of the way to show who one is."""

TITLE: Final = "DrLongformer service"
SUMMARY: Final = "Long French clinical documents in; embeddings, entities, classes, masked words, similarities and answers out."


def for_task(path: str, request: type[CommonRequest[Any]], answer: type[BaseModel]) -> dict[str, Any]:
    """Arguments of a task route that describe it: the schemas of both bodies, and the example."""
    example = EXAMPLES[path]
    body = {"schema": {"$ref": REFERENCE.format(model=request.__name__)}, "example": example.request}
    shown = {
        "model": answer,
        "description": "One result per document.",
        "content": {"application/json": {"example": example.answer}},
    }
    return {
        "responses": {200: shown},
        "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": body}}},
        "tags": ["tasks"],
    }


def for_reading(meaning: str, answer: type[BaseModel] | None = None, *, tag: str) -> dict[str, Any]:
    """Arguments of a GET route that describe it."""
    shown: dict[str, Any] = {"description": meaning}
    if answer is not None:
        shown["model"] = answer
    return {"responses": {200: shown}, "tags": [tag]}


def request_schemas(requests: tuple[type[CommonRequest[Any]], ...]) -> dict[str, Any]:
    """The schemas that FastAPI does not know of, by name."""
    inner = dict.fromkeys(body for request in requests for body in request.inner.values())
    models = [(model, "validation") for model in (*requests, *inner, Problem)]
    _, definitions = models_json_schema(models, ref_template=REFERENCE)  # type: ignore[arg-type]  # a list of pairs is one
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def ask_for_keys(document: dict[str, Any], *, but: Collection[str]) -> None:
    """Say in the document that every route asks for a key, but those that are open to anyone."""
    told = "A key as `drlongformer keys create` shows it once, `ID.SECRET`."
    document["components"]["securitySchemes"] = {KEY: {"type": "http", "scheme": "bearer", "description": told}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["security"] = [] if path in but else [{KEY: []}]


def tell_refusals(document: dict[str, Any], *, keyed: bool) -> None:
    """Put each route's refusals in the place of those that FastAPI presumes: what is sent is read by our own reader."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"] = {"200": operation["responses"]["200"], **refusals.of(path, keyed=keyed)}
    for presumed in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(presumed, None)


def page(document: Mapping[str, Any]) -> str:
    """The document as HTML."""
    schemas = document["components"]["schemas"]
    routes = "\n".join(
        _route(path, method, operation, schemas)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    return _PAGE.format(title=escape(document["info"]["title"]), summary=escape(SUMMARY), routes=routes)


def _route(path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    parts = [f"<section><h2><b>{method.upper()}</b> {escape(path)}</h2><p>{escape(operation.get('description', ''))}</p>"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body:
        parts += _fields(schemas[body["schema"]["$ref"].rpartition("/")[2]])
        shown = json.dumps(body["example"], ensure_ascii=False)
        parts.append(f"<h3>Example</h3><pre>{escape(_curl(path, shown))}</pre>")
    answer = operation["responses"]["200"].get("content", {}).get("application/json", {}).get("example")
    if answer:
        parts.append(f"<pre>{escape(json.dumps(answer, ensure_ascii=False, indent=1))}</pre>")
    return "".join([*parts, "</section>"])


def _curl(path: str, body: str) -> str:
    return f"curl http://127.0.0.1:8000{path} -H 'Content-Type: application/json' -d '{body}'"


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    yield "<table><tr><th>field</th><th>type</th><th>default</th><th>meaning</th></tr>"
    for name, field in schema["properties"].items():
        default = "required" if name in schema.get("required", ()) else json.dumps(field.get("default"))
        cells = (f"<code>{escape(name)}</code>", escape(_type(field)), escape(default), escape(field.get("description", "")))
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield "</table>"


def _type(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(field["enum"])
    if "anyOf" in field:
        return " | ".join(_type(choice) for choice in field["anyOf"])
    if field.get("type") == "array":
        return f"[{_type(field.get('items', {}))}]"
    return str(field.get("type") or field.get("$ref", "").rpartition("/")[2] or field.get("const", "any"))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }}
h2 {{ font: 600 1.1rem ui-monospace, monospace; border-top: 1px solid #d0d7de; padding-top: 1.5rem; }}
h2 b {{ color: #0a5c9e; }} h3 {{ font-size: 1rem; }}
table {{ border-collapse: collapse; width: 100%; font-size: 0.9rem; }}
td, th {{ border: 1px solid #d0d7de; padding: 0.3rem 0.5rem; text-align: left; vertical-align: top; }}
pre {{ background: #f6f8fa; padding: 0.8rem; overflow: auto; white-space: pre-wrap; font-size: 0.85rem; }}
</style></head><body>
<h1>{title}</h1><p>{summary} The same as data: <a href="openapi.json">openapi.json</a>.</p>
{routes}
</body></html>
"""
