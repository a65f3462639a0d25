"""Prometheus series of one server, each with the values that its labels may take."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"

SECONDS = (
    0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1,
    0.15, 0.2, 0.3, 0.5, 1.0,
)  # fmt: skip
"""Upper bounds of the buckets, closest together where a frame's own time lies."""


class Series:
    """Makes them, in a registry of their own. One with labels is a Labelled, each label with its known values."""

    def __init__(self) -> None:
        self.collectors = CollectorRegistry()

    def render(self) -> bytes:
        """Everything so far, in Prometheus' text format (CONTENT_TYPE)."""
        text = generate_latest(self.collectors).decode()
        return "".join(_without_birthdays(text.splitlines(keepends=True))).encode()

    def counter(self, name: str, text: str, **labels: tuple[str, ...]) -> Any:
        counter = Counter(f"marotte_{name}", text, tuple(labels), registry=self.collectors)
        return Labelled(counter, *((*known, OTHER) for known in labels.values())) if labels else counter

    def gauge(self, name: str, text: str, **labels: tuple[str, ...]) -> Any:
        gauge = Gauge(f"marotte_{name}", text, tuple(labels), registry=self.collectors)
        return Labelled(gauge, *labels.values()) if labels else gauge

    def histogram(
        self, name: str, text: str, *, buckets: Sequence[float] = SECONDS, **labels: tuple[str, ...]
    ) -> Any:
        histogram = Histogram(
            f"marotte_{name}", text, tuple(labels), buckets=buckets, registry=self.collectors
        )
        return Labelled(histogram, *((*known, OTHER) for known in labels.values())) if labels else histogram


class Labelled:
    """A metric's series, one for each value that its labels may take, all there from the start."""

    def __init__(self, metric: MetricWrapperBase, *known: tuple[str, ...]) -> None:
        self._known = tuple(frozenset(values) for values in known)
        self._series: dict[tuple[str, ...], Any] = {row: metric.labels(*row) for row in product(*known)}

    def of(self, *values: str) -> Any:
        """The series of these values, or of OTHER where one is not known."""
        found = self._series.get(values)
        if found is None:
            row = (value if value in known else OTHER for value, known in zip(values, self._known))
            found = self._series[tuple(row)]
        return found


def observe(histogram: Histogram, value: float) -> None:
    """What is no finite number is not counted, what is negative counts as 0."""
    if math.isfinite(value):
        histogram.observe(max(0.0, value))


def _without_birthdays(lines: Iterable[str]) -> Iterator[str]:
    """When a series was made is of no use to anybody, and would be an eighth of the text."""
    for line in lines:
        name = line.split(" ", 3)[2] if line.startswith("#") else re.split(r"[{ ]", line, maxsplit=1)[0]
        if not name.endswith("_created"):
            yield line
