"""A metric as one line of a table: its name, what it means, the labels it may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import product
from math import prod

#: The value of a label that stands for every value that is not listed.
OTHER = "other"


class Kind(Enum):
    """What becomes of a metric's numbers.

    COUNTER: They only grow, and outlive the worker that counted them.
    GAUGE: They go up and down, and end with their worker.
    LIVE: A gauge that is looked up when it is asked for.
    HISTOGRAM: Values are counted by size, and summed.
    """

    COUNTER = "counter"
    GAUGE = "gauge"
    LIVE = "live"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Family:
    """One metric.

    Attributes:
        name: As it is exposed; that of a counter ends with ``_total``.
        help: What it means, for people.
        labels: The values that each label may have; ``OTHER`` stands for the rest.
        buckets: Upper bounds of a histogram, ascending.
        is_sparse: Whether series that counted nothing yet are left out.
    """

    name: str
    kind: Kind
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()
    is_sparse: bool = False

    @property
    def series(self) -> list[tuple[str, ...]]:
        """Return every combination of values of its labels."""
        return list(product(*self.labels.values()))

    @property
    def size(self) -> int:
        """Return how many numbers all of its series have."""
        return self.width * prod(map(len, self.labels.values()))

    @property
    def width(self) -> int:
        """Return how many numbers a series has: a histogram's are its buckets and its sum."""
        if self.kind is Kind.LIVE:
            return 0
        return len(self.buckets) + 2 if self.kind is Kind.HISTOGRAM else 1

    def known(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """Return the series that counts for values of its labels."""
        return tuple(
            value if value in listed else OTHER
            for value, listed in zip(values, self.labels.values(), strict=True)
        )
