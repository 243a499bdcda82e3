"""A Prometheus histogram that is filled a batch at a time.

The client library's own takes two locks and a search per value, 2 µs that a worker at 20,000 events a second feels.
This one is touched by the event loop's thread alone, and adds a whole batch in one pass.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily


class Series:
    """The values of one handler. `counts` has one place per bound, and one for what is beyond the last."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, values: Iterable[float]) -> None:
        """Count each value into the first bound that is not less than it."""
        counts, bounds, total = self.counts, self.bounds, 0.0
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            total += value
        self.total += total


class Distribution:
    """A histogram by handler, to be registered as a collector. `bounds` are ascending upper bounds, inclusive."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name, self._text = name, text
        self._bounds = bounds
        self._labels = [*(str(float(bound)) for bound in bounds), "+Inf"]
        self._series: dict[str, Series] = {}

    def of(self, handler: str) -> Series:
        """The handler's series; it exists, empty, from here on."""
        return self._series.setdefault(handler, Series(self._bounds))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """For the registry: Prometheus counts what is at or below each bound."""
        family = HistogramMetricFamily(self._name, self._text, labels=["handler"])
        for handler, series in self._series.items():
            buckets = list(zip(self._labels, map(float, accumulate(series.counts)), strict=True))
            family.add_metric([handler], buckets, series.total)
        yield family
