"""Pairs of texts without a head for them: each distinct text is embedded once, and a pair's score is the cosine of its two.

One text against many is one embedding for the one and one for each of the many; which pairs they come in does not matter, and a
text's tokens count once, for the first pair that was answered with it. As for a head that reads both texts, each text of a pair
has one window: a score that a merged vector gives would depend on which of the two ways a model has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from drlongformer.serving.requests import DocumentResult, Embedding, RequestOptions, Similarity
from drlongformer.serving.steps import Story, Told, join
from drlongformer.tasks.similarity import cosine
from drlongformer.types import Document, Pair


def distinct(pairs: Sequence[Pair]) -> tuple[Document, ...]:
    """Every text once, under the name and in the place where it first occurs."""
    texts: dict[str, Document] = {}
    for document in (text for pair in pairs if pair.fault is None for text in (pair.first, pair.second)):
        if document.text not in texts:
            texts[document.text] = replace(document, index=len(texts))
    return tuple(texts.values())


def in_one_window(options: RequestOptions) -> RequestOptions:
    """The same options for texts that are refused where they do not fit, or cut where that was asked for."""
    return replace(options, overflow="refuse") if options.overflow == "windows" else options


def joined(embedded: Story[Embedding], texts: Sequence[Document], pairs: Sequence[Pair]) -> Story[Similarity]:
    """The story of the pairs, from that of their texts."""
    of_text = {text.text: told for text, told in zip(texts, embedded.told, strict=True)}
    counted: set[str] = set()
    told = tuple(_pair(pair, of_text, counted) for pair in pairs)
    return Story(told=told, tokenize_seconds=embedded.tokenize_seconds)


def _pair(pair: Pair, of_text: Mapping[str, Told[Embedding]], counted: set[str]) -> Told[Similarity]:
    """The story of one pair; `counted` are the texts of pairs before it that were answered, and then its own too."""
    if pair.fault is not None:
        faulty: DocumentResult[Similarity] = DocumentResult(
            index=pair.index, id=pair.id, tokens=0, tokens_read=0, windows=0, error=pair.fault
        )
        return Told(result=faulty, stages={})
    texts = (pair.first.text, pair.second.text)
    told = join(*(of_text[text] for text in texts), index=pair.index, name=pair.id, answer=_score)
    if told.result.error is not None:
        return told
    new = set(texts) - counted
    counted |= new
    tokens = sum(of_text[text].result.tokens_read for text in new)
    return replace(told, result=replace(told.result, shared_tokens=told.result.tokens_read - tokens))


def _score(first: Embedding, second: Embedding) -> Similarity:
    return Similarity(score=cosine(first.vector, second.vector), method="cosine")
