"""The service, put together: settings, models, pipeline, routes, middlewares, server. Read `run` first.

Server (HTTP/1.1 in bounds, drain) -> Exchange (id, headers, errors, count) -> KeyGate (who may ask, quotas)
    -> BodyGate (size, time, departure) -> routes (JSON -> options) -> Pipeline
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException

from drlongformer import __version__, bundle, logs
from drlongformer.api import lag, watchdog
from drlongformer.api.audit import AuditLog
from drlongformer.api.compat.surfaces import surface_routes
from drlongformer.api.documentation import (
    SUMMARY,
    TITLE,
    ask_for_keys,
    request_schemas,
    show_examples,
    tell_headers,
    tell_refusals,
)
from drlongformer.api.examples import EXAMPLES
from drlongformer.api.exchange import Exchange, account_refused
from drlongformer.api.gate import OPEN, SCOPES, Access, KeyGate, follow
from drlongformer.api.lifecycle import Lifecycle
from drlongformer.api.limits import BodyGate
from drlongformer.api.pages import page_routes
from drlongformer.api.playground import PAGE, playground_routes
from drlongformer.api.room import Room
from drlongformer.api.routes import REQUESTS, Service, reading_routes, task_routes
from drlongformer.api.security import check_exposure, check_keys
from drlongformer.api.server import DrainingServer, HttpConfig, listen
from drlongformer.errors import UnknownModel, UnsupportedTask
from drlongformer.serving.engines import Compute
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models, ServedModel
from drlongformer.serving.models import load as load_model
from drlongformer.serving.pipeline import Pipeline
from drlongformer.serving.reading import Limits
from drlongformer.serving.swap import Swapper
from drlongformer.settings import Models as ChosenModels
from drlongformer.settings import Settings, SettingsError, require_store
from drlongformer.settings import Tracing as TracingSettings

if TYPE_CHECKING:  # the extra `otel`, where it is asked for
    from drlongformer.api.tracing import Tracing

logger = logs.get("app")

OPENAPI = "/openapi.json"

SWITCH_SECONDS: Final = 0.001

_DEFAULTS = "--default (DRLONGFORMER_MODELS__DEFAULTS)"


def run(settings: Settings) -> None:
    """Serve until told to stop. Raises SettingsError, BundleError, UnknownModel and DeviceUnavailable before that."""
    logs.configure(style=settings.logs.format, level=settings.logs.level)
    check_exposure(settings.server)
    with listen(settings.server.host, settings.server.port) as bound:
        service = build(settings)
        server = DrainingServer(
            HttpConfig(create_app(service), settings=settings, refused=partial(account_refused, service.metrics)),
            lifecycle=service.lifecycle,
            drain_seconds=settings.server.drain_seconds,
        )
        settle()
        host, port = bound.getsockname()[:2]
        logger.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        server.run(sockets=[bound])


def settle() -> None:
    """Have the interpreter serve the event loop first, once everything is built.

    What lives as long as the process is not walked in every collection, which would take tens of milliseconds, several times
    while one large answer is made. Threads that read and write give the interpreter up after a millisecond in place of five:
    the loop asks for it again after every wait for the network.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)


def build(settings: Settings) -> Service:
    """The objects behind the routes; bundles are verified and warmed up here."""
    metrics, chosen, batching = Metrics.create(), settings.models, settings.batching
    require_store(chosen.store)
    check_keys(settings.server.keys, chosen.store)
    _require_defaults(chosen)
    try:
        models = Models.load(
            chosen.store,
            chosen.names,
            metrics=metrics,
            defaults=chosen.defaults,
            compute=Compute.of(chosen),
            max_batch_tokens=batching.max_batch_tokens,
            max_queue_tokens=batching.max_queue_tokens,
            public_key=chosen.public_key,
        )
    except (UnknownModel, UnsupportedTask) as error:
        if error.location != ("model",):  # said of a bundle's name; the defaults are told as a request's own model is
            raise
        raise SettingsError(f"{_DEFAULTS} cannot be kept: {error}") from None
    return assemble(models, metrics, settings, swapper=_swapper(models, metrics, settings))


def _swapper(models: Models, metrics: Metrics, settings: Settings) -> Swapper:
    """What follows the active versions of all models that are served without a version of their own."""
    chosen, batching = settings.models, settings.batching

    def load(folder: Path) -> ServedModel:
        model = load_model(
            folder,
            metrics=metrics,
            compute=Compute.of(chosen),
            max_batch_tokens=batching.max_batch_tokens,
            max_queue_tokens=batching.max_queue_tokens,
            public_key=chosen.public_key,
        )
        _warm_up([model])
        return model

    names = [name for name in chosen.names or bundle.names(chosen.store) if ":" not in name]
    return Swapper(models, store=chosen.store, names=names, load=load, metrics=metrics)


