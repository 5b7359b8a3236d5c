"""What a run would take: all records counted, a sample of them answered and written, and the sample taken for the rest.

The sample is drawn evenly from the whole input (reservoir sampling), so its tokens per character and its mix of lengths are
the input's. Tokens, time, bytes, cost and energy are estimates; how far the tokens may be off is told from the spread within
the sample. Bytes are those that the run's own writer needs for the sample, in a temporary folder that is removed.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from drlongformer.errors import RunError
from drlongformer.offline import flow, known
from drlongformer.offline.archive import House
from drlongformer.offline.asked import Ask
from drlongformer.offline.energy import Meter
from drlongformer.offline.outcomes import Outcome
from drlongformer.offline.output import ANSWERS, DOCUMENTS, Output
from drlongformer.offline.reader import Manner, Reader
from drlongformer.offline.records import Record
from drlongformer.offline.run import Answering, grouped, look_ahead
from drlongformer.offline.sources import Source
from drlongformer.offline.writer import writer
from drlongformer.serving.pipeline import Pipeline

SAMPLE_DOCUMENTS: Final = 512
PROBE_SECONDS: Final = 30.0
LEAST_SPREAD: Final = 0.05
"""No machine is steadier than that from one hour to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What only the operator knows. price_per_hour: of the machine, in any currency. watts: it draws at work."""

    price_per_hour: float | None = None
    watts: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What was counted, and what follows from the probe. spread: standard error of the seconds, as a part of them.

    output_bytes: of answers and the list of documents. measured_watts: of the processors during the probe, None where nothing
    counts them; `rates.watts` comes first.
    """

    documents: int
    bad: int
    characters: int
    tokens: int
    sampled: int
    tokens_per_second: float
    seconds: float
    spread: float
    output_bytes: float
    measured_watts: float | None = None
    rates: Rates = Rates()

    @property
    def cost(self) -> float | None:
        """In the currency of the price, if there is one."""
        return None if self.rates.price_per_hour is None else self.rates.price_per_hour * self.seconds / 3600

    @property
    def kilowatt_hours(self) -> float | None:
        """By the watts that were told, else those that were measured."""
        watts = self.measured_watts if self.rates.watts is None else self.rates.watts
        return None if watts is None else watts * self.seconds / 3.6e6

    def told(self) -> str:
        """A few lines."""
        low, high = (_span(self.seconds * (1 + sign * 2 * self.spread)) for sign in (-1, 1))
        each = _size(self.output_bytes / max(1, self.documents))
        counted = (
            f"{self.documents:,} documents ({self.bad:,} bad records), {self.characters:,} characters, about {self.tokens:,} "
            f"tokens\n{self.tokens_per_second:,.0f} tokens/s on {self.sampled:,} of them, so about {_span(self.seconds)} "
            f"(likely {low} to {high}), as long as the machine stays as busy as it is now"
        )
        lines = [
            counted,
            f"about {_size(self.output_bytes)} of output, {each} a document",
        ]
        if self.cost is not None:
            cost = f"{self.cost:,.2f}" if self.cost >= 0.01 else f"{self.cost:.1g}"
            lines.append(f"about {cost} at {self.rates.price_per_hour:,g} an hour")
        return "\n".join([*lines, self._energy()])

    def _energy(self) -> str:
        used = self.kilowatt_hours
        if used is None:
            return "energy: the processors' counters cannot be read here; --watts says what the machine draws"
        if self.rates.watts is not None:
            return f"about {used:,.3g} kWh at the {self.rates.watts:,g} W that were told"
        return f"about {used:,.3g} kWh at {self.measured_watts:,.0f} W, measured on the processors alone (RAPL)"


@dataclass(slots=True)
class _Counted:
    documents: int = 0
    bad: int = 0
    characters: int = 0
    sample: list[Record] = field(default_factory=list)


def estimate(sources: tuple[Source, ...], manner: Manner, ask: Ask, house: House, rates: Rates = Rates()) -> Estimate:
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
        output_bytes=counted.documents * _bytes_written(probe.outcomes, ask, house) / len(probe.outcomes),
        measured_watts=probe.watts,
        rates=rates,
    )


def _bytes_written(outcomes: list[Outcome], ask: Ask, house: House) -> int:
    """What the run's own writer makes of the sample, as one part; the manifest is not counted. Raises RunError."""
    [model] = house.models
    told = ask.told(model.identity)
    with tempfile.TemporaryDirectory() as scratch, Output.start(Path(scratch) / "sample", told) as output:
        marked = [replace(one, fingerprint=secrets.token_bytes(known.BYTES)) for one in outcomes]  # as many bytes, as random
        output.commit(marked, writer(ask, told))
        parts = [path for name in (ANSWERS, DOCUMENTS) for path in (output.folder / name).rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in parts)


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
    """sizes: characters and tokens of each document that was answered. watts: as `Meter` tells them."""

    sizes: list[tuple[int, int]]
    outcomes: list[Outcome]
    tokens_per_second: float
    watts: float | None


async def _probe(sample: list[Record], ask: Ask, house: House) -> _Probe:
    """Answer the sample for some seconds, once a short document has warmed the engine up; time counts to the last answer."""
    [model] = house.models
    pipeline = Pipeline(house.models, house.metrics, limits=house.limits)
    await pipeline.start()
    asked = [Outcome(number=number, place=one.place, id=one.id, text=one.text, asked=True) for number, one in enumerate(sample)]
    answering = Answering(ask, pipeline)
    answered: list[Outcome] = []
    seconds = 0.0

    async def timed(group: flow.Group) -> list[Outcome]:
        nonlocal seconds
        found = await answering(group)
        answered.extend(found)
        seconds = time.monotonic() - began
        return found

    try:
        await answering(sorted(asked, key=lambda one: len(one.text))[:1])
        meter, began = Meter(), time.monotonic()
        async with aclosing(flow.outcomes(grouped(iter(asked)), timed, look_ahead=look_ahead(model))) as outcomes:
            async for _ in outcomes:
                if seconds > PROBE_SECONDS:
                    break
        watts = meter.watts()
    finally:
        await pipeline.stop()
    sizes = [(len(sample[one.number].text), one.result.tokens_read) for one in answered if one.result is not None]
    speed = sum(tokens for _, tokens in sizes) / max(seconds, 1e-9)
    return _Probe(sizes=sizes, outcomes=answered, tokens_per_second=speed, watts=watts)


def _span(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _size(count: float) -> str:
    """Bytes as people say them."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"
