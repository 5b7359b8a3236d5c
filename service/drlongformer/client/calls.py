"""What is asked, route by route: inputs and options become a `Job`, which knows nothing of connections.

A route more is one function here, its result in `results.py`, and one method in each of the two clients.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack

from drlongformer.client.results import (
    Analysis,
    Answer,
    Choice,
    Embedding,
    Embeddings,
    Entities,
    Labels,
    Masks,
    Similarity,
    Tokens,
)
from drlongformer.errors import InvalidRequest

R = TypeVar("R")
A = TypeVar("A", bound=Answer[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text with the caller's own name for it, which comes back with its result and is never logged."""

    text: str
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question with its options by name, and the text it is asked about, if any."""

    question: str
    options: Mapping[str, str]
    context: str | None = None
    id: str | None = None


Texts = str | Document | Iterable[str | Document]


class Common(TypedDict, total=False):
    """Options that every task understands; those left out are the service's own defaults."""

    model: str
    head: str
    overflow: Literal["windows", "refuse", "truncate"]
    truncate_side: Literal["head", "tail"]
    priority: Literal["interactive", "bulk"]
    on_error: Literal["fail", "report"]


class EmbedOptions(Common, total=False):
    """Options of `/embed`; chunks: a kind of part, or for every text a list of ranges (start, end) of its characters."""

    pooling: Literal["cls", "mean"]
    normalize: bool
    dimensions: int
    chunks: Literal["sentences", "paragraphs"] | Sequence[Any]


class NerOptions(Common, total=False):
    """Options of `/ner`."""

    aggregation: Literal["simple", "first", "average", "max", "none"]
    labels: Sequence[str]
    min_score: float
    return_text: bool
    redact: bool


class ClassifyOptions(Common, total=False):
    """Options of `/classify`."""

    top_k: int
    function: Literal["softmax", "sigmoid", "none"]


class AnalyzeOptions(Common, total=False):
    """Options of `/analyze`: under a task's name those of its own route, and its `head`."""

    embed: EmbedOptions
    ner: NerOptions
    classify: ClassifyOptions


class FillMaskOptions(Common, total=False):
    """Options of `/fill-mask`."""

    top_k: int
    targets: Sequence[str]


class ChoiceOptions(Common, total=False):
    """Options of `/multiple-choice`."""

    multiple: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[R, A]):
    """One call: its units, each as JSON, and what stands before and after them in the body of every request.

    total: how many units there are, None where that is not known before the last. single: the type of one result.
    chunks: what each unit's chunks are, where they are given one by one; they travel with their units. around_chunks: what then
    stands around their list, in place of the end of the body.
    """

    path: str
    units: Iterator[bytes]
    total: int | None
    opening: bytes
    closing: bytes
    single: type[R]
    answer: type[A]
    model: str | None = None
    chunks: tuple[bytes, ...] | None = None
    around_chunks: tuple[bytes, bytes] = (b',"chunks":[', b"]}")

    def body(self, units: Sequence[bytes], *, start: int = 0) -> bytes:
        """The body of a request about these units, of which the first is number `start`."""
        body = self.opening + b",".join(units) + self.closing
        if self.chunks is None:
            return body
        before, after = self.around_chunks
        return body[:-1] + before + b",".join(self.chunks[start : start + len(units)]) + after


def embed(inputs: Texts, **options: Unpack[EmbedOptions]) -> Job[Embedding, Embeddings]:
    """`POST /embed`; vectors travel as base64. Raises InvalidRequest unless every text has its list of given chunks."""
    asked: dict[str, Any] = {**options, "encoding": "base64"}
    given = asked.get("chunks")
    if given is None or isinstance(given, str):
        return _about_texts("/embed", inputs, asked, Embedding, Embeddings)
    del asked["chunks"]
    texts, given = _alike(inputs, given)
    return _chunked(_about_texts("/embed", texts, asked, Embedding, Embeddings), given)


def _alike(inputs: Texts, given: Sequence[Any]) -> tuple[Texts, Sequence[Any]]:
    """The texts and their lists of chunks: what is given with a single text may be its list, or a list of it alone."""
    if not isinstance(inputs, str | Document):
        return inputs, given
    return [inputs], given if _nested(given) else [given]


def _chunked(job: Job[R, A], given: Sequence[Any]) -> Job[R, A]:
    """The call with the chunks of each of its units. Raises InvalidRequest unless each has its own."""
    if job.total != len(given):
        raise InvalidRequest(f"{len(given)} lists of chunks for {job.total or 'a stream of'} texts; each text needs its own")
    return replace(job, chunks=tuple(_json(each, whose="a list of chunks") for each in given))


def _nested(chunks: Sequence[Any]) -> bool:
    """Whether these are lists of ranges, and not ranges."""
    return any(not isinstance(place, int) for each in chunks for place in each)