def _require_defaults(chosen: ChosenModels) -> None:
    """Raises SettingsError for a default that is not among the bundles to serve, before any is loaded."""
    served = chosen.names or bundle.names(chosen.store)
    known = {name.partition(":")[0] for name in served}
    for task, name in chosen.defaults.items():
        if name.partition(":")[0] not in known:
            raise SettingsError(f"{_DEFAULTS} {task}={name}: no such bundle is served; there are {', '.join(served) or 'none'}")


def assemble(models: Models, metrics: Metrics, settings: Settings, *, swapper: Swapper | None = None) -> Service:
    """A service over models that are loaded already."""
    chosen = settings.limits
    limits = Limits(
        max_characters=chosen.max_characters, max_windows=chosen.max_windows, max_answer_items=chosen.max_answer_items
    )
    return Service(
        pipeline=Pipeline(models, metrics, limits=limits),
        models=models,
        metrics=metrics,
        lifecycle=Lifecycle(metrics),
        settings=settings,
        access=Access.of(settings.server.keys),
        audit=AuditLog.of(settings.audit),
        swapper=swapper,
        tracing=_tracing(settings.tracing),
    )


def _tracing(settings: TracingSettings) -> Tracing | None:
    """Where spans go; None, and nothing of OpenTelemetry loaded, where no endpoint is set. Raises SettingsError."""
    if settings.endpoint is None:
        return None
    try:
        from drlongformer.api.tracing import Tracing  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise SettingsError(f"DRLONGFORMER_TRACING__ENDPOINT needs the extra otel: no package {error.name}") from None
    return Tracing.to(settings.endpoint)


def create_app(service: Service) -> FastAPI:
    """The ASGI application; its lifespan starts and stops the pipeline."""
    app = _Application(
        title=TITLE,
        summary=SUMMARY,
        version=__version__,
        lifespan=partial(_lifespan, service),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would be written with the Host header of the caller
        exception_handlers={HTTPException: _pass_on},
    )
    app.state.keyed = service.access is not None
    app.include_router(task_routes(service))
    app.include_router(reading_routes(service))
    app.include_router(surface_routes(service))
    if service.settings.server.playground:
        app.include_router(playground_routes())
    app.include_router(page_routes())
    limits = service.settings.limits
    app.add_middleware(BodyGate, limits=limits, room=Room(service.models, limits=limits))
    if service.access is not None:
        app.add_middleware(KeyGate, access=service.access, linger_seconds=limits.body_seconds)
    paths = frozenset({*EXAMPLES, *SCOPES, OPENAPI, PAGE})
    app.add_middleware(
        Exchange,
        metrics=service.metrics,
        lifecycle=service.lifecycle,
        paths=paths,
        audit=service.audit,
        slow=service.slow,
        tracing=service.tracing,
    )
    return app


class _Application(FastAPI):
    """FastAPI's document, with the schemas of the bodies that are read by our own reader."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is not None:
            return self.openapi_schema
        document = super().openapi()
        document["components"]["schemas"] |= request_schemas(REQUESTS)
        tell_refusals(document, keyed=self.state.keyed)
        tell_headers(document)
        if self.state.keyed:
            ask_for_keys(document, but=OPEN)
        show_examples(document)
        return document


@contextlib.asynccontextmanager
async def _lifespan(service: Service, _app: FastAPI) -> AsyncIterator[None]:
    await service.pipeline.start()
    await asyncio.to_thread(_warm_up, service.models)
    watchers: list[asyncio.Task[None]] = [asyncio.create_task(lag.watch(service.metrics.event_loop_lag_seconds))]
    watchers.append(asyncio.create_task(watchdog.watch(service.models, service.pipeline, service.lifecycle)))
    if service.access is not None:
        watchers.append(asyncio.create_task(follow(service.access.ring)))
    if service.swapper is not None:
        watchers.append(asyncio.create_task(service.swapper.watch()))
    service.lifecycle.open()
    try:
        yield
    finally:
        service.lifecycle.drain()
        for watcher in watchers:
            watcher.cancel()
        await service.pipeline.stop()
        if service.swapper is not None:
            await service.swapper.close()
        if service.tracing is not None:
            await asyncio.to_thread(service.tracing.close)


def _warm_up(models: Iterable[ServedModel]) -> None:
    """Tokenise once with each model: tables that are built on first use are not the first caller's to wait for."""
    for model in models:
        model.tokenizer.encode_batch(["Le patient est prêt."])


async def _pass_on(_request: Request, error: Exception) -> NoReturn:
    """Leave refusals of the router to `Exchange`, where all errors become answers."""
    raise error
