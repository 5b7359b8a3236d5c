"""Entities as rows of OMOP's NOTE_NLP table (CDM 5.4): the columns in their order, one row an entity.

`note_id` is the document's id, so it must be a whole number. The label, the end and the score have no columns of their own and
stand in `term_modifiers`, as `label=…;end=…;score=…`. No concept is looked up: the concept columns are 0. Snippets and mentions
that are longer than their columns are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import pyarrow as pa

from drlongformer.offline.outcomes import Outcome

MAX_WORDS: Final = 250
"""Characters of `snippet` and `lexical_variant`."""
AROUND: Final = 60
"""Characters before and after a mention in its snippet."""

SCHEMA: Final = pa.schema(
    [
        pa.field("note_nlp_id", pa.int64(), nullable=False),
        pa.field("note_id", pa.int64(), nullable=False),
        pa.field("section_concept_id", pa.int64()),
        pa.field("snippet", pa.string()),
        pa.field("offset", pa.string()),
        pa.field("lexical_variant", pa.string(), nullable=False),
        pa.field("note_nlp_concept_id", pa.int64()),
        pa.field("note_nlp_source_concept_id", pa.int64()),
        pa.field("nlp_system", pa.string()),
        pa.field("nlp_date", pa.date32(), nullable=False),
        pa.field("nlp_datetime", pa.timestamp("s")),
        pa.field("term_exists", pa.string()),
        pa.field("term_temporal", pa.string()),
        pa.field("term_modifiers", pa.string()),
    ]
)


def is_note_id(name: str | None) -> bool:
    """Whether an id fits the column: a whole number of 64 bits."""
    return name is not None and name.isascii() and name.isdecimal() and int(name) < 1 << 63


def table(rows: Sequence[Outcome], *, first_id: int, system: str, now: datetime, text: bool) -> pa.Table:
    """The rows of these documents' entities; their ids count up from `first_id`."""
    found = [_row(one, entity, system=system, now=now, text=text) for one in rows for entity in one.answer.entities]
    numbered = [{"note_nlp_id": first_id + place} | row for place, row in enumerate(found)]
    return pa.Table.from_pylist(numbered, schema=SCHEMA)


def _row(one: Outcome, entity: Any, *, system: str, now: datetime, text: bool) -> dict[str, Any]:
    around = one.document[max(0, entity.start - AROUND) : entity.end + AROUND]
    return {
        "note_id": int(one.name),
        "section_concept_id": 0,
        "snippet": around[:MAX_WORDS] if text else None,
        "offset": str(entity.start),
        "lexical_variant": entity.text[:MAX_WORDS] if text else "",
        "note_nlp_concept_id": 0,
        "note_nlp_source_concept_id": 0,
        "nlp_system": system[:MAX_WORDS],
        "nlp_date": now.date(),
        "nlp_datetime": now.replace(tzinfo=None, microsecond=0),
        "term_modifiers": f"label={entity.label};end={entity.end};score={entity.score:.4f}",
    }
