"""`python -m drlongformer.api.contract` writes the OpenAPI document of a service with the default settings (`make openapi`).

It is committed as `docs/openapi.json` and compared in a test, so that every change of the contract is seen in a diff.
"""

from __future__ import annotations

import sys

from drlongformer.api.app import assemble, create_app
from drlongformer.api.documentation import written
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models
from drlongformer.settings import Settings


def contract() -> str:
    """The document, which no model is needed for."""
    return written(create_app(assemble(Models([]), Metrics.create(), Settings())).openapi())


if __name__ == "__main__":
    sys.stdout.write(contract())
