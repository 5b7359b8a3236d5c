"""How long a run would take: all records counted, a sample of them answered, and the sample's speed taken for the rest.

The sample is drawn evenly from the whole input (reservoir sampling), so its tokens per character and its mix of lengths are
the input's. Tokens and time are estimates; how far the tokens may be off is told from the spread within the sample.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from drlongformer.errors import RunError
from drlongformer.offline import flow
from drlongformer.offline.archive import House
from drlongformer.offline.asked import Ask
from drlongformer.offline.outcomes import Outcome
from drlongformer.offline.reader import Manner, Reader
from drlongformer.offline.records import Record
from drlongformer.offline.run import Answering, grouped, look_ahead
from drlongformer.offline.sources import Source
from drlongformer.serving.pipeline import Pipeline

SAMPLE_DOCUMENTS: Final = 512
PROBE_SECONDS: Final = 30.0
LEAST_SPREAD: Final = 0.05
"""No machine is steadier than that from one hour to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What was counted, and what follows from the probe. spread: standard error of the seconds, as a part of them."""

    documents: int
    bad: int
    characters: int
    tokens: int
    sampled: int
    tokens_per_second: float
    seconds: float
    spread: float

    def told(self) -> str:
        """A few words."""
        low, high = (_span(self.seconds * (1 + sign * 2 * self.spread)) for sign in (-1, 1))
        return (
            f"{self.documents:,} documents ({self.bad:,} bad records), {self.characters:,} characters, about {self.tokens:,} "
            f"tokens\n{self.tokens_per_second:,.0f} tokens/s on {self.sampled:,} of them, so about {_span(self.seconds)} "
            f"(likely {low} to {high}), as long as the machine stays as busy as it is now"
        )


@dataclass(slots=True)
class _Counted:
    documents: int = 0
    bad: int = 0
    characters: int = 0
    sample: list[Record] = field(default_factory=list)


def estimate(sources: tuple[Source, ...], manner: Manner, ask: Ask, house: House) -> Estimate:
    """Read everything, answer a sample. Raises RunError where nothing can be read, or answered."""
    [model] = house.models
    ask.check(model, house.limits)
    counted = _counted(Reader(sources, manner))
    random.Random(0).shuffle(counted.sample)  # noqa: S311 - what the probe gets to is as even as the whole sample
    probe = asyncio.run(_probe(counted.sample, ask, house))
    if not probe.sizes:
        raise RunError(f"none of the {len(counted.sample)} documents that were tried could be answered; run shows the reasons")
    characters, tokens = np.array(probe.sizes, dtype=np.float64).T
    rate = tokens.sum() / characters.sum()
    off = np.sqrt(np.square(tokens - rate * characters).sum() / max(1, len(tokens) - 1) / len(tokens)) / tokens.mean()
    return Estimate(
        documents=counted.documents,
        bad=counted.bad,
        characters=counted.characters,
        tokens=round(counted.characters * rate),
        sampled=len(probe.sizes),
        tokens_per_second=probe.tokens_per_second,
        seconds=counted.characters * rate / probe.tokens_per_second,
        spread=max(LEAST_SPREAD, float(off)),
    )


def _counted(reader: Reader) -> _Counted:
    """Every record counted, and some of them drawn, each as likely as any other."""
    counted, draws = _Counted(), random.Random(0)  # noqa: S311 - a sample, no secret
    for found in reader:
        if not isinstance(found, Record):
            counted.bad += 1
            continue
        counted.documents += 1
        counted.characters += len(found.text)
        place = draws.randrange(counted.documents)
        if len(counted.sample) < SAMPLE_DOCUMENTS:
            counted.sample.append(found)
        elif place < SAMPLE_DOCUMENTS:
            counted.sample[place] = found
    return counted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """sizes: characters and tokens of each document that was answered."""

    sizes: list[tuple[int, int]]
    tokens_per_second: float


async def _probe(sample: list[Record], ask: Ask, house: House) -> _Probe:
    """Answer the sample for some seconds; what was computed before the first answer only warmed up."""
    [model] = house.models
    pipeline = Pipeline(house.models, house.metrics, limits=house.limits)
    await pipeline.start()
    asked = [Outcome(number=number, place=one.place, id=one.id, text=one.text, asked=True) for number, one in enumerate(sample)]
    sizes: list[tuple[int, int]] = []
    began, first = time.monotonic(), None
    try:
        answering = Answering(ask, pipeline)
        async with aclosing(flow.outcomes(grouped(iter(asked)), answering, look_ahead=look_ahead(model))) as outcomes:
            async for one in outcomes:
                if one.result is not None:
                    sizes.append((len(one.text), one.result.tokens))
                    first = first or (time.monotonic(), one.result.tokens)
                if time.monotonic() - began > PROBE_SECONDS:
                    break
    finally:
        await pipeline.stop()
    tokens = sum(tokens for _, tokens in sizes)
    since, before = first if first and tokens > 2 * first[1] else (began, 0)
    return _Probe(sizes=sizes, tokens_per_second=(tokens - before) / max(time.monotonic() - since, 1e-9))


def _span(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
