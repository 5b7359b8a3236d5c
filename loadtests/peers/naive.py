"""The service that anyone would write first: FastAPI, Hugging Face's Longformer in eager PyTorch, one document a call.

    python -m loadtests.peers.naive --store model_store [--port 8001]
    python -m loadtests.peers.naive --bundle model_store/NAME/VERSION --checkpoint HF_FOLDER

The architecture and the tokenizer are those of the bundle; the weights are the checkpoint's, or random: speed does not depend
on them. Documents are read to the model's length, padded by the model itself to its window, and answered with the mean of their
last hidden states, `<s>` global where the bundle says so. FastAPI runs the endpoint in its thread pool; nothing is batched,
bounded or queued. It answers enough of our routes to be asked the same way.
"""

from __future__ import annotations

import argparse
import base64
import os
from pathlib import Path
from typing import Any

import torch
import transformers
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from tokenizers import Tokenizer

from drlongformer import bundle


class Body(BaseModel):
    """One document."""

    inputs: str


def application(folder: Path, checkpoint: Path | None = None) -> FastAPI:
    """The whole service."""
    loaded = bundle.load(folder)
    tokenizer = Tokenizer.from_file(str(loaded.folder / "tokenizer.json"))
    model: Any
    if checkpoint is None:
        config = transformers.LongformerConfig.from_dict(loaded.manifest.architecture)
        model = transformers.LongformerModel(config, add_pooling_layer=False).eval()
    else:
        model = transformers.LongformerModel.from_pretrained(checkpoint, add_pooling_layer=False).eval()
    first_global = any(head.task == "embed" and head.global_attention == "first" for head in loaded.manifest.heads)
    app = FastAPI()

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/embed")
    def embed(body: Body) -> dict[str, Any]:
        ids = torch.tensor([tokenizer.encode(body.inputs).ids[: loaded.manifest.max_tokens]])
        wide = torch.zeros_like(ids)
        wide[:, 0] = int(first_global)
        with torch.inference_mode():
            hidden = model(input_ids=ids, global_attention_mask=wide if first_global else None).last_hidden_state
        vector = hidden.mean(1)[0].numpy().tobytes()
        return {"results": [{"embedding": base64.b64encode(vector).decode()}], "usage": {"tokens": ids.shape[1]}}

    return app


def _only_one(store: Path) -> Path:
    [name] = bundle.names(store)
    return bundle.find(store, name)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="folder with one bundle")
    parser.add_argument("--bundle", type=Path, help="one version of a bundle, in place of --store")
    parser.add_argument("--checkpoint", type=Path, help="Hugging Face folder whose weights are served; random ones without")
    parser.add_argument("--port", type=int, default=8001)
    options = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    folder = options.bundle or _only_one(options.store)
    uvicorn.run(application(folder, options.checkpoint), port=options.port, access_log=False)


if __name__ == "__main__":
    main()
