"""The edsnlp pipe of the examples: entities of the service in edsnlp's documents, and no connection left open."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from drlongformer import Client
from tests.client.served import serving

PIPE = Path(__file__).parents[2] / "docs" / "examples" / "edsnlp_pipe.py"
TEXTS = ["Le patient a de la fièvre. Pas de toux.", "  ", "Douleur thoracique depuis trois jours."]


@pytest.mark.filterwarnings(
    "default", "error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning"
)  # edsnlp and spaCy warn of much else
def test_entities_of_the_service_become_those_of_the_document(tmp_path: Path) -> None:
    edsnlp: Any = importlib.import_module("edsnlp")  # so, mypy need not read spaCy
    spec = importlib.util.spec_from_file_location("edsnlp_pipe", PIPE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = example  # as an import would, so that the pipe can be pickled
    spec.loader.exec_module(example)
    assert callable(example.create)
    nlp = edsnlp.blank("eds")
    nlp.add_pipe("eds.sentences")
    with serving(tmp_path) as (url, _), Client(url) as client:
        nlp.add_pipe("drlongformer", config={"url": url})
        nlp.add_pipe("eds.negation")
        docs = list(nlp.pipe(TEXTS))
        gc.collect()  # a client that was left open would tell of it now
        [copied] = [pickle.loads(pickle.dumps(pipe)) for name, pipe in nlp.pipeline if name == "drlongformer"]
        again = copied(nlp.make_doc(TEXTS[0]))
        expected = client.ner([TEXTS[0], TEXTS[2]]).results
    assert [doc.text for doc in docs] == TEXTS
    assert {span.text for span in again.ents} == {span.text for span in docs[0].ents}
    assert not docs[1].ents
    for doc, result in zip((docs[0], docs[2]), expected, strict=True):
        assert doc.ents
        for entity in result.entities:  # tokens are taken whole, and of overlapping ones the longer
            assert any(span.start_char < entity.end and entity.start < span.end_char for span in doc.ents)
        assert {span.label_ for span in doc.ents} == {"SYMPTOM"}
        assert all(0 <= span._.drlongformer_score <= 1 for span in doc.ents)
        exact = {(entity.start, entity.end) for entity in result.entities}
        assert {span._.drlongformer_range for span in doc.ents} <= exact
