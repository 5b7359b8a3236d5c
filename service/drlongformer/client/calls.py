"""What is asked, route by route: inputs and options become a `Job`, which knows nothing of connections.

A route more is one function here, its result in `results.py`, and one method in each of the two clients.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack

from drlongformer.client import units as forms
from drlongformer.client.errors import BadRequest, Problem, unsent
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
from drlongformer.client.units import Document, Question, Units, placed_json

R = TypeVar("R")
A = TypeVar("A", bound=Answer[Any])

Text = str | Document | Mapping[str, Any]
Texts = Text | Iterable[Text]
Pairs = Iterable[tuple[str, str] | Mapping[str, Any]]
Sentences = Iterable[str]
Questions = Question | Mapping[str, Any] | Iterable[Question | Mapping[str, Any]]


class Common(TypedDict, total=False):
    """Options that every task understands; those left out are the service's own defaults.

    offsets: what `start` and `end` count, of answers and of given chunks alike.
    """

    model: str
    head: str
    overflow: Literal["windows", "refuse", "truncate"]
    truncate_side: Literal["head", "tail"]
    priority: Literal["interactive", "bulk"]
    on_error: Literal["fail", "report"]
    offsets: Literal["codepoint", "utf16"]


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


class TokenizeOptions(Common, total=False):
    """Options of `/tokenize`."""

    return_tokens: bool


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
    unfit: what is wrong with units that could not be sent, by their index; it fills as units are taken.
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
    unfit: Mapping[int, Problem] = field(default_factory=dict)
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
    """`POST /embed`; vectors travel as base64. Raises BadRequest unless every text has its list of given chunks."""
    _check_names("/embed", options, EmbedOptions)
    asked: dict[str, Any] = {**options, "encoding": "base64"}
    given = asked.get("chunks")
    if given is None or isinstance(given, str):
        return _about_texts("/embed", inputs, asked, Embedding, Embeddings)
    del asked["chunks"]
    texts, given = _alike(inputs, given)
    return _chunked(_about_texts("/embed", texts, asked, Embedding, Embeddings), given, at=("chunks",))


def _alike(inputs: Texts, given: Sequence[Any]) -> tuple[Texts, Sequence[Any]]:
    """The texts and their lists of chunks: what is given with a single text may be its list, or a list of it alone."""
    if not isinstance(inputs, str | Document | Mapping):
        return inputs, given
    return [inputs], given if _nested(given) else [given]


def _chunked(job: Job[R, A], given: Sequence[Any], *, at: tuple[str, ...]) -> Job[R, A]:
    """The call with the chunks of each of its units. Raises BadRequest unless each has its own."""
    if job.total != len(given):
        sentence = f"{len(given)} lists of chunks for {job.total or 'a stream of'} texts; each text needs its own"
        raise BadRequest(unsent(sentence, loc=at))
    return replace(job, chunks=tuple(placed_json(each, at=(*at, index)) for index, each in enumerate(given)))


def _nested(chunks: Sequence[Any]) -> bool:
    """Whether these are lists of ranges, and not ranges."""
    return any(not isinstance(place, int) for each in chunks if isinstance(each, Sequence) for place in each)


def ner(inputs: Texts, **options: Unpack[NerOptions]) -> Job[Entities, Answer[Entities]]:
    """`POST /ner`."""
    _check_names("/ner", options, NerOptions)
    return _about_texts("/ner", inputs, options, Entities, Answer)


def classify(inputs: Texts, **options: Unpack[ClassifyOptions]) -> Job[Labels, Answer[Labels]]:
    """`POST /classify`."""
    _check_names("/classify", options, ClassifyOptions)
    return _about_texts("/classify", inputs, options, Labels, Answer)


def analyze(
    inputs: Texts, tasks: Sequence[Literal["embed", "ner", "classify"]], **options: Unpack[AnalyzeOptions]
) -> Job[Analysis, Answer[Analysis]]:
    """`POST /analyze`; vectors travel as base64. Raises BadRequest unless every text has its list of given chunks."""
    _check_names("/analyze", options, AnalyzeOptions)
    asked: dict[str, Any] = {**options, "tasks": list(tasks)}
    embed: dict[str, Any] = {**options.get("embed", {}), "encoding": "base64"}
    given = embed.get("chunks")
    if "embed" not in tasks or given is None or isinstance(given, str):
        asked |= {"embed": embed} if "embed" in tasks else {}
        return _about_texts("/analyze", inputs, asked, Analysis, Answer)
    asked.pop("embed")
    del embed["chunks"]
    texts, given = _alike(inputs, given)
    job = _chunked(_about_texts("/analyze", texts, asked, Analysis, Answer), given, at=("embed", "chunks"))
    opening = b',"embed":' + placed_json(embed, at=("embed",))[:-1] + b',"chunks":['
    return replace(job, around_chunks=(opening, b"]}}"))


def fill_mask(inputs: Texts, **options: Unpack[FillMaskOptions]) -> Job[Masks, Answer[Masks]]:
    """`POST /fill-mask`."""
    _check_names("/fill-mask", options, FillMaskOptions)
    return _about_texts("/fill-mask", inputs, options, Masks, Answer)


def tokenize(inputs: Texts, **options: Unpack[TokenizeOptions]) -> Job[Tokens, Answer[Tokens]]:
    """`POST /tokenize`."""
    _check_names("/tokenize", options, TokenizeOptions)
    return _about_texts("/tokenize", inputs, options, Tokens, Answer)


def similarity(pairs: Pairs, **options: Unpack[Common]) -> Job[Similarity, Answer[Similarity]]:
    """`POST /similarity` about pairs of texts."""
    _check_names("/similarity", options, Common)
    units = Units(asked=forms.several(pairs, "pairs of texts"), form=forms.pair, report=_reported(options))
    return _job("/similarity", units, options, Similarity, Answer)


def similarity_to(source: str, sentences: Sentences, **options: Unpack[Common]) -> Job[Similarity, Answer[Similarity]]:
    """`POST /similarity` about one text and each of several."""
    _check_names("/similarity", options, Common)
    at = ("inputs", "sentences")
    around = (b'{"source":' + placed_json(source, at=("inputs", "source")) + b',"sentences":[', b"]}")
    asked = forms.several(sentences, "several texts", at=at)
    units = Units(asked=asked, form=forms.sentence, report=_reported(options), at=at)
    return _job("/similarity", units, options, Similarity, Answer, around=around)


def multiple_choice(questions: Questions, **options: Unpack[ChoiceOptions]) -> Job[Choice, Answer[Choice]]:
    """`POST /multiple-choice`."""
    _check_names("/multiple-choice", options, ChoiceOptions)
    single = isinstance(questions, Question | Mapping)
    asked = [questions] if single else forms.several(questions, "a Question, or several")
    return _job("/multiple-choice", Units(asked=asked, form=forms.question, report=_reported(options)), options, Choice, Answer)


def _about_texts(path: str, inputs: Texts, options: Mapping[str, Any], single: type[R], answer: type[A]) -> Job[R, A]:
    alone = isinstance(inputs, str | Document | Mapping)
    texts = [inputs] if alone else forms.several(inputs, "a text, a Document, or several of them")
    return _job(path, Units(asked=texts, form=forms.document, report=_reported(options)), options, single, answer)


def _job(
    path: str,
    units: Units,
    options: Mapping[str, Any],
    single: type[R],
    answer: type[A],
    *,
    around: tuple[bytes, bytes] = (b"[", b"]"),
) -> Job[R, A]:
    """The fields beside `inputs` stand after it, in one object with it."""
    rest = b"".join(b',"%b":%b' % (name.encode(), placed_json(value, at=(name,))) for name, value in options.items())
    return Job(
        path=path,
        units=iter(units),
        total=len(units.asked) if isinstance(units.asked, Sized) else None,
        opening=b'{"inputs":' + around[0],
        closing=around[1] + rest + b"}",
        single=single,
        answer=answer,
        model=options.get("model"),
        unfit=units.unfit,
    )


def _reported(options: Mapping[str, Any]) -> bool:
    return options.get("on_error") == "report"


def _check_names(path: str, options: Mapping[str, Any], kind: Any) -> None:
    """Refuse what is no option of a route, by its name, as the service cannot: there it could be part of a text."""
    _check_among(path, options, _names(kind))
    if path != "/analyze":
        return
    for task, own in _NESTED.items():
        given = options.get(task)
        if isinstance(given, Mapping):
            _check_among(f"/{task} in an analysis", given, _names(own) - _names(Common) | {"head"}, at=(task,))


def _check_among(whose: str, options: Mapping[str, Any], there: frozenset[str], *, at: tuple[str, ...] = ()) -> None:
    for name in options:
        if name in there:
            continue
        close = difflib.get_close_matches(name, there, n=1)
        meant = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(there))}"
        raise BadRequest(unsent(f"is no option of {whose}; {meant}", loc=(*at, name)))


def _names(kind: Any) -> frozenset[str]:
    """The fields of a TypedDict, all of which may be left out."""
    names: frozenset[str] = kind.__optional_keys__
    return names


_NESTED: Mapping[str, Any] = {"embed": EmbedOptions, "ner": NerOptions, "classify": ClassifyOptions}
