"""Whether requests are taken: starting, then ready, then draining; `/readyz` and the `ready` gauge say so."""

from __future__ import annotations

from typing import Literal

from drlongformer.errors import NotReady
from drlongformer.serving.metrics import Metrics

Phase = Literal["starting", "ready", "draining"]


class Lifecycle:
    """The phase of the service. Draining still answers requests, so that none is lost while balancers go elsewhere."""

    def __init__(self, metrics: Metrics) -> None:
        self._phase: Phase = "starting"
        self._gauge = metrics.ready
        self._gauge.set(0)

    @property
    def phase(self) -> Phase:
        """Where the service stands."""
        return self._phase

    def open(self) -> None:
        """Models are verified and warmed up."""
        self._phase = "ready"
        self._gauge.set(1)

    def drain(self) -> None:
        """The service will stop soon; there is no way back."""
        self._phase = "draining"
        self._gauge.set(0)

    def require_started(self) -> None:
        """Raises NotReady before the models can answer."""
        if self._phase == "starting":
            raise NotReady("the service is starting")

    def require_ready(self) -> None:
        """Raises NotReady unless new callers should be sent here."""
        if self._phase != "ready":
            raise NotReady(f"the service is {self._phase}")
