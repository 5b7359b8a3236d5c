"""The body of each task route's request; their JSON schemas are what `/openapi.json` shows.

What a task can be asked (`…Fields`) stands apart from what it is asked about, so that `/analyze` asks it in the same words.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from drlongformer.api.chunks import CHUNKS, ChunksField, for_every_document
from drlongformer.api.inputs import (
    OWN,
    PAIRS,
    QUESTION,
    QUESTIONS,
    SOURCE,
    Body,
    ChoiceInputs,
    DocumentBody,
    Inputs,
    PairBody,
    QuestionBody,
    SimilarityInputs,
    SourceBody,
    misplaced,
)
from drlongformer.api.schemas import CommonRequest, Name
from drlongformer.errors import InputError
from drlongformer.serving.requests import (
    AnalyzeOptions,
    ChoiceOptions,
    Chunks,
    ClassifyOptions,
    EmbedOptions,
    FillMaskOptions,
    NerOptions,
    RequestOptions,
)
from drlongformer.types import Document, Location, Pair, Question

Words = Annotated[list[Name], Field(min_length=1, max_length=1000)]


def _representable(value: Any) -> Any:
    """An integer beyond every float as the largest one, so that it is refused for its size and not as no number."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return sys.float_info.max if value > 0 else -sys.float_info.max
    return value


class TextRequest(CommonRequest[Inputs]):
    """A request about documents."""

    inner: ClassVar[Mapping[str, type[Body]]] = {"": DocumentBody}

    @property
    def units(self) -> tuple[Document, ...]:
        """The documents."""
        return tuple(
            Document(index=index, text=body.text, id=body.id, fault=self.fault(index)) for index, body in enumerate(self.inputs)
        )


class TokenizeRequest(TextRequest):
    """`POST /tokenize`."""

    return_tokens: bool = Field(True, description="Whether the tokens are listed, or only counted.")


class EmbedFields(Body):
    """What is asked of an embedding."""

    pooling: Literal["cls", "mean"] | None = Field(None, description="The model's own if left out.")
    normalize: bool = Field(True, description="Whether vectors have length 1.")
    dimensions: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Keep the first so many, renormalised."
    )
    encoding: Literal["float", "base64"] = Field("float", description="`base64`: little-endian float32.")
    chunks: ChunksField = CHUNKS

    def asked(self, common: RequestOptions) -> EmbedOptions:
        """The pipeline's options."""
        return EmbedOptions(
            common=common,
            pooling=self.pooling,
            normalize=self.normalize,
            dimensions=self.dimensions,
            chunks=self.chunks,
        )


class EmbedRequest(EmbedFields, TextRequest):
    """`POST /embed`."""

    @field_validator("chunks")
    @classmethod
    def _for_every_document(cls, chunks: Chunks | None, info: ValidationInfo) -> Chunks | None:
        return for_every_document(chunks, info)

    def options(self, deadline_seconds: float) -> EmbedOptions:
        """The pipeline's options."""
        return self.asked(self.common(deadline_seconds))


class NerFields(Body):
    """What is asked of entities."""

    aggregation: Literal["simple", "first", "average", "max", "none"] | None = Field(
        None, description="How tokens become entities, with Hugging Face's meanings; the model's own decoder if left out."
    )
    labels: Words | None = Field(None, description="Keep only these.")
    min_score: Annotated[float, Field(ge=0, le=1), BeforeValidator(_representable)] = Field(
        0.0, description="Keep entities of at least this score."
    )
    return_text: bool = Field(True, description="Whether entities carry their text.")
    redact: bool = Field(
        False, description="Also give the text with each entity that is answered replaced by `[LABEL]`; not with `truncate`."
    )

    def asked(self, common: RequestOptions) -> NerOptions:
        """The pipeline's options."""
        return NerOptions(
            common=common,
            aggregation=self.aggregation,
            labels=None if self.labels is None else tuple(self.labels),
            min_score=self.min_score,
            redact=self.redact,
        )


