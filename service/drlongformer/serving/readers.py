"""The readers of documents, task by task: each checks once per request what was asked, then reads one document at a time.

`embed`, `ner`, `classify`, `fill_mask` and `tokenize` give a `Reader` (`reading.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from drlongformer.serving.models import ServedModel
from drlongformer.serving.reading import (
    Limits,
    Reader,
    Reading,
    Steps,
    check_document,
    check_items,
    document_passes,
    document_reading,
    encode,
    encode_masked,
    plan_windows,
)
from drlongformer.serving.requests import (
    ClassifyOptions,
    Embedding,
    EmbedOptions,
    Entities,
    FillMaskOptions,
    NerOptions,
    RequestOptions,
    TokenSpan,
)
from drlongformer.tasks import classify as classify_task
from drlongformer.tasks import embed as embed_task
from drlongformer.tasks import fill_mask as fill_mask_task
from drlongformer.tasks import ner as ner_task
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.fill_mask import BestWords, MaskPredictions
from drlongformer.text.windows import kept_tokens
from drlongformer.types import HIDDEN, Document, Made, WindowOutput


def embed(model: ServedModel, options: EmbedOptions, limits: Limits) -> Reader[Document, Embedding]:
    """Read documents into vectors. Raises InvalidRequest for dimensions the vectors do not have."""
    head = model.bundle.head("embed", options.common.head)
    pooling = options.pooling or head.pooling or "mean"
    size = model.engine.widths[HIDDEN]
    embed_task.check_dimensions(options.dimensions, size=size)
    space = embed_task.space(
        model.bundle.sha256, pooling=pooling, dimensions=options.dimensions or size, normalize=options.normalize
    )

    def read(document: Document) -> Steps[Reading[Embedding]]:
        encoded = yield from encode(model, document, limits)
        windows = plan_windows(model, document, encoded, options.common, limits)

        def finish(outputs: Sequence[WindowOutput]) -> Embedding:
            vector = embed_task.merge(outputs, windows, pooling=pooling)
            vector = embed_task.finish(vector, normalize=options.normalize, dimensions=options.dimensions)
            return Embedding(vector=vector, space=space)

        asks = [embed_task.ask(window, pooling=pooling, only=len(windows) == 1) for window in windows]
        return document_reading(encoded, windows, document_passes(model, head, encoded, windows, asks), finish)

    return Reader(check=lambda document: check_document(document, limits), read=read)


def ner(model: ServedModel, options: NerOptions, limits: Limits) -> Reader[Document, Entities]:
    """Read documents for entities. Raises UnknownLabel."""
    head = model.bundle.head("ner", options.common.head)
    decoding = ner_task.Decoding(
        aggregation=options.aggregation or head.decoding or "simple",
        thresholds=head.thresholds,
        labels=options.labels,
        min_score=options.min_score,
    )
    ner_task.check_labels(decoding, head.labels)

    def read(document: Document) -> Steps[Reading[Entities]]:
        encoded = yield from encode(model, document, limits)
        windows = plan_windows(model, document, encoded, options.common, limits)

        def finish(outputs: Sequence[WindowOutput]) -> Entities:
            found = ner_task.decode(
                ner_task.merge(outputs, windows, output=head.output),
                kept_tokens(encoded, windows),
                document.text,
                tags=head.labels,
                decoding=decoding,
                unknown_id=model.tokenizer.unknown_id,
            )
            return Entities(entities=found, redacted=ner_task.redact(document.text, found) if options.redact else None)

        asks = [ner_task.ask(window, output=head.output) for window in windows]
        return document_reading(encoded, windows, document_passes(model, head, encoded, windows, asks), finish)

    return Reader(check=lambda document: check_document(document, limits), read=read)


def classify(model: ServedModel, options: ClassifyOptions, limits: Limits) -> Reader[Document, tuple[LabelScore, ...]]:
    """Read documents for their labels."""
    head = model.bundle.head("classify", options.common.head)
    function = options.function or head.function or "softmax"

    def read(document: Document) -> Steps[Reading[tuple[LabelScore, ...]]]:
        encoded = yield from encode(model, document, limits)
        windows = plan_windows(model, document, encoded, options.common, limits)

        def finish(outputs: Sequence[WindowOutput]) -> tuple[LabelScore, ...]:
            logits = classify_task.merge(outputs, windows, output=head.output, window_merge=head.window_merge)
            return classify_task.decide(
                logits, labels=head.labels, function=function, top_k=options.top_k, thresholds=head.thresholds
            )

        asks = [classify_task.ask(output=head.output) for _ in windows]
        return document_reading(encoded, windows, document_passes(model, head, encoded, windows, asks), finish)

    return Reader(check=lambda document: check_document(document, limits), read=read)


def fill_mask(model: ServedModel, options: FillMaskOptions, limits: Limits) -> Reader[Document, tuple[MaskPredictions, ...]]:
    """Read documents for the words behind their masks. Raises MaskError for a target that is not one token."""
    head = model.bundle.head("fill-mask", options.common.head)
    targets = None if options.targets is None else fill_mask_task.target_ids(options.targets, model.tokenizer)
    words = min(options.top_k, model.tokenizer.vocab_size if targets is None else len(targets))

    mask = model.tokenizer.mask_token

    def check(document: Document) -> None:
        check_document(document, limits)
        fill_mask_task.check_mask(document.text, whose=document.name, mask_token=mask)

    def digest(output: WindowOutput) -> BestWords:
        return fill_mask_task.best(output.rows[head.output], top_k=options.top_k, targets=targets)

    def read(document: Document) -> Steps[Reading[tuple[MaskPredictions, ...]]]:
        masked = yield from encode_masked(model, document, limits)
        encoded = masked.encoded
        windows = plan_windows(model, document, encoded, options.common, limits)
        readings = fill_mask_task.ask(masked, windows, output=head.output, mask_token=mask, whose=document.name)
        items = words * sum(len(reading.masks) for reading in readings)
        check_items(items, limits, whose=document.name)

        def finish(found: Sequence[BestWords]) -> tuple[MaskPredictions, ...]:
            return tuple(
                prediction
                for reading, best in zip(readings, found, strict=True)
                for prediction in fill_mask_task.predict(
                    best, [masked.spans[mask] for mask in reading.masks], tokenizer=model.tokenizer
                )
            )

        read_windows = [windows[reading.window] for reading in readings]
        passes = document_passes(model, head, encoded, read_windows, [reading.ask for reading in readings])
        return document_reading(encoded, windows, passes, finish, items=items, digest=digest)

    return Reader(check=check, read=read)


def tokenize(model: ServedModel, options: RequestOptions, limits: Limits) -> Reader[Document, Sequence[TokenSpan]]:
    """Read documents into tokens, without the model."""

    def read(document: Document) -> Steps[Reading[Sequence[TokenSpan]]]:
        encoded = yield from encode(model, document, limits)
        windows = plan_windows(model, document, encoded, options, limits)
        items = windows[-1].keep_stop - windows[0].keep_start
        check_items(items, limits, whose=document.name)

        def finish(_: Sequence[WindowOutput]) -> Sequence[TokenSpan]:
            kept = kept_tokens(encoded, windows)

            def make(start: int, stop: int) -> list[TokenSpan]:
                found = zip(kept.ids[start:stop].tolist(), kept.offsets[start:stop].tolist(), strict=True)
                return [
                    TokenSpan(id=id_, token=model.tokenizer.token(id_), start=begin, end=end) for id_, (begin, end) in found
                ]

            return Made(len(kept), make)

        return document_reading(encoded, windows, (), finish, items=items)

    return Reader(check=lambda document: check_document(document, limits), read=read)
