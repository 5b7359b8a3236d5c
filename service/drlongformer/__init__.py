"""DrLongformer service: long French clinical documents served from ONNX, and the module that trains the weights.

ONNX Runtime, from 1.29 on, reports its use over the network unless it is told not to before it is first imported. A service
that reads patients' files reports to nobody, so the package says so before any of its modules can import the runtime.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
