"""A bad request is a 4xx problem, costs nobody else anything, and not one word of it comes back, is logged or is counted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from drlongformer.api.routes import Service
from tests.api import services
from tests.api.bad import CANARY, Bad, with_field
from tests.api.bad_bodies import PAIRED, TASKS
from tests.api.logging_state import captured
from tests.api.wire import BAD, hand_made

SMALL = services.settings(max_body_bytes=20_000, max_documents=3, max_characters=2000, max_windows=4)


class Watched:
    """A running service whose every output is kept."""

    def __init__(self, service: Service, client: httpx.AsyncClient, log: StringIO) -> None:
        self.service = service
        self.client = client
        self.log = log

    async def send(self, bad: Bad) -> httpx.Response:
        url = self.client.base_url.copy_with(raw_path=bad.path.encode())  # as it is: joined, `//ner` would name a host
        return await self.client.request(bad.method, url, content=bad.content, headers=dict(bad.headers))

    def leaks(self, response: httpx.Response) -> list[str]:
        outputs = {
            "body": response.text,
            "headers": str(response.headers),
            "log": self.log.getvalue(),
            "metrics": generate_latest(self.service.metrics.registry).decode(),
        }
        return [name for name, text in outputs.items() if CANARY in text.lower()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    with captured() as log:
        service = services.service(Path(tmp_path_factory.mktemp("store")), tree=SMALL)
        async with services.client(service) as client:
            yield Watched(service, client, log)


def test_there_are_many_bad_requests_and_each_once() -> None:
    assert len(set(hand_made().values())) == len(hand_made()) >= 500
    assert len({(bad.method, bad.path, bad.content, tuple(bad.headers.items())) for bad in BAD}) == len(BAD)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
async def test_a_bad_request_is_a_problem_without_a_word_of_it(bad: Bad, watched: Watched) -> None:
    response = await watched.send(bad)
    assert response.status_code == bad.status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert watched.leaks(response) == []
    assert len(response.content) < 4000
    problem = response.json() if bad.method != "HEAD" else {"status": bad.status}
    assert problem["status"] == bad.status
    assert problem.get("instance", response.headers["x-request-id"]) == response.headers["x-request-id"]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_name_of_an_unknown_head_does_not_come_back(watched: Watched) -> None:
    response = await watched.send(with_field("head", CANARY))
    assert response.status_code == 422
    assert watched.leaks(response) == []


@pytest.mark.asyncio(loop_scope="module")
async def test_a_good_request_beside_bad_ones_is_answered(watched: Watched) -> None:
    response = await watched.client.post("/ner", json={"inputs": "Le patient tousse."})
    assert response.status_code == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_in_the_end_every_request_was_counted_and_none_is_in_flight(watched: Watched) -> None:
    counted = services.samples(watched.service, "http_requests_total")
    accesses = [line for line in map(json.loads, watched.log.getvalue().splitlines()) if line["message"] == "request"]
    assert sum(counted.values()) == len(accesses) >= len(BAD)
    assert {status for _, _, status in counted if status.startswith("5")} == set()
    assert services.samples(watched.service, "inflight_documents") == {(): 0}
    refused = [line for line in accesses if line["status"] >= 400]
    assert sum(services.samples(watched.service, "rejected_total").values()) == len(refused)


_NAMES = st.sampled_from(
    [
        *("inputs", "model", "head", "overflow", "on_error", "labels", "min_score", "targets", "top_k", "text", "id"),
        *("source", "sentences", "text1", "text2", "question", "options", "context", "multiple"),
    ]
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_subnormal=False)
    | st.text(st.characters(), max_size=5)
    | st.just(CANARY)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES | st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)
_BODIES = st.dictionaries(_NAMES | st.text(max_size=3), _VALUES, max_size=5).map(lambda value: json.dumps(value).encode())
_BYTES = st.binary(max_size=50) | st.tuples(_BODIES, st.binary(min_size=1, max_size=4), st.integers(0, 80)).map(
    lambda parts: parts[0][: parts[2]] + parts[1] + parts[0][parts[2] :]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=_BODIES | _BYTES, path=st.sampled_from(TASKS + PAIRED))
@pytest.mark.asyncio(loop_scope="module")
async def test_generated_bodies_never_break_the_service(content: bytes, path: str, watched: Watched) -> None:
    response = await watched.send(Bad(name="generated", status=0, path=path, content=content))
    assert response.status_code in (200, 400, 404, 413, 422), response.text
    if response.status_code != 200:
        assert response.headers["content-type"] == "application/problem+json"
        assert watched.leaks(response) == []
