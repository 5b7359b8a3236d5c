"""Our standard graph in `optimum.onnxruntime`: what who asks ONNX Runtime the usual way gets, padded batches and all."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from transformers import AutoConfig

from loadtests.peers.hugging_face import ONE_BY_ONE, SORTED, batches, padded
from loadtests.peers.protocol import Floats, Question


class Standard:
    """The graph of `import --standard` for embeddings."""

    ways = (ONE_BY_ONE, SORTED)
    tasks = ("embed",)

    def __init__(self, folder: Path, *, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        config: Any = AutoConfig.from_pretrained(folder)
        self._pad = int(config.pad_token_id)
        classes: Any = importlib.import_module("optimum.onnxruntime")  # which has no types
        self._model = classes.ORTModelForFeatureExtraction.from_pretrained(
            folder, provider="CPUExecutionProvider", session_options=options
        )

    def run(self, task: str, way: str, questions: Sequence[Question]) -> list[Floats]:
        """The mean state of each document."""
        assert task == "embed"
        answers: dict[int, Floats] = {}
        for places in batches([len(one.ids) for one in questions], way):
            ids, mask = padded([questions[place] for place in places], self._pad)
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            means = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            answers |= dict(zip(places, means.numpy(), strict=True))
        return [answers[place] for place in range(len(questions))]
