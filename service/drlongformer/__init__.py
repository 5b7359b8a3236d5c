"""DrLongformer service: long French clinical documents served from ONNX, and the module that trains the weights.

ONNX Runtime, from 1.29 on, reports its use over the network unless it is told not to before it is first imported. A service
that reads patients' files reports to nobody, so the package says so before any of its modules can import the runtime.

`from drlongformer import Client` imports the client when it is asked for, and nothing of the service.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drlongformer.client import AsyncClient, Client

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    if name in ("AsyncClient", "Client"):
        return getattr(importlib.import_module("drlongformer.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