class NerRequest(NerFields, TextRequest):
    """`POST /ner`."""

    @field_validator("redact")
    @classmethod
    def _whole(cls, redact: bool, info: ValidationInfo) -> bool:
        _check_whole(redact, info)
        return redact

    def options(self, deadline_seconds: float) -> NerOptions:
        """The pipeline's options."""
        return self.asked(self.common(deadline_seconds))


def _check_whole(redact: bool, info: ValidationInfo, *, at: tuple[str, ...] = ()) -> None:
    if redact and info.data.get("overflow") == "truncate":
        raise misplaced([at], "needs the whole document; with overflow 'truncate' its rest is not read")


class ClassifyFields(Body):
    """What is asked of a classification."""

    top_k: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="The best so many labels; all if left out."
    )
    function: Literal["softmax", "sigmoid", "none"] | None = Field(None, description="The model's own if left out.")

    def asked(self, common: RequestOptions) -> ClassifyOptions:
        """The pipeline's options."""
        return ClassifyOptions(common=common, top_k=self.top_k, function=self.function)


class ClassifyRequest(ClassifyFields, TextRequest):
    """`POST /classify`."""

    def options(self, deadline_seconds: float) -> ClassifyOptions:
        """The pipeline's options."""
        return self.asked(self.common(deadline_seconds))


AnalyzedTask = Literal["embed", "ner", "classify"]


class Headed(Body):
    """Which head answers."""

    head: Name | None = Field(None, description="Which of the model's heads for this task; its first if left out.")


class AnalyzeEmbed(EmbedFields, Headed):
    """What `/analyze` asks of the embedding."""


class AnalyzeNer(NerFields, Headed):
    """What `/analyze` asks of the entities."""


class AnalyzeClassify(ClassifyFields, Headed):
    """What `/analyze` asks of the classification."""


class AnalyzeRequest(TextRequest):
    """`POST /analyze`."""

    inner: ClassVar[Mapping[str, type[Body]]] = {
        "": DocumentBody,
        "embed": AnalyzeEmbed,
        "ner": AnalyzeNer,
        "classify": AnalyzeClassify,
    }

    head: Name | None = Field(
        None, description="Must be left out: each task's options name theirs.", json_schema_extra={"const": None}
    )
    tasks: Annotated[list[AnalyzedTask], Field(min_length=1, max_length=3)] = Field(
        json_schema_extra={"uniqueItems": True},
        description="What is asked of every document; heads that were trained alike share one pass of the model.",
    )
    embed: AnalyzeEmbed | None = Field(None, description="As in `/embed`, with the `head` that answers.")
    ner: AnalyzeNer | None = Field(None, description="As in `/ner`, with the `head` that answers.")
    classify: AnalyzeClassify | None = Field(None, description="As in `/classify`, with the `head` that answers.")

    @field_validator("head")
    @classmethod
    def _in_each_task(cls, head: str | None) -> str | None:
        if head is not None:
            raise PydanticCustomError(OWN, "belongs into the options of each task")
        return head

    @field_validator("tasks")
    @classmethod
    def _once(cls, tasks: list[AnalyzedTask]) -> list[AnalyzedTask]:
        if len(set(tasks)) < len(tasks):
            raise PydanticCustomError(OWN, "names a task twice")
        return tasks

    @field_validator("embed", "ner", "classify")
    @classmethod
    def _asked_for(cls, options: Body | None, info: ValidationInfo) -> Body | None:
        if options is not None and info.field_name not in info.data.get("tasks", (info.field_name,)):
            raise PydanticCustomError(OWN, "has options, and is not among the tasks")
        if isinstance(options, AnalyzeNer):
            _check_whole(options.redact, info, at=("redact",))
        if isinstance(options, AnalyzeEmbed):
            return options.model_copy(update={"chunks": for_every_document(options.chunks, info, at=("chunks",))})
        return options

    def options(self, deadline_seconds: float) -> AnalyzeOptions:
        """The pipeline's options."""
        common = self.common(deadline_seconds)
        embed, ner, classify = self.embed or AnalyzeEmbed(), self.ner or AnalyzeNer(), self.classify or AnalyzeClassify()
        return AnalyzeOptions(
            common=common,
            embed=embed.asked(replace(common, head=embed.head)) if "embed" in self.tasks else None,
            ner=ner.asked(replace(common, head=ner.head)) if "ner" in self.tasks else None,
            classify=classify.asked(replace(common, head=classify.head)) if "classify" in self.tasks else None,
        )