def ner(inputs: Texts, **options: Unpack[NerOptions]) -> Job[Entities, Answer[Entities]]:
    """`POST /ner`."""
    return _about_texts("/ner", inputs, options, Entities, Answer)


def classify(inputs: Texts, **options: Unpack[ClassifyOptions]) -> Job[Labels, Answer[Labels]]:
    """`POST /classify`."""
    return _about_texts("/classify", inputs, options, Labels, Answer)


def analyze(
    inputs: Texts, tasks: Sequence[Literal["embed", "ner", "classify"]], **options: Unpack[AnalyzeOptions]
) -> Job[Analysis, Answer[Analysis]]:
    """`POST /analyze`; vectors travel as base64. Raises InvalidRequest unless every text has its list of given chunks."""
    asked: dict[str, Any] = {**options, "tasks": list(tasks)}
    embed: dict[str, Any] = {**options.get("embed", {}), "encoding": "base64"}
    given = embed.get("chunks")
    if "embed" not in tasks or given is None or isinstance(given, str):
        asked |= {"embed": embed} if "embed" in tasks else {}
        return _about_texts("/analyze", inputs, asked, Analysis, Answer)
    asked.pop("embed")
    del embed["chunks"]
    texts, given = _alike(inputs, given)
    job = _chunked(_about_texts("/analyze", texts, asked, Analysis, Answer), given)
    return replace(job, around_chunks=(b',"embed":' + _json(embed, whose="an option")[:-1] + b',"chunks":[', b"]}}"))


def fill_mask(inputs: Texts, **options: Unpack[FillMaskOptions]) -> Job[Masks, Answer[Masks]]:
    """`POST /fill-mask`."""
    return _about_texts("/fill-mask", inputs, options, Masks, Answer)


def tokenize(inputs: Texts, **options: Unpack[Common]) -> Job[Tokens, Answer[Tokens]]:
    """`POST /tokenize`."""
    return _about_texts("/tokenize", inputs, options, Tokens, Answer)


def similarity(pairs: Iterable[tuple[str, str]], **options: Unpack[Common]) -> Job[Similarity, Answer[Similarity]]:
    """`POST /similarity` about pairs of texts."""
    units = _encoded({"text1": first, "text2": second} for first, second in pairs)
    return _job("/similarity", units, _size(pairs), options, Similarity, Answer)


def similarity_to(source: str, sentences: Iterable[str], **options: Unpack[Common]) -> Job[Similarity, Answer[Similarity]]:
    """`POST /similarity` about one text and each of several."""
    around = (b'{"source":' + _json(source, whose="the source") + b',"sentences":[', b"]}")
    return _job("/similarity", _encoded(sentences), _size(sentences), options, Similarity, Answer, around=around)


def multiple_choice(questions: Question | Iterable[Question], **options: Unpack[ChoiceOptions]) -> Job[Choice, Answer[Choice]]:
    """`POST /multiple-choice`."""
    asked = [questions] if isinstance(questions, Question) else questions
    units = _encoded(
        _known(question=each.question, options=dict(each.options), context=each.context, id=each.id) for each in asked
    )
    return _job("/multiple-choice", units, _size(asked), options, Choice, Answer)


def _about_texts(path: str, inputs: Texts, options: Mapping[str, Any], single: type[R], answer: type[A]) -> Job[R, A]:
    texts = [inputs] if isinstance(inputs, str | Document) else inputs
    units = _encoded(each if isinstance(each, str) else _known(text=each.text, id=each.id) for each in texts)
    return _job(path, units, _size(texts), options, single, answer)


def _job(
    path: str,
    units: Iterator[bytes],
    total: int | None,
    options: Mapping[str, Any],
    single: type[R],
    answer: type[A],
    *,
    around: tuple[bytes, bytes] = (b"[", b"]"),
) -> Job[R, A]:
    """The fields beside `inputs` stand after it, in one object with it."""
    rest = _json(dict(options), whose="an option")[1:]
    return Job(
        path=path,
        units=units,
        total=total,
        opening=b'{"inputs":' + around[0],
        closing=around[1] + (b"," if options else b"") + rest,
        single=single,
        answer=answer,
        model=options.get("model"),
    )


def _encoded(units: Iterable[Any]) -> Iterator[bytes]:
    return (_json(unit, whose=f"document {index}") for index, unit in enumerate(units))


def _json(value: Any, *, whose: str) -> bytes:
    """Raises InvalidRequest for a text that UTF-8 cannot write; Python's own error would quote it."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{whose} holds a lone surrogate, which no text in UTF-8 has") from None


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _size(units: Iterable[Any]) -> int | None:
    return len(units) if isinstance(units, Sized) else None
