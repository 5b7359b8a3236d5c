"""`/metrics` held against what was really sent: every request counted once, with the status that its caller saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client.parser import text_string_to_metric_families

from loadtests.report import Law

PREFIX = "drlongformer_"

Labels = tuple[tuple[str, str], ...]


class Page:
    """The samples of one scrape, by name without the prefix."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                by_labels = self._samples.setdefault(sample.name.removeprefix(PREFIX), {})
                by_labels[tuple(sorted(sample.labels.items()))] = sample.value

    def total(self, name: str, **labels: str) -> float:
        """The sum over all label sets that hold these labels."""
        return sum(value for found, value in self._samples.get(name, {}).items() if labels.items() <= dict(found).items())

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The sums by one label's values."""
        sums: Counter[str] = Counter()
        for found, value in self._samples.get(name, {}).items():
            if labels.items() <= dict(found).items():
                sums[dict(found)[label]] += value  # type: ignore[assignment]  # counters of the service are floats
        return {name: float(value) for name, value in sums.items() if value}

    @property
    def gauges(self) -> dict[str, float]:
        """What must be 0 once nobody waits any more."""
        return {name: self.total(name) for name in ("queue_tokens", "queue_documents", "inflight_documents")}


def adds_up(page: Page, tally: Mapping[tuple[str, str], int], *, route: str = "/embed") -> Iterator[Law]:
    """The laws that hold after every scenario whose requests were of one document each, to one route."""
    sent = {status: float(count) for (path, status), count in sorted(tally.items()) if path == route and status.isdigit()}
    counted = dict(sorted(page.by("http_requests_total", "status", route=route).items()))
    yield Law.of(f"{route}: requests by status, sent = counted", counted == sent, f"sent {sent}, counted {counted}")
    answered, documents = sent.get("200", 0.0), page.total("document_duration_seconds_count", task=route.removeprefix("/"))
    yield Law.of("documents answered = requests answered", documents == answered, f"{documents:g} and {answered:g}")
    statuses = page.by("http_requests_total", "status")
    refused = sum(count for status, count in statuses.items() if status not in ("200", "499"))
    rejected = page.total("rejected_total")
    yield Law.of("rejected_total = requests refused, on any route", rejected == refused, f"{rejected:g} and {refused:g}")
    left, cancelled = sent.get("499", 0.0), page.total("cancelled_total")
    yield Law.of("cancelled_total = callers who left", cancelled == left, f"{cancelled:g} and {left:g}")
    yield Law.of("gauges are back to 0", not any(page.gauges.values()), str(page.gauges))
