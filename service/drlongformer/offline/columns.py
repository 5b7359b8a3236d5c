"""Which fields of a record hold what its task needs; without names given, the usual ones, in capitals or not.

document    `text` or OMOP's `note_text`
pair        `text1` and `text2`
question    `question`, `options` (or a field an option: `option_a`, `option_b`, ...), and `context` where there is one
every kind  `id` or `note_id`, where there is one
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drlongformer.errors import RunError
from drlongformer.offline import contents
from drlongformer.offline.encodings import UNREADABLE
from drlongformer.offline.records import BadRecord, Content, Found, Kind, Place, Posed, Record, TwoTexts

USUAL: Final[Mapping[Kind, Mapping[str, tuple[str, ...]]]] = {
    "document": {"text": ("text", "note_text")},
    "pair": {"text1": ("text1",), "text2": ("text2",)},
    "question": {"question": ("question",), "context": ("context",)},
}
"""What a record of each kind is made of, with the usual names of the fields."""
IDS: Final = ("id", "note_id")
OPTIONAL: Final = frozenset({"context"})
OPTIONS: Final = "options"
OPTION: Final = "option_"
"""How the fields of options begin, where each has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the fields; None for the usual ones. options: fields of one option each, instead of one that holds all.

    Raises RunError for names of what such a record does not have.
    """

    kind: Kind = "document"
    text: str | None = None
    text1: str | None = None
    text2: str | None = None
    question: str | None = None
    context: str | None = None
    options: tuple[str, ...] = ()
    id: str | None = None

    def __post_init__(self) -> None:
        named = [part for parts in USUAL.values() for part in parts if getattr(self, part) is not None]
        foreign = [part for part in named if part not in USUAL[self.kind]]
        if self.options and self.kind != "question":
            foreign.append("option")
        if foreign:
            has = ", ".join(f"--{part}-column" for part in USUAL[self.kind])
            raise RunError(f"a {self.kind} has no {', '.join(f'--{part}-column' for part in foreign)}; it has {has}")

    def among(self, names: Iterable[str]) -> Chosen | str:
        """The fields of a record that has these; a sentence where a wanted one is missing."""
        there = list(names)
        texts: dict[str, str] = {}
        for part, usual in USUAL[self.kind].items():
            named: str | None = getattr(self, part)
            found = _first(there, named, usual)
            if found is not None:
                texts[part] = found
            elif named is not None or part not in OPTIONAL:
                wanted = f"{named!r}" if named else " or ".join(map(repr, usual))
                return f"there is no {wanted} among {len(there)} fields; --{part}-column names the field"
        options = self._options(there) if self.kind == "question" else {}
        if isinstance(options, str):
            return options
        id_ = _first(there, self.id, IDS)
        if id_ is None and self.id is not None:
            return f"there is no {self.id!r} among {len(there)} fields"
        chosen = Chosen(kind=self.kind, texts=texts, options=options, id=id_)
        if twice := [name for name in chosen.fields if there.count(name) > 1]:
            return f"{there.count(twice[0])} fields are called {twice[0]!r}"
        return chosen

    def _options(self, there: list[str]) -> dict[str, str] | str:
        """The fields of options by the options' names; one that holds all stands under an empty name."""
        if missing := [name for name in self.options if name not in there]:
            return f"there is no {missing[0]!r} among {len(there)} fields"
        if self.options:
            return {name: name for name in self.options}
        if (whole := _first(there, None, (OPTIONS,))) is not None:
            return {"": whole}
        several = {name[len(OPTION) :]: name for name in there if name.lower().startswith(OPTION) and len(name) > len(OPTION)}
        if not several:
            return f"there is no {OPTIONS!r} and no {OPTION + 'a'!r} among {len(there)} fields; --option-column names each"
        return several


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The fields of records. texts: by what they are. options: by the options' names, under "" one that holds all of them."""

    kind: Kind
    texts: Mapping[str, str]
    options: Mapping[str, str]
    id: str | None

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field that is read, once."""
        return tuple(dict.fromkeys((*self.texts.values(), *self.options.values(), *([self.id] if self.id else []))))

    def record(self, place: Place, value: Callable[[str], Any]) -> Found:
        """The record of these values, or what is wrong with them; value: gives a field's."""
        try:
            id_ = None if self.id is None else contents.identity(value(self.id))
            return Record(place=place, id=id_, text=self._content(value))
        except ValueError as error:
            return BadRecord(place=place, reason=str(error))

    def _content(self, value: Callable[[str], Any]) -> Content:
        given = {part: value(field) for part, field in self.texts.items()}
        if self.kind == "document":
            return contents.text(given["text"])
        if self.kind == "pair":
            first, second = (contents.text(given[part], called=part) for part in ("text1", "text2"))
            return TwoTexts(first=first, second=second)
        context = given.get("context")
        return Posed(
            question=contents.text(given["question"], called="the question"),
            options=contents.options({name: value(field) for name, field in self.options.items()}),
            context=contents.text(context, called="the context") if context else None,
        )


def from_json(place: Place, line: str, columns: Columns) -> Found:
    """The record of one line of JSON."""
    if (unreadable := UNREADABLE.search(line)) is not None:
        return BadRecord(
            place=place, reason=f"a byte that the file's encoding does not have, at character {unreadable.start()}"
        )
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        return BadRecord(place=place, reason=f"not JSON: {error.msg} at character {error.pos}")
    except (RecursionError, ValueError):
        return BadRecord(place=place, reason="JSON that is nested too deeply, or holds a number that is too long")
    if not isinstance(fields, Mapping):
        return BadRecord(place=place, reason=f"{contents.kind(fields)} and not an object")
    chosen = columns.among(fields)
    if isinstance(chosen, str):
        return BadRecord(place=place, reason=chosen)
    return chosen.record(place, fields.__getitem__)


def _first(there: list[str], wanted: str | None, usual: tuple[str, ...]) -> str | None:
    if wanted is not None:
        return wanted if wanted in there else None
    folded = {name.strip().lower(): name for name in reversed(there)}
    return next((folded[name] for name in usual if name in folded), None)
