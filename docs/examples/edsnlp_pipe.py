"""An edsnlp pipe whose entities come from the service: documents are sent in batches, entities land in `doc.ents`.

pip install edsnlp 'drlongformer-service[client]'

import edsnlp
import edsnlp_pipe  # registers "drlongformer"

nlp = edsnlp.blank("eds")
nlp.add_pipe("eds.sentences")
nlp.add_pipe("drlongformer", config={"url": "http://127.0.0.1:8000", "options": {"min_score": 0.5}})
nlp.add_pipe("eds.negation")  # qualifies what the service found
docs = list(nlp.pipe(texts))
"""

from collections.abc import Sequence
from typing import Any, Dict, Optional  # noqa: UP035 - confit reads the annotations below

from edsnlp.core import registry
from spacy.tokens import Span
from spacy.util import filter_spans

from drlongformer import Client
from drlongformer.client.results import Entity


class ServiceEntities:
    """The pipe; `span._.drlongformer_score` is an entity's score, `span._.drlongformer_range` its exact place in the text.

    An entity that ends within a token of edsnlp's takes the whole token; of two that then overlap the longer counts.
    Connections are open while a batch is asked and no longer, so a pipe can be copied to edsnlp's worker processes.
    """

    def __init__(self, url: str, key: Optional[str], options: Dict[str, Any]) -> None:  # noqa: UP006, UP045
        self._url, self._key, self._options = url, key, options
        for name in ("drlongformer_score", "drlongformer_range"):
            if not Span.has_extension(name):
                Span.set_extension(name, default=None)

    def __call__(self, doc: Any) -> Any:
        """One document."""
        return self.batch_process([doc])[0]

    def batch_process(self, docs: Sequence[Any]) -> Sequence[Any]:
        """Many documents in few requests; edsnlp calls it with each of its batches."""
        known = [doc for doc in docs if doc.text.strip()]  # the service refuses texts without a token
        with Client(self._url, key=self._key) as client:
            answer = client.ner([doc.text for doc in known], **self._options)
        for doc, result in zip(known, answer.results, strict=True):
            doc.ents = _spans(doc, result.entities)
        return docs


def _spans(doc: Any, entities: Sequence[Entity]) -> list[Any]:
    spans = list(doc.ents)
    for entity in entities:
        span = doc.char_span(entity.start, entity.end, label=entity.label, alignment_mode="expand")
        if span is not None:
            span._.drlongformer_score = entity.score
            span._.drlongformer_range = (entity.start, entity.end)
            spans.append(span)
    return list(filter_spans(spans))


@registry.factory.register("drlongformer", assigns=["doc.ents"])
def create(
    nlp: Any = None,  # noqa: ARG001 - what every factory is given
    name: str = "drlongformer",  # noqa: ARG001
    url: str = "http://127.0.0.1:8000",
    key: Optional[str] = None,  # noqa: UP045
    options: Dict[str, Any] = {},  # noqa: B006, UP006 - a configuration's default; it is never changed
) -> ServiceEntities:
    """The pipe for a configuration; options: those of `Client.ner`, say `labels`."""
    return ServiceEntities(url, key, dict(options))
