"""Embedding a document, and with it its sentences, paragraphs or given ranges: the task that asks for sums.

A document is located in tokens once; the same sums give its own mean and those of its chunks (`tasks/chunks.py`). Chunks that
are found, such as sentences, are left out where no token of theirs is read; one that the caller gave is an error there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from drlongformer.errors import InvalidRequest
from drlongformer.serving.document_tasks import DocumentTask, Part
from drlongformer.serving.models import ServedModel
from drlongformer.serving.reading import Steps
from drlongformer.serving.requests import Chunk, Chunks, Embedding, EmbedOptions
from drlongformer.tasks import chunks as chunk_task
from drlongformer.tasks import embed as embed_task
from drlongformer.tasks.embed import Pooling
from drlongformer.text.sentences import Span, paragraphs, sentences
from drlongformer.types import HIDDEN, Document, Encoded, FloatArray, IntArray, Window, WindowOutput

NUMBERS_PER_ITEM: Final = 8
"""Numbers of chunks' vectors that weigh as much in an answer as one token that is told of."""

SPANS_AT_ONCE: Final = 500
"""Sentences found in one step of reading."""


def embed(model: ServedModel, options: EmbedOptions) -> DocumentTask[Embedding]:
    """Vectors. Raises InvalidRequest for dimensions the vectors do not have, and for chunks of what is not a mean."""
    head = model.bundle.head("embed", options.common.head)
    pooling = options.pooling or head.pooling or "mean"
    if options.chunks is not None and pooling != "mean":
        raise InvalidRequest(f"chunks are means of tokens; they need pooling 'mean', not {pooling!r}", location=("pooling",))
    size = model.engine.widths[HIDDEN]
    embed_task.check_dimensions(options.dimensions, size=size)
    dimensions = options.dimensions or size
    space = embed_task.space(model.bundle.sha256, pooling=pooling, dimensions=dimensions, normalize=options.normalize)
    answers = _Answers(options=options, space=space, dimensions=dimensions)
    if options.chunks is None:
        return DocumentTask(head=head, part=partial(_whole, pooling=pooling, answers=answers))
    return DocumentTask(head=head, part=partial(_with_chunks, wanted=options.chunks, answers=answers))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """Vectors as they were asked for."""

    options: EmbedOptions
    space: str
    dimensions: int

    def of(self, vector: FloatArray, chunks: tuple[Chunk, ...] | None = None) -> Embedding:
        """A document's answer."""
        return Embedding(vector=self.finished(vector), space=self.space, chunks=chunks)

    def finished(self, vector: FloatArray) -> FloatArray:
        """A vector cut and normalised."""
        return embed_task.finish(vector, normalize=self.options.normalize, dimensions=self.options.dimensions)


def _whole(
    _document: Document, _encoded: Encoded, windows: Sequence[Window], *, pooling: Pooling, answers: _Answers
) -> Steps[Part[Embedding]]:
    def finish(outputs: Sequence[WindowOutput]) -> Embedding:
        return answers.of(embed_task.merge(outputs, windows, pooling=pooling))

    yield
    asks = [embed_task.ask(window, pooling=pooling, only=len(windows) == 1) for window in windows]
    return Part(asks=asks, finish=finish)


def _with_chunks(
    document: Document, encoded: Encoded, windows: Sequence[Window], *, wanted: Chunks, answers: _Answers
) -> Steps[Part[Embedding]]:
    spans = yield from _spans(document, wanted)
    ranges = chunk_task.locate(spans, encoded.offsets)
    spans, ranges = _that_are_read(spans, ranges, windows, document, given=not isinstance(wanted, str))
    only, cuts = len(windows) == 1, chunk_task.cuts_of(ranges, windows)

    def finish(outputs: Sequence[WindowOutput]) -> Embedding:
        sums = chunk_task.sums(outputs, windows, cuts)
        vectors = chunk_task.chunk_vectors(sums, cuts, ranges)
        found = zip(spans.tolist(), vectors, strict=True)
        return answers.of(
            chunk_task.document_vector(sums, cuts, only=only),
            tuple(Chunk(start=start, end=end, vector=answers.finished(vector)) for (start, end), vector in found),
        )

    asks = [chunk_task.ask(window, cuts, only=only) for window in windows]
    return Part(asks=asks, finish=finish, items=len(spans) * answers.dimensions // NUMBERS_PER_ITEM)


def _spans(document: Document, wanted: Chunks) -> Steps[IntArray]:
    """The characters `[K, 2]` of a document's chunks. Raises InvalidRequest for given ones that it does not have."""
    if wanted == "sentences":
        return (yield from _gathered(sentences(document.text)))
    if wanted == "paragraphs":
        return (yield from _gathered(paragraphs(document.text)))
    return (yield from _given(wanted, document))


def _given(lists: Sequence[Sequence[Span]], document: Document) -> Steps[IntArray]:
    if document.index >= len(lists):
        raise InvalidRequest(f"{document.name} has none of the {len(lists)} lists of chunks", location=("chunks",))
    spans = yield from _gathered(iter(lists[document.index]))
    bad = (spans[:, 0] < 0) | (spans[:, 0] >= spans[:, 1]) | (spans[:, 1] > document.characters)
    if bad.any():
        place = int(bad.argmax())
        raise InvalidRequest(
            f"chunk {place} of {document.name} is {spans[place, 0]}:{spans[place, 1]},"
            f" which is no range of its {document.characters} characters",
            location=("chunks", document.index, place),
        )
    return spans


def _gathered(found: Iterator[Span]) -> Steps[IntArray]:
    spans = []
    for number, span in enumerate(found):
        spans.append(span)
        if number % SPANS_AT_ONCE == 0:
            yield
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def _that_are_read(
    spans: IntArray, ranges: IntArray, windows: Sequence[Window], document: Document, *, given: bool
) -> tuple[IntArray, IntArray]:
    """The chunks that hold a token which some window keeps. Raises InvalidRequest for another one that was given."""
    within = np.clip(ranges, windows[0].keep_start, windows[-1].keep_stop)
    read = within[:, 0] < within[:, 1]
    if given and not read.all():
        place = int(read.argmin())
        raise InvalidRequest(
            f"chunk {place} of {document.name}, {spans[place, 0]}:{spans[place, 1]}, holds no token that is read",
            location=("chunks", document.index, place),
        )
    return spans[read], ranges[read]
