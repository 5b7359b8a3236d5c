"""A replica is the service itself: settings checked, threads of its share, callers who leave told from a service that stops."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from pathlib import Path

import pytest
import yaml
from starlette.types import Message, Receive, Scope, Send

from drlongformer.settings import Settings, SettingsError
from tests.api import services

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
    pytest.mark.filterwarnings("ignore"),  # of what Ray imports
]

SHIPPED = Path(__file__).parents[2] / "deploy" / "ray" / "serve.yaml"


def test_nobody_is_let_onto_a_cluster_without_a_key_unless_it_is_said() -> None:
    from drlongformer.scale.ray_serve import application

    with pytest.raises(SettingsError, match="no key is asked"):
        application({})
    with pytest.raises(SettingsError, match="may have settings"):
        application({"store": "/models"})
    with pytest.raises(SettingsError, match="PORT"):
        application({"settings": {"server": {"insecure_no_keys": True, "port": -1}}})


def test_the_shipped_file_is_understood_by_ray_and_names_what_there_is() -> None:
    from ray.serve.schema import ServeDeploySchema

    from drlongformer.scale import ray_serve

    content = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    schema = ServeDeploySchema.model_validate(content)
    [service] = schema.applications
    module, _, function = service.import_path.partition(":")
    assert getattr(ray_serve, function) is ray_serve.application
    assert module == ray_serve.__name__
    [deployment] = service.deployments
    assert deployment.name == ray_serve.DEPLOYMENT.name
    assert deployment.max_queued_requests == ray_serve.DEPLOYMENT.max_queued_requests
    assert deployment.max_ongoing_requests == ray_serve.DEPLOYMENT.max_ongoing_requests
    assert deployment.graceful_shutdown_timeout_s > Settings().limits.request_seconds
    assert schema.http_options.request_timeout_s > Settings().limits.request_seconds  # type: ignore[operator]


async def test_a_caller_who_leaves_through_ray_is_counted_as_one_who_left(tmp_path: Path) -> None:
    from drlongformer.api.app import create_app
    from drlongformer.scale.ray_serve import Departures

    served = services.service(tmp_path, engine=services.slow_engine(30.0))
    app = create_app(served)
    body = b'{"inputs": "Le patient tousse."}'
    scope: Scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/embed", "raw_path": b"/embed", "query_string": b"",
        "root_path": "", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
    }  # fmt: skip
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async with services.running(app):
        request = asyncio.create_task(Departures(app)(scope, receive, send))
        async with asyncio.timeout(60):
            while not services.samples(served, "inflight_documents").get((), 0):  # noqa: ASYNC110 - a gauge, no event
                await asyncio.sleep(0.01)
        request.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await request
        assert sum(services.samples(served, "cancelled_total").values()) == 1
        assert services.samples(served, "inflight_documents")[()] == 0
        assert not any(labels[-1].startswith("5") for labels in services.samples(served, "http_requests_total"))


async def test_a_request_that_ends_by_itself_passes_through_and_leaves_nothing_behind() -> None:
    from drlongformer.scale.ray_serve import Departures

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["body"] == b"x"
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x"}

    async def send(message: Message) -> None:
        sent.append(message)

    before = len(asyncio.all_tasks())
    await Departures(app)({"type": "http"}, receive, send)
    await asyncio.sleep(0)
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert len(asyncio.all_tasks()) == before


def test_threads_are_the_cores_that_ray_gave() -> None:
    from drlongformer.scale.ray_serve import on_this_share

    assert on_this_share(Settings(), cores=3.0).models.threads == 3
    assert on_this_share(Settings(), cores=0.5).models.threads == 1
    set_ = Settings(models={"threads": 2})  # type: ignore[arg-type]
    assert on_this_share(set_, cores=8.0).models.threads == 2
