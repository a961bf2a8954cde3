"""A board as the text that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from .board import Board
from .families import Family, Kind

if TYPE_CHECKING:
    from prometheus_client.core import Metric

#: A gauge that is looked up: a number, numbers by the values of its labels, or nothing.
Lookup = Callable[[], "float | Mapping[tuple[str, ...], float] | None"]


def text_of(board: Board, lookups: Mapping[str, Lookup]) -> bytes:
    """Return the present numbers in the text format of Prometheus, version 0.0.4.

    Args:
        lookups: What tells the gauges that are looked up, by name.
    """
    # Here, so that nobody waits for it who is never asked. The library's own registry, which
    # all servers of a process would share, stays unused.
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(board, lookups))
    return generate_latest(registry)


class _Collector:
    def __init__(self, board: Board, lookups: Mapping[str, Lookup]) -> None:
        self._board = board
        self._lookups = lookups

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that has a number."""
        sums = self._board.sums()
        for family in self._board.families:
            if family.kind is Kind.LIVE:
                metric = _looked_up(family, self._lookups[family.name]())
            else:
                numbers = {values: sums[family.name, values] for values in family.series}
                metric = _counted(family, numbers)
            if metric.samples:
                yield metric


def _counted(family: Family, numbers: Mapping[tuple[str, ...], Sequence[float]]) -> Metric:
    from prometheus_client import core

    names = list(family.labels)
    shown = {
        values: found for values, found in numbers.items() if not family.is_sparse or any(found)
    }
    if family.kind is Kind.HISTOGRAM:
        histogram = core.HistogramMetricFamily(family.name, family.help, labels=names)
        bounds = [*map(str, map(float, family.buckets)), "+Inf"]
        for values, found in shown.items():
            buckets = list(zip(bounds, accumulate(found[:-1]), strict=True))
            histogram.add_metric(list(values), buckets, found[-1])
        return histogram
    kind = core.CounterMetricFamily if family.kind is Kind.COUNTER else core.GaugeMetricFamily
    metric = kind(family.name, family.help, labels=names)
    for values, found in shown.items():
        metric.add_metric(list(values), found[0])
    return metric


def _looked_up(family: Family, found: float | Mapping[tuple[str, ...], float] | None) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    metric = GaugeMetricFamily(family.name, family.help, labels=list(family.labels))
    by_values = found if isinstance(found, Mapping) else {} if found is None else {(): found}
    for values, value in by_values.items():
        metric.add_metric(list(values), value)
    return metric
