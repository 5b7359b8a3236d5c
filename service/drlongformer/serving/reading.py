"""One document's reading, task by task: what the model is asked about it, and how its answers become the document's own.

`embed`, `ner`, `classify`, `fill_mask` and `tokenize` check what was asked of them once per request and give a `Reader`: a pure
function from a document to its `Reading`, which holds one `WindowInput` per pass and `finish`, from the passes' outputs to the
answer. Whoever runs the passes knows nothing of tasks. All of it may run in any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from drlongformer.bundle import HeadSpec
from drlongformer.errors import DocumentTooLong, EmptyText
from drlongformer.serving.engine import Digest
from drlongformer.serving.models import ServedModel
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
from drlongformer.tasks.ask import Ask
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.fill_mask import BestWords, MaskPredictions
from drlongformer.text.tokenizer import Masked
from drlongformer.text.windows import SPECIALS, kept_tokens, plan, truncate
from drlongformer.text.words import has_visible
from drlongformer.types import HIDDEN, Document, Encoded, Window, WindowInput, WindowOutput

A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be asked: characters of a document before it is tokenised, its windows after, items of a request's answer.

    An item is a token told of by `tokenize`, or a word for a mask: the two answers that may be far larger than their question.
    """

    max_characters: int = 1_000_000
    max_windows: int = 64
    max_answer_items: int = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[A]):
    """A document made ready: the passes it takes, and what becomes of their outputs, given in the same order.

    tokens: content tokens of the whole document plus the special tokens of one window. windows: how many were planned.
    items: see `Limits`. digest: see `engine.compute`, it depends on the request alone; `finish` is given what it made.
    """

    tokens: int
    windows: int
    truncated: bool
    items: int
    passes: tuple[WindowInput, ...]
    digest: Digest | None
    finish: Callable[[Sequence[Any]], A]


Reader = Callable[[Document], Reading[A]]


def embed(model: ServedModel, options: EmbedOptions, limits: Limits) -> Reader[Embedding]:
    """Read documents into vectors. Raises InvalidRequest for dimensions the vectors do not have."""
    head = model.bundle.head("embed", options.common.head)
    pooling = options.pooling or head.pooling or "mean"
    size = model.engine.widths[HIDDEN]
    embed_task.check_dimensions(options.dimensions, size=size)
    space = embed_task.space(model.bundle.sha256, pooling=pooling, dimensions=options.dimensions or size)

    def read(document: Document) -> Reading[Embedding]:
        encoded = _encode(model, document, limits)
        windows = _plan(model, document, len(encoded), options.common, limits)

        def finish(outputs: Sequence[WindowOutput]) -> Embedding:
            vector = embed_task.merge(outputs, windows, pooling=pooling)
            vector = embed_task.finish(vector, normalize=options.normalize, dimensions=options.dimensions)
            return Embedding(vector=vector, space=space)

        asks = [embed_task.ask(window, pooling=pooling, only=len(windows) == 1) for window in windows]
        return _reading(encoded, windows, _passes(model, head, encoded, windows, asks), finish)

    return read


def ner(model: ServedModel, options: NerOptions, limits: Limits) -> Reader[Entities]:
    """Read documents for entities. Raises UnknownLabel."""
    head = model.bundle.head("ner", options.common.head)
    decoding = ner_task.Decoding(
        aggregation=options.aggregation or head.decoding or "simple",
        thresholds=head.thresholds,
        labels=options.labels,
        min_score=options.min_score,
    )
    ner_task.check_labels(decoding, head.labels)

    def read(document: Document) -> Reading[Entities]:
        encoded = _encode(model, document, limits)
        windows = _plan(model, document, len(encoded), options.common, limits)

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
        return _reading(encoded, windows, _passes(model, head, encoded, windows, asks), finish)

    return read


def classify(model: ServedModel, options: ClassifyOptions, limits: Limits) -> Reader[tuple[LabelScore, ...]]:
    """Read documents for their labels."""
    head = model.bundle.head("classify", options.common.head)
    function = options.function or head.function or "softmax"

    def read(document: Document) -> Reading[tuple[LabelScore, ...]]:
        encoded = _encode(model, document, limits)
        windows = _plan(model, document, len(encoded), options.common, limits)

        def finish(outputs: Sequence[WindowOutput]) -> tuple[LabelScore, ...]:
            logits = classify_task.merge(outputs, windows, output=head.output, window_merge=head.window_merge)
            return classify_task.decide(
                logits, labels=head.labels, function=function, top_k=options.top_k, thresholds=head.thresholds
            )

        asks = [classify_task.ask(output=head.output) for _ in windows]
        return _reading(encoded, windows, _passes(model, head, encoded, windows, asks), finish)

    return read


