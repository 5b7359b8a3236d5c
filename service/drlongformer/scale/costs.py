r"""What an archive costs in hours, from speeds that were measured: documents x tokens / speed, and nothing else.

    hours of a machine = documents * tokens of one / (tokens a second * 3600)        core hours = hours * its cores

A document's tokens are those of the set that speeds are measured on: log-normal in length, clipped to [low, high]. The mean of
min(max(X, low), high), with ln X ~ N(mu, sigma^2), F that of N(0, 1), a = (ln low - mu) / sigma and b alike, is

    low F(a) + e^(mu + sigma^2/2) (F(b - sigma) - F(a - sigma)) + high (1 - F(b))

Reading files, Ray and what stands idle are not in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SECONDS_PER_HOUR: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """A measured speed: what computed, tokens a second on so many cores, where the measurement stands."""

    what: str
    tokens_per_second: float
    cores: int
    page: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a number of documents takes."""

    tokens: float
    core_hours: float


_PEERS: Final = "benchmarks/2026-11-23-peers-cpu.md"
_SERVICE: Final = "benchmarks/reliability.md"

MEASURED: Final = (
    Speed(what="DrLongformer's size, ONNX Runtime, fp32", tokens_per_second=977, cores=2, page=_PEERS),
    Speed(what="the same, OpenVINO, fp32", tokens_per_second=1033, cores=2, page=_PEERS),
    Speed(what="the same, ONNX Runtime, int8", tokens_per_second=1910, cores=2, page=_PEERS),
    Speed(what="the same, OpenVINO, bf16 on a processor with AMX", tokens_per_second=3429, cores=2, page=_PEERS),
    Speed(what="drlongformer-mini, ONNX Runtime, fp32", tokens_per_second=19_650, cores=2, page=_SERVICE),
    Speed(what="the same through HTTP, client on the same cores", tokens_per_second=18_160, cores=2, page=_SERVICE),
)
"""Speeds on documents of mixed length. None of a GPU: none was measured."""

ARCHIVES: Final = (10_000_000, 1_000_000_000)


def mean_tokens(*, mu: float = 6.3, sigma: float = 1.0, low: int = 20, high: int = 4096) -> float:
    """Tokens of a document of the benchmarks' set, on average."""
    a, b = ((math.log(bound) - mu) / sigma for bound in (low, high))
    inside = math.exp(mu + sigma**2 / 2) * (_below(b - sigma) - _below(a - sigma))
    return low * _below(a) + inside + high * (1 - _below(b))


def _below(z: float) -> float:
    """The distribution function of N(0, 1)."""
    return (1 + math.erf(z / math.sqrt(2))) / 2


def cost(documents: int, speed: Speed, *, tokens_each: float | None = None) -> Cost:
    """What so many documents take at that speed; tokens_each: of your own, in place of the set's mean."""
    tokens = documents * (mean_tokens() if tokens_each is None else tokens_each)
    return Cost(tokens=tokens, core_hours=tokens / speed.tokens_per_second / SECONDS_PER_HOUR * speed.cores)


def table() -> str:
    """The table of docs/scale.md."""
    return "\n".join(_rows())


def _rows() -> Iterator[str]:
    archives = " | ".join(f"{number:,} documents" for number in ARCHIVES)
    yield f"| model and engine | tokens/s | cores | {archives} | measured in |"
    yield "|---" * (4 + len(ARCHIVES)) + "|"
    for speed in MEASURED:
        hours = " | ".join(f"{cost(number, speed).core_hours:,.0f} core hours" for number in ARCHIVES)
        source = f"[{speed.page.rpartition('/')[2]}]({speed.page})"
        yield f"| {speed.what} | {speed.tokens_per_second:,.0f} | {speed.cores} | {hours} | {source} |"
