"""Requests made from the service's own OpenAPI document, right ones and wrong ones, are answered as it says.

Schemathesis makes them (its examples, its coverage of every constraint, its fuzzing) and runs all its checks on each answer.
`pytest --hypothesis-profile many tests/api/test_schemathesis.py` makes a hundred times as many.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import settings
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from drlongformer.api import keys
from drlongformer.api.app import create_app
from drlongformer.api.examples import EXAMPLES
from drlongformer.api.keys import KeyFile
from drlongformer.api.routes import Service
from drlongformer.settings import Server, Settings
from tests.api import services
from tests.api.test_keys import bearer, key

UNSAYABLE = frozenset({"empty-text", "mask-error", "unknown-label", "unsupported-task"})
"""Kinds of 422 that a request in keeping with its schema may get: they depend on the model, or on `on_error`."""

BETWEEN_FIELDS = frozenset({"embed", "ner", "classify", "redact", "pooling", "chunks", "dimensions", "truncate_side"})
"""Fields whose values are bound by other fields, by the text or by the model, which a JSON schema of our size does not say."""

INTEGER = "must be an integer"
"""To a JSON schema 3.0 is an integer too; nothing is coerced here."""


@pytest.mark.slow
@pytest.mark.parametrize("keyed", [False, True])
def test_answers_are_as_the_document_says(keyed: bool, tmp_path: Path) -> None:
    document = schemathesis.openapi.from_asgi(
        "/openapi.json", create_app(_service(tmp_path, keyed=keyed)), config=SchemathesisConfig()
    )
    if keyed:
        document.config.headers = {"Authorization": bearer().decode()}
    document.config.seed = 0
    document.config.generation.deterministic = True
    document.config.generation.database = "none"
    document.config.generation.max_examples = settings().max_examples // 20
    accepted = document.config.checks.positive_data_acceptance
    accepted.expected_statuses = [*accepted.expected_statuses, "413", "422", "504"]  # which 422, `_surprises` looks at
    sound = document.config.checks.not_a_server_error
    sound.expected_statuses = [*sound.expected_statuses, "504"]  # the caller's own timeout passed: a billionth of a second
    told: list[str] = []
    statuses: Counter[int] = Counter()
    routes: set[str] = set()
    for event in from_schema(document).execute():
        if isinstance(event, events.ScenarioFinished):
            told += [*_failures(event.recorder), *_surprises(event.recorder)]
            found = [each.response for each in event.recorder.interactions.values()]
            statuses.update(response.status_code for response in found if response is not None)
            routes.add(event.recorder.label)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            told.append(repr(event))
    assert told == []
    assert {f"POST {path}" for path in EXAMPLES} <= routes
    assert statuses[200] > 50
    assert statuses[422] > 500
    assert statuses[405] > 50 or keyed
    assert (statuses[401] > 10) == keyed


def _service(folder: Path, *, keyed: bool) -> Service:
    if not keyed:
        return services.service(folder / "store")
    keys.write(folder / "keys.json", KeyFile(keys=(key(scopes=("infer", "admin", "metrics")),)))
    return services.service(folder / "store", tree=Settings(server=Server(keys=folder / "keys.json")))


def _told_in_its_result(recorder: ScenarioRecorder, case_id: str, check: str) -> bool:
    """Whether a body that breaks the schema in one of its units was answered with that unit's problem, as was asked."""
    interaction = recorder.interactions.get(case_id)
    if check != "negative_data_rejection" or interaction is None or interaction.response is None:
        return False
    answer = json.loads(interaction.response.content)
    return any("error" in result for result in answer.get("results", ()))


def _failures(recorder: ScenarioRecorder) -> Iterator[str]:
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None and not _told_in_its_result(recorder, case_id, check.name):
                yield f"{recorder.label}: {check.name}: {check.failure_info.failure.message}"


def _surprises(recorder: ScenarioRecorder) -> Iterator[str]:
    """Refusals of right requests that the document could have told of."""
    for name, node in recorder.cases.items():
        interaction, made = recorder.interactions.get(name), node.value.meta
        response = interaction.response if interaction else None
        if response is None or made is None or not made.generation.mode.is_positive or response.status_code != 422:
            continue
        problem = json.loads(response.content)
        if problem["type"].rpartition("/")[2] in UNSAYABLE:
            continue
        for error in problem["errors"]:
            if not BETWEEN_FIELDS & set(error["loc"]) and error["msg"] != INTEGER:
                yield f"{recorder.label}: refused a right request: {problem['detail']}"
