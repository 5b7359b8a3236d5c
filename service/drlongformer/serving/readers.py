"""The readers of documents, task by task: each checks once per request what was asked, then reads one document at a time.

`embed`, `ner` and `classify` put one task to a document, `analyze` several at once (`document_tasks.py`, `embedding.py`);
`fill_mask` and `tokenize` read in a way of their own. Each gives a `Reader` (`reading.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import attrgetter
from typing import Any, TypeVar

from drlongformer.errors import InputError
from drlongformer.serving import document_tasks, embedding
from drlongformer.serving.document_tasks import DocumentTask
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
    least_of,
    plan_windows,
)
from drlongformer.serving.requests import (
    Analysis,
    AnalyzeOptions,
    ClassifyOptions,
    Embedding,
    EmbedOptions,
    Entities,
    FillMaskOptions,
    NerOptions,
    RequestOptions,
    TokenSpan,
)
from drlongformer.tasks import fill_mask as fill_mask_task
from drlongformer.tasks.ask import joined
from drlongformer.tasks.classify import LabelScore
from drlongformer.tasks.fill_mask import BestWords, MaskPredictions
from drlongformer.text.windows import kept_tokens
from drlongformer.types import Document, Made, WindowOutput

A = TypeVar("A")


def embed(model: ServedModel, options: EmbedOptions, limits: Limits) -> Reader[Document, Embedding]:
    """Read documents into vectors. Raises as `embedding.embed`."""
    return _alone(model, embedding.embed(model, options), options.common, limits)


def ner(model: ServedModel, options: NerOptions, limits: Limits) -> Reader[Document, Entities]:
    """Read documents for entities. Raises UnknownLabel."""
    return _alone(model, document_tasks.ner(model, options), options.common, limits)


def classify(model: ServedModel, options: ClassifyOptions, limits: Limits) -> Reader[Document, tuple[LabelScore, ...]]:
    """Read documents for their labels."""
    return _alone(model, document_tasks.classify(model, options), options.common, limits)


def analyze(model: ServedModel, options: AnalyzeOptions, limits: Limits) -> Reader[Document, Analysis]:
    """Read documents for several tasks, in one pass for all heads that look at the text alike. Raises as the tasks' own."""
    tasks: dict[str, DocumentTask[Any]] = {}
    if options.embed is not None:
        with _among_options_of("embed"):
            tasks["embed"] = embedding.embed(model, options.embed)
    if options.ner is not None:
        with _among_options_of("ner"):
            tasks["ner"] = document_tasks.ner(model, options.ner)
    if options.classify is not None:
        with _among_options_of("classify"):
            tasks["classify"] = document_tasks.classify(model, options.classify)
    return _together(model, tasks, options.common, limits, lambda found: Analysis(**found))


@contextmanager
def _among_options_of(task: str) -> Iterator[None]:
    """Tell the place of an error in one task's options as that of a request for several; no task is no place."""
    try:
        yield
    except InputError as error:
        error.location = (task, *error.location) if task else error.location
        raise


def _alone(model: ServedModel, task: DocumentTask[A], options: RequestOptions, limits: Limits) -> Reader[Document, A]:
    def only(found: Mapping[str, Any]) -> A:
        answer: A = found[""]
        return answer

    return _together(model, {"": task}, options, limits, only)


def _together(
    model: ServedModel,
    tasks: Mapping[str, DocumentTask[Any]],
    options: RequestOptions,
    limits: Limits,
    answer: Callable[[Mapping[str, Any]], A],
) -> Reader[Document, A]:
    """Read documents for tasks by name; those whose heads were trained with the same global tokens share their passes."""
    sharing = [
        [name for name, task in tasks.items() if task.head.global_attention == mode]
        for mode in dict.fromkeys(task.head.global_attention for task in tasks.values())
    ]

    def read(document: Document) -> Steps[Reading[A]]:
        encoded = yield from encode(model, document, limits)
        windows = plan_windows(model, document, encoded, options, limits)
        parts = {}
        for name, task in tasks.items():
            with _among_options_of(name):
                parts[name] = yield from task.part(document, encoded, windows)
        passes = [
            document_passes(
                model,
                tasks[names[0]].head,
                encoded,
                windows,
                [joined(asks) for asks in zip(*(parts[name].asks for name in names), strict=True)],
            )
            for names in sharing
        ]
        items = sum(part.items for part in parts.values())
        check_items(items, limits, whose=document.name)

        def finish(outputs: Sequence[WindowOutput]) -> A:
            of = {
                name: outputs[place * len(windows) : (place + 1) * len(windows)]
                for place, names in enumerate(sharing)
                for name in names
            }
            return answer({name: part.finish(of[name]) for name, part in parts.items()})

        return document_reading(encoded, windows, tuple(chain(*passes)), finish, items=items)

    def least(document: Document, characters: int) -> int:
        return least_of(model, document, options, characters)

    return Reader(check=lambda document: check_document(document, limits), read=read, least=least)


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
        unread = fill_mask_task.unread(masked, windows)
        items = words * sum(len(reading.masks) for reading in readings) + len(unread)
        check_items(items, limits, whose=document.name)

        def finish(found: Sequence[BestWords]) -> tuple[MaskPredictions, ...]:
            told = [
                MaskPredictions(start=start, end=end, predictions=()) for start, end in map(masked.spans.__getitem__, unread)
            ]
            for reading, best in zip(readings, found, strict=True):
                spans = [masked.spans[mask] for mask in reading.masks]
                told += fill_mask_task.predict(best, spans, tokenizer=model.tokenizer)
            return tuple(sorted(told, key=attrgetter("start")))

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

    return Reader(check=lambda document: check_document(document, limits), read=read, least=None)