class FillMaskRequest(TextRequest):
    """`POST /fill-mask`."""

    top_k: Annotated[int, Field(ge=1, le=1000)] = Field(
        5, description="Predictions for each mask, at most 1000; `token` keeps its leading space."
    )
    targets: Words | None = Field(None, description="Score only these words, at most 1000; each must be one token.")

    def options(self, deadline_seconds: float) -> FillMaskOptions:
        """The pipeline's options."""
        return FillMaskOptions(
            common=self.common(deadline_seconds),
            top_k=self.top_k,
            targets=None if self.targets is None else tuple(self.targets),
        )


class SimilarityRequest(CommonRequest[SimilarityInputs]):
    """`POST /similarity`."""

    stand_in: ClassVar[Mapping[str, Any]] = {"text1": "", "text2": ""}
    inner: ClassVar[Mapping[str, type[Body]]] = {SOURCE: SourceBody, PAIRS: PairBody}

    @property
    def units(self) -> tuple[Pair, ...]:
        """The pairs; a source stands in as many as it has sentences."""
        if isinstance(self.inputs, SourceBody):
            source = Document(index=0, text=self.inputs.source, called="the source", location=("inputs", "source"))
            return tuple(_with(source, index, text, self.fault(index)) for index, text in enumerate(self.inputs.sentences))
        return tuple(_pair(index, body, self.fault(index)) for index, body in enumerate(self.inputs))


def _with(source: Document, index: int, text: str, fault: InputError | None) -> Pair:
    place: Location = ("inputs", "sentences", index)
    sentence = Document(index=index, text=text, called=f"sentence {index}", location=place)
    return Pair(index=index, first=source, second=sentence, location=place, fault=fault)


def _pair(index: int, body: PairBody, fault: InputError | None) -> Pair:
    first, second = (
        Document(index=index, text=text, called=f"the {which} text of pair {index}", location=("inputs", index))
        for which, text in (("first", body.text1), ("second", body.text2))
    )
    return Pair(index=index, first=first, second=second, id=body.id, fault=fault)


class MultipleChoiceRequest(CommonRequest[ChoiceInputs]):
    """`POST /multiple-choice`."""

    stand_in: ClassVar[Mapping[str, Any]] = {"question": "", "options": {"a": "", "b": ""}}
    inner: ClassVar[Mapping[str, type[Body]]] = {QUESTION: QuestionBody, QUESTIONS: QuestionBody}

    multiple: bool = Field(
        False,
        description="Whether several options may be right; told by the model's first head that decides each by itself.",
    )

    @property
    def units(self) -> tuple[Question, ...]:
        """The questions."""
        if isinstance(self.inputs, QuestionBody):
            return (_asked(0, self.inputs, ("inputs",), None),)
        return tuple(_asked(index, body, ("inputs", index), self.fault(index)) for index, body in enumerate(self.inputs))

    def options(self, deadline_seconds: float) -> ChoiceOptions:
        """The pipeline's options."""
        return ChoiceOptions(common=self.common(deadline_seconds), multiple=self.multiple)


def _asked(index: int, body: QuestionBody, location: Location, fault: InputError | None) -> Question:
    return Question(
        index=index,
        question=body.question,
        options={option.name: option.text for option in body.options},
        context=body.context,
        id=body.id,
        location=location,
        fault=fault,
    )
