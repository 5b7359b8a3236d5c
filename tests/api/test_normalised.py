"""A bundle that normalises answers as one that is given the clean text, with every range in the untouched text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from drlongformer.text.normalisation import normalise
from drlongformer.types import RULES
from tests.api import services
from tests.text import tiny

BODY = "\n".join(f"Au jour numéro {number} le patient n'a pas de dyspnée." for number in range(18))
MESSY = (
    f"CHU de Villeneuve - Cardiologie\nPage 1/2\n\n{BODY}\n\nIl prÃ©sente depuis hier une fiÃ¨vre et une pneu-\n"
    "\fCHU de Villeneuve - Cardiologie\nPage 2/2\n\n"
    "monie franche de l\x92hÃ´pi-\ntal, avec un œdÃ¨me des\nmembres infÃ©rieurs.\n"
)
MADE = normalise(MESSY, RULES, keep="<mask>")


async def post(store: Path, path: str, body: dict[str, Any], *, rules: bool) -> Any:
    changes: dict[str, Any] = {"tokenizer": tiny.spec("bytes", normalisation=RULES)} if rules else {}
    async with services.client(services.service(store, **changes)) as it:
        answer = await it.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"][0]


def restored(span: dict[str, Any]) -> tuple[int, int]:
    start, end = MADE.restore(np.array([[span["start"], span["end"]]]))[0].tolist()
    return start, end


async def test_entities_cut_the_untouched_text_exactly_and_are_those_of_the_clean_text(tmp_path: Path) -> None:
    assert MADE.text != MESSY
    assert "une fièvre et une pneumonie franche de l’hôpital, avec un œdème des membres inférieurs." in MADE.text
    ours = await post(tmp_path / "ours", "/ner", {"inputs": MESSY, "redact": True}, rules=True)
    clean = await post(tmp_path / "clean", "/ner", {"inputs": MADE.text}, rules=False)
    assert [(one["start"], one["end"], one["score"]) for one in ours["entities"]] == [
        (*restored(one), one["score"]) for one in clean["entities"]
    ]
    assert all(MESSY[one["start"] : one["end"]] == one["text"] for one in ours["entities"])
    assert any("\n" in one["text"] or "Ã" in one["text"] for one in ours["entities"])
    redacted, place = "", 0
    for one in ours["entities"]:
        redacted, place = f"{redacted}{MESSY[place : one['start']]}[{one['label']}]", one["end"]
    assert ours["redacted"] == redacted + MESSY[place:]


async def test_chunks_and_masks_stand_in_the_untouched_text(tmp_path: Path) -> None:
    chunked = await post(tmp_path / "chunks", "/embed", {"inputs": MESSY, "chunks": "paragraphs"}, rules=True)
    spans = [(one["start"], one["end"]) for one in chunked["chunks"]]
    assert len(spans) > 2
    assert all(MESSY[start:end] == MESSY[start:end].strip() for start, end in spans)
    assert spans[-1][1] == len(MESSY.rstrip())
    text = MESSY.replace("franche", "<mask>")
    filled = await post(tmp_path / "masks", "/fill-mask", {"inputs": text}, rules=True)
    assert [text[one["start"] : one["end"]] for one in filled["masks"]] == ["<mask>"]


async def test_the_catalogue_tells_the_rules(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"tokenizer": tiny.spec("bytes", normalisation=RULES)}
    async with services.client(services.service(tmp_path, **changes)) as it:
        told = (await it.get("/models/fake")).json()
    assert told["normalisation"] == list(RULES)
