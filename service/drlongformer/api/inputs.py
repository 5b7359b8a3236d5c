"""The forms of `inputs`: documents, pairs of texts, questions with options; each read strictly into a list of bodies.

A form that may be one of two is told apart by its JSON type, and marked by a name of `FORMS`, which no field can have: marks
are left out of the places where errors are told. The names of a question's options are the caller's own words, so they are
counted, and never stand in a place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from drlongformer.api.json_body import MAX_DEPTH
from drlongformer.api.json_strings import MAX_VALUES
from drlongformer.tasks.multiple_choice import MAX_OPTION_NAME, MAX_OPTIONS

OWN: Final = "drlongformer"
"""The type of errors whose message is already ours."""

SOURCE, PAIRS, QUESTION, QUESTIONS = FORMS = ("<source>", "<pairs>", "<question>", "<questions>")

MAX_ID: Final = 256
Id = Annotated[str, Field(max_length=MAX_ID)] | None
ID: Final = Field(None, description=f"The caller's own name, at most {MAX_ID} characters.")


class Body(BaseModel):
    """Nothing is coerced, nothing unknown is accepted, nothing is quoted."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


def bounded(value: list[Any], info: ValidationInfo, what: str) -> list[Any]:
    """The list itself, where it holds from one to as many things as a request may."""
    limit = (info.context or {})["max_documents"]
    if not 1 <= len(value) <= limit:
        found = {"actual": len(value), "limit": limit, "what": what}
        raise PydanticCustomError(OWN, "holds {actual} {what}, from 1 to {limit} are accepted", found)
    return value


def misplaced(places: Iterable[tuple[str | int, ...]], sentence: str) -> ValidationError:
    """The same said of several places below a field; pydantic puts the field's own place before them."""
    error = PydanticCustomError(OWN, sentence)
    return ValidationError.from_exception_data("body", [{"type": error, "loc": place, "input": None} for place in places])


class DocumentBody(Body):
    """One document with the caller's own name for it."""

    text: str
    id: Id = ID


def _documents(value: Any, info: ValidationInfo) -> list[Any]:
    """Every accepted form of `inputs` as a list of objects; what has another form is left for the model to refuse."""
    if isinstance(value, str):
        return [{"text": value}]
    if not isinstance(value, list):
        raise PydanticCustomError(OWN, 'must be a string, or a list of strings or of objects with "id" and "text"')
    bounded(value, info, "documents")
    return [{"text": item} if isinstance(item, str) else item for item in value]


_INPUTS_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "minItems": 1,
            "items": {"anyOf": [{"type": "string"}, {"$ref": "#/components/schemas/DocumentBody"}]},
        },
    ],
    "description": "One text, or several, with or without an `id` each; an `id` of at most 256 characters comes back with its "
    f"result and is never logged. A whole body nests at most {MAX_DEPTH} levels and holds at most {MAX_VALUES} JSON values.",
}

Inputs = Annotated[list[DocumentBody], BeforeValidator(_documents), WithJsonSchema(_INPUTS_SCHEMA)]


class PairBody(Body):
    """Two texts to compare, with the caller's own name for them."""

    text1: str
    text2: str
    id: Id = ID


class SourceBody(Body):
    """One text to compare with each of several sentences; a sentence is a text of any length."""

    source: str
    sentences: Annotated[list[str], BeforeValidator(lambda value, info: _some(value, info, "sentences"))]


def _some(value: Any, info: ValidationInfo, what: str) -> Any:
    """A list of an allowed length; what is no list is left for the model to refuse."""
    return bounded(value, info, what) if isinstance(value, list) else value


def _pair(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value):
        return {"text1": value[0], "text2": value[1]}
    if not isinstance(value, dict):
        raise PydanticCustomError(OWN, 'must be a list of two strings, or an object with "text1", "text2" and "id"')
    return value


Pairs = Annotated[list[Annotated[PairBody, BeforeValidator(_pair)]], BeforeValidator(lambda v, info: _some(v, info, "pairs"))]

_STRING = {"type": "string"}

SimilarityInputs = Annotated[
    Annotated[SourceBody, Tag(SOURCE)] | Annotated[Pairs, Tag(PAIRS)],
    Discriminator(
        lambda value: {dict: SOURCE, list: PAIRS}.get(type(value)),
        custom_error_type=OWN,
        custom_error_message='must be an object with "source" and "sentences", or a list of pairs of strings',
    ),
    WithJsonSchema(
        {
            "anyOf": [
                {"$ref": "#/components/schemas/SourceBody"},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "anyOf": [
                            {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}},
                            {"$ref": "#/components/schemas/PairBody"},
                        ]
                    },
                },
            ],
            "description": "One text and those to compare it with, or pairs of texts. A head reads a pair in one window, so "
            "both must fit together; for embeddings each text must fit in one.",
        }
    ),
]


class OptionBody(Body):
    """One option, by the caller's name for it."""

    name: str
    text: str


def _options(value: Any) -> list[dict[str, Any]]:
    """An object of names and texts as a list, in its order."""
    if not isinstance(value, Mapping):
        raise PydanticCustomError(OWN, "must be an object that gives each option's text by its name")
    if not 2 <= len(value) <= MAX_OPTIONS:
        found = {"actual": len(value), "limit": MAX_OPTIONS}
        raise PydanticCustomError(OWN, "holds {actual} options, from 2 to {limit} are accepted", found)
    for place, name in enumerate(value):
        if name.isspace() or not 1 <= len(name) <= MAX_OPTION_NAME:
            found = {"place": place, "actual": len(name), "limit": MAX_OPTION_NAME}
            raise PydanticCustomError(
                OWN, "option {place} has a name of {actual} characters; 1 to {limit}, not all blank, are accepted", found
            )
    return [{"name": name, "text": text} for name, text in value.items()]


_OPTIONS_SCHEMA = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "propertyNames": {"minLength": 1, "maxLength": MAX_OPTION_NAME, "pattern": r"\S"},
    "minProperties": 2,
    "maxProperties": MAX_OPTIONS,
    "description": f"Each option's text by its name, from 2 to {MAX_OPTIONS}; names have at most {MAX_OPTION_NAME} characters.",
}


class QuestionBody(Body):
    """A question with its options, and the text it is asked about; only that text is read in windows where it is long."""

    question: str
    options: Annotated[list[OptionBody], BeforeValidator(_options), WithJsonSchema(_OPTIONS_SCHEMA)]
    context: str | None = None
    id: Id = ID


def _question(value: Any) -> Any:
    if not isinstance(value, dict):
        raise PydanticCustomError(OWN, 'must be an object with "question", "options", "context" and "id"')
    return value


Questions = Annotated[
    list[Annotated[QuestionBody, BeforeValidator(_question)]], BeforeValidator(lambda v, info: _some(v, info, "questions"))
]

ChoiceInputs = Annotated[
    Annotated[QuestionBody, Tag(QUESTION)] | Annotated[Questions, Tag(QUESTIONS)],
    Discriminator(
        lambda value: {dict: QUESTION, list: QUESTIONS}.get(type(value)),
        custom_error_type=OWN,
        custom_error_message='must be an object with "question" and "options", or a list of such objects',
    ),
    WithJsonSchema(
        {
            "anyOf": [
                {"$ref": "#/components/schemas/QuestionBody"},
                {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/QuestionBody"}},
            ],
            "description": "One question, or several.",
        }
    ),
]