def fill_mask(model: ServedModel, options: FillMaskOptions, limits: Limits) -> Reader[tuple[MaskPredictions, ...]]:
    """Read documents for the words behind their masks. Raises MaskError for a target that is not one token."""
    head = model.bundle.head("fill-mask", options.common.head)
    targets = None if options.targets is None else fill_mask_task.target_ids(options.targets, model.tokenizer)
    words = min(options.top_k, model.tokenizer.vocab_size if targets is None else len(targets))

    def digest(output: WindowOutput) -> BestWords:
        return fill_mask_task.best(output.rows[head.output], top_k=options.top_k, targets=targets)

    def read(document: Document) -> Reading[tuple[MaskPredictions, ...]]:
        masked = _encode_masked(model, document, limits)
        encoded = masked.encoded
        windows = _plan(model, document, len(encoded), options.common, limits)
        readings = fill_mask_task.ask(masked, windows, output=head.output, mask_token=model.tokenizer.mask_token)
        items = words * sum(len(reading.masks) for reading in readings)
        check_items(items, limits, whose=f"document {document.index}")

        def finish(passes: Sequence[BestWords]) -> tuple[MaskPredictions, ...]:
            return tuple(
                prediction
                for reading, best in zip(readings, passes, strict=True)
                for prediction in fill_mask_task.predict(
                    best, [masked.spans[mask] for mask in reading.masks], tokenizer=model.tokenizer
                )
            )

        read_windows = [windows[reading.window] for reading in readings]
        passes = _passes(model, head, encoded, read_windows, [reading.ask for reading in readings])
        return _reading(encoded, windows, passes, finish, items=items, digest=digest)

    return read


def tokenize(model: ServedModel, options: RequestOptions, limits: Limits) -> Reader[tuple[TokenSpan, ...]]:
    """Read documents into tokens, without the model."""

    def read(document: Document) -> Reading[tuple[TokenSpan, ...]]:
        encoded = _encode(model, document, limits)
        windows = _plan(model, document, len(encoded), options, limits)
        items = windows[-1].keep_stop - windows[0].keep_start
        check_items(items, limits, whose=f"document {document.index}")

        def finish(_: Sequence[WindowOutput]) -> tuple[TokenSpan, ...]:
            kept = kept_tokens(encoded, windows)
            return tuple(
                TokenSpan(id=token, token=model.tokenizer.token(token), start=start, end=end)
                for token, (start, end) in zip(kept.ids.tolist(), kept.offsets.tolist(), strict=True)
            )

        return _reading(encoded, windows, (), finish, items=items)

    return read


def check_items(items: int, limits: Limits, *, whose: str) -> None:
    """Raise DocumentTooLong for an answer larger than the limit."""
    if items > limits.max_answer_items:
        raise DocumentTooLong(f"the answer to {whose} would hold {items} items, the limit is {limits.max_answer_items}")


def _encode(model: ServedModel, document: Document, limits: Limits) -> Encoded:
    _check_text(document, limits)
    (encoded,) = model.tokenizer.encode_batch([document.text])
    return encoded


def _encode_masked(model: ServedModel, document: Document, limits: Limits) -> Masked:
    _check_text(document, limits)
    return model.tokenizer.encode_masked(document.text)


def _check_text(document: Document, limits: Limits) -> None:
    """Before tokenising, which can take long and give many times more tokens than characters.

    A text nobody can see is refused for every tokenizer alike: some have tokens for it, some have none.
    """
    if len(document.text) > limits.max_characters:
        raise DocumentTooLong(
            f"document {document.index} has {len(document.text)} characters, the limit is {limits.max_characters}"
        )
    if not has_visible(document.text):
        raise EmptyText(f"document {document.index} has no visible character")


def _plan(model: ServedModel, document: Document, tokens: int, options: RequestOptions, limits: Limits) -> tuple[Window, ...]:
    """The windows that are read of a document of so many content tokens. Raises EmptyText and DocumentTooLong."""
    manifest = model.bundle.manifest
    capacity = manifest.max_tokens - SPECIALS
    if not tokens:
        raise EmptyText(f"document {document.index} has no character that this model's tokenizer reads")
    if tokens > capacity and options.overflow == "truncate":
        return (truncate(tokens, capacity=capacity, side=options.truncate_side),)
    if tokens > capacity and options.overflow == "refuse":
        raise DocumentTooLong(f"document {document.index} has {tokens + SPECIALS} tokens, the limit is {manifest.max_tokens}")
    windows = plan(tokens, capacity=capacity, overlap=manifest.window_overlap)
    if len(windows) > limits.max_windows:
        raise DocumentTooLong(
            f"document {document.index} takes {len(windows)} windows ({tokens} tokens), the limit is {limits.max_windows}"
        )
    return windows


def _passes(
    model: ServedModel, head: HeadSpec, encoded: Encoded, windows: Sequence[Window], asks: Sequence[Ask]
) -> tuple[WindowInput, ...]:
    """One question to the model per window and ask."""
    global_slots = (0,) if head.global_attention == "first" else ()
    return tuple(
        ask.about(model.tokenizer.with_specials(encoded.ids[window.start : window.stop]), global_slots=global_slots)
        for window, ask in zip(windows, asks, strict=True)
    )


def _reading(
    encoded: Encoded,
    windows: Sequence[Window],
    passes: tuple[WindowInput, ...],
    finish: Callable[[Sequence[Any]], A],
    *,
    items: int = 0,
    digest: Digest | None = None,
) -> Reading[A]:
    read = windows[-1].keep_stop - windows[0].keep_start
    return Reading(
        tokens=len(encoded) + SPECIALS,
        windows=len(windows),
        truncated=read < len(encoded),
        items=items,
        passes=passes,
        digest=digest,
        finish=finish,
    )
