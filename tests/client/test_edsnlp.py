"""The edsnlp pipe of the examples, where edsnlp is installed (it is no part of the `dev` extra: 250 MB)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from drlongformer import Client
from tests.client.served import serving

PIPE = Path(__file__).parents[2] / "docs" / "examples" / "edsnlp_pipe.py"
TEXTS = ["Le patient a de la fièvre. Pas de toux.", "  ", "Douleur thoracique depuis trois jours."]


@pytest.mark.filterwarnings("default")
def test_entities_of_the_service_become_those_of_the_document(tmp_path: Path) -> None:
    edsnlp: Any = pytest.importorskip("edsnlp", reason="pip install edsnlp")
    spec = importlib.util.spec_from_file_location("edsnlp_pipe", PIPE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert callable(example.create)
    nlp = edsnlp.blank("eds")
    nlp.add_pipe("eds.sentences")
    with serving(tmp_path) as (url, _), Client(url) as client:
        nlp.add_pipe("drlongformer", config={"url": url})
        nlp.add_pipe("eds.negation")
        docs = list(nlp.pipe(TEXTS))
        expected = client.ner([TEXTS[0], TEXTS[2]]).results
    assert [doc.text for doc in docs] == TEXTS
    assert not docs[1].ents
    for doc, result in zip((docs[0], docs[2]), expected, strict=True):
        assert doc.ents
        for entity in result.entities:  # tokens are taken whole, and of overlapping ones the longer
            assert any(span.start_char < entity.end and entity.start < span.end_char for span in doc.ents)
        assert {span.label_ for span in doc.ents} == {"SYMPTOM"}
        assert all(0 <= span._.drlongformer_score <= 1 for span in doc.ents)
