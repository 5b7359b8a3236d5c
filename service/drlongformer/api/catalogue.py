"""What is served: `/models` in short, `/models/{name}` with everything a caller needs to know before asking."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from drlongformer.bundle import HeadSpec
from drlongformer.serving.models import ServedModel
from drlongformer.settings import Limits
from drlongformer.types import Rule, Task


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSummary(_Part):
    """One model in the list."""

    name: str
    version: int
    sha256: str
    precision: str
    device: str
    tasks: tuple[Task, ...]
    max_tokens: int
    description: str


class ModelList(_Part):
    """Answer of `GET /models`."""

    models: list[ModelSummary]


class HeadDetails(_Part):
    """One head; `trained` false means that its answers are computable but were never trained for.

    score_range: what the lowest and the highest similarity are. layout: of multiple choice, whether the model reads `each`
    option by itself or all `joint`; `function` `sigmoid` decides each option by itself, so that several may be right.
    """

    name: str
    task: Task
    labels: tuple[str, ...]
    global_attention: str
    pooling: str | None
    function: str | None
    thresholds: dict[str, float]
    window_merge: str
    score_range: tuple[float, float] | None
    layout: str | None
    trained: bool


class ModelLimits(_Part):
    """max_tokens counts the special tokens of a window; longer documents are read in windows that overlap by window_overlap."""

    max_tokens: int
    window_overlap: int
    max_windows: int
    max_characters: int
    max_documents: int
    max_answer_items: int
    max_body_bytes: int
    request_seconds: float


class Provenance(_Part):
    """Where the weights come from; training holds what the bundle's maker wrote down."""

    base_model: str | None
    base_revision: str | None
    licence: str | None
    patient_data: bool
    training: dict[str, Any]


class ModelDetails(ModelSummary):
    """Answer of `GET /models/{name}`; the first head of a task answers when a request names none.

    normalisation: what is put right in a text before it is read; every offset stays one of the untouched text.
    """

    versions: list[int]
    mask_token: str
    normalisation: tuple[Rule, ...]
    heads: list[HeadDetails]
    limits: ModelLimits
    provenance: Provenance
    scores: dict[str, Any]


def summaries(models: Iterable[ServedModel]) -> ModelList:
    """Every model that is served."""
    return ModelList(models=[ModelSummary(**_summary(model)) for model in models])


def details(model: ServedModel, models: Iterable[ServedModel], limits: Limits) -> ModelDetails:
    """One model; `models` are all that are served, for the versions beside it."""
    manifest = model.bundle.manifest
    return ModelDetails(
        **_summary(model),
        versions=sorted(each.identity.version for each in models if each.identity.name == manifest.name),
        mask_token=manifest.tokenizer.mask_token,
        normalisation=manifest.tokenizer.normalisation,
        heads=[_head(head) for head in manifest.heads],
        limits=ModelLimits(
            max_tokens=manifest.max_tokens,
            window_overlap=manifest.window_overlap,
            max_windows=limits.max_windows,
            max_characters=limits.max_characters,
            max_documents=limits.max_documents,
            max_answer_items=limits.max_answer_items,
            max_body_bytes=limits.max_body_bytes,
            request_seconds=limits.request_seconds,
        ),
        provenance=Provenance(
            base_model=manifest.base_model,
            base_revision=manifest.base_revision,
            licence=manifest.licence,
            patient_data=manifest.patient_data,
            training=manifest.training,
        ),
        scores=manifest.scores,
    )


def _summary(model: ServedModel) -> dict[str, Any]:
    identity, manifest = model.identity, model.bundle.manifest
    return {
        "name": identity.name,
        "version": identity.version,
        "sha256": identity.sha256,
        "precision": identity.precision,
        "device": model.device,
        "tasks": model.bundle.tasks,
        "max_tokens": manifest.max_tokens,
        "description": manifest.description,
    }


def _head(head: HeadSpec) -> HeadDetails:
    fields = head.model_dump(include=set(HeadDetails.model_fields))
    return HeadDetails(**fields)
