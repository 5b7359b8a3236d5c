"""The service on a Ray cluster: each replica is the whole service of one process, behind Ray's HTTP proxies.

    caller -> nginx (TLS, limits) -> Ray's proxy of a node (`front.py`) -> replica: Exchange -> KeyGate -> BodyGate -> Pipeline

A replica is what `drlongformer serve` builds, without its server: same routes, same batching by token length, same refusals.
Ray places replicas, starts one for each that ends, asks each for its health, spreads requests over them by how many each has,
and adds or removes some. `deploy/ray/serve.yaml` names `application`; docs/scale.md tells of running it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import ray
from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drlongformer import logs, settings
from drlongformer.api.app import build, create_app, settle
from drlongformer.api.record import LEFT
from drlongformer.settings import Settings, SettingsError

Overrides = Mapping[str, Mapping[str, Any]]

AUTOSCALING = AutoscalingConfig(
    min_replicas=2,
    max_replicas=8,
    target_ongoing_requests=16,
    upscale_delay_s=10,
    downscale_delay_s=300,
)
"""Two replicas, so that the end of one is no outage; one of 16 requests waits for half a dozen batches at most."""

BACKPRESSURE = BackpressureConfig(status_code=429, retry_after_s=2)


def application(orders: dict[str, Any]) -> serve.Application:
    """What `serve run` and `serve deploy` build. orders: `settings`, group -> field -> value, over each node's environment.

    Raises SettingsError.
    """
    if unknown := orders.keys() - {"settings"}:
        raise SettingsError(f"args of the application has {sorted(unknown)}; it may have settings")
    overrides = orders.get("settings", {})
    check(settings.load(overrides))
    return DEPLOYMENT.bind(overrides)


def check(chosen: Settings) -> None:
    """Raises SettingsError where anyone could ask: a cluster's proxies listen beyond loopback."""
    if chosen.server.keys is None and not chosen.server.insecure_no_keys:
        raise SettingsError(
            "a replica on a cluster is reached from other hosts, and no key is asked; name a file of keys in server.keys, "
            "or set server.insecure_no_keys where what stands in front asks for one"
        )


class Replica:
    """One whole service. overrides: settings over the environment of the node it runs on."""

    def __init__(self, overrides: Overrides) -> None:
        chosen = on_this_share(settings.load(overrides), ray.get_runtime_context().get_assigned_resources().get("CPU", 1))
        check(chosen)
        logs.configure(style=chosen.logs.format, level=chosen.logs.level)
        self._service = build(chosen)
        settle()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """The application; Ray runs its lifespan, which warms up at the start and drains at the end."""
        return Departures(create_app(self._service))

    def check_health(self) -> None:
        """What `/livez` says. Raises EngineFailed, and then Ray replaces the replica."""
        self._service.models.require_alive()


DEPLOYMENT: serve.Deployment = serve.deployment(
    name="drlongformer",
    max_ongoing_requests=256,  # the replica's own queue, bounded in tokens, refuses first and knows when to come back
    max_queued_requests=256,
    backpressure_config=BACKPRESSURE,
    autoscaling_config=AUTOSCALING,
    health_check_period_s=5,
    health_check_timeout_s=30,
    graceful_shutdown_wait_loop_s=0.5,
    graceful_shutdown_timeout_s=330,  # longer than the longest request (limits.request_seconds)
)(serve.ingress()(Replica))
"""What an operator's file changes line by line."""


def on_this_share(chosen: Settings, cores: float) -> Settings:
    """The settings with as many threads as the cores that Ray gave this replica, unless a number is set."""
    if chosen.models.threads:
        return chosen
    return chosen.model_copy(update={"models": chosen.models.model_copy(update={"threads": max(1, int(cores))})})


class Departures:
    """Tells the application that a caller has gone: Ray does so by cancelling the request, which elsewhere means the end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; when cancelled, let it end as if its caller had left."""
        gone = asyncio.Event()

        async def receive_or_gone() -> Message:
            waiting = asyncio.ensure_future(receive())
            leaving = asyncio.ensure_future(gone.wait())
            try:
                await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
                return {"type": "http.disconnect"} if gone.is_set() else waiting.result()
            finally:
                waiting.cancel()
                leaving.cancel()

        work = asyncio.ensure_future(self._app(scope, receive_or_gone, send))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            if not work.done():
                scope[LEFT] = True
                gone.set()
                await work
            raise
