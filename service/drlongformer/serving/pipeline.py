"""One request's story: documents in, answers out, no HTTP.

    Pipeline.embed(documents, EmbedOptions)        -> Answer[Embedding]
    Pipeline.ner(documents, NerOptions)            -> Answer[Entities]
    Pipeline.classify(documents, ClassifyOptions)  -> Answer[tuple[LabelScore, ...]]
    Pipeline.fill_mask(documents, FillMaskOptions) -> Answer[tuple[MaskPredictions, ...]]
    Pipeline.tokenize(documents, RequestOptions)   -> Answer[tuple[TokenSpan, ...]]
"""

from __future__ import annotations

from drlongformer.serving.requests import (
    Answer,
    ClassifyOptions,
    DocumentResult,
    EmbedOptions,
    Embedding,
    FillMaskOptions,
    ModelIdentity,
    NerOptions,
    RequestOptions,
    Timings,
    TokenSpan,
)

__all__ = [
    "Answer",
    "ClassifyOptions",
    "DocumentResult",
    "EmbedOptions",
    "Embedding",
    "FillMaskOptions",
    "ModelIdentity",
    "NerOptions",
    "RequestOptions",
    "Timings",
    "TokenSpan",
]
