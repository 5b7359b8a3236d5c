"""A real server on loopback whose engine is a fake one, for clients of every kind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from drlongformer import bundle
from drlongformer.api.app import assemble, create_app
from drlongformer.api.routes import Service
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models, serve
from drlongformer.settings import Settings
from tests.api import bundles, services
from tests.api.serving import running


@contextlib.contextmanager
def serving(store: Path, *, tree: Settings | None = None, queue_tokens: int | None = None) -> Iterator[tuple[str, Service]]:
    """Its address, and the service behind it; with a short queue its engine is slow besides."""
    tree = tree or Settings()
    tree = tree.model_copy(update={"server": tree.server.model_copy(update={"drain_seconds": 0.0})})
    served = services.service(store, tree=tree) if queue_tokens is None else _crowded(store, tree, queue_tokens)
    with running(create_app(served), settings=tree, lifecycle=served.lifecycle) as it:
        yield f"http://127.0.0.1:{it.port}", served


def _crowded(store: Path, tree: Settings, queue_tokens: int) -> Service:
    metrics = Metrics.create()
    loaded = bundle.load(bundles.write(store))
    model = serve(loaded, services.slow_engine(0.3), metrics=metrics, max_queue_tokens=queue_tokens)
    return assemble(Models([model]), metrics, tree)
