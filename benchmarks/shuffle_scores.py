"""Scores of an order: how much its batches look like the whole source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .shuffle_orders import Rows, Shuffled

Numbers = NDArray[np.float64]

BATCH = 256
UNITS = (BATCH, 1000, 10_000)
FIRST_BATCHES = 40
LAGS = 64
NEAR_ROWS = 16


@dataclass(frozen=True)
class Source:
    """Rows that lie sorted by topic.

    Attributes:
        name: What the tables call it.
        topics: The topic of each stored row, rising.
        shares: The share of the rows that each topic has.
    """

    name: str
    topics: Rows
    shares: Numbers

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.topics)


@dataclass(frozen=True)
class Spread:
    """How far units of consecutive rows are from the source, over all units and seeds.

    Attributes:
        distance: Mean total variation, 0 to 1: the share of the rows of a unit that would have to
            be of other topics for the topics to have the shares they have in the source.
        worst_distance: 99th percentile of it.
        excess: Mean chi-square by degrees of freedom: how many times the variance of a unit of
            rows drawn independently.
        worst_excess: 99th percentile of it.
        first_excess: Mean over the first batches of an epoch.
        unit: Rows.
    """

    distance: float
    worst_distance: float
    excess: float
    worst_excess: float
    first_excess: float
    unit: int

    @property
    def effective_rows(self) -> float:
        """Return how many independent rows have the variance that the unit has."""
        return self.unit / self.excess


@dataclass(frozen=True)
class Score:
    """All that is said of one order.

    Attributes:
        spreads: For each unit, how far it is from the source.
        row_lags: Correlation of the stored rows of positions 1, 2, … apart.
        topic_lags: The same for topics: how much more often they are equal than by chance, 0 to 1.
        near: Share of the rows of a batch that are stored 16 rows or less from another of it.
        again: Share of the pairs of a batch that share a batch in the next epoch too.
    """

    name: str
    spreads: dict[int, Spread]
    row_lags: Numbers
    topic_lags: Numbers
    near: float
    again: float


def zipf(rows: int, topics: int = 100) -> Source:
    """Return a source whose k-th topic has a share in proportion to 1/k."""
    weights = 1 / np.arange(1, topics + 1)
    ends = np.round(np.cumsum(weights) / weights.sum() * rows).astype(np.int64)
    return _source(f"{topics} topics of Zipf sizes", np.diff(ends, prepend=0))


def equal(rows: int, topics: int = 1000) -> Source:
    """Return a source whose topics have as many rows each."""
    return _source(f"{topics:,} equal topics", np.full(topics, rows // topics))


def scored(shuffled: Shuffled, sources: Sequence[Source], seeds: Sequence[int]) -> list[Score]:
    """Return the scores of an order on each of some sources of as many rows, over some seeds.

    Raises:
        ValueError: It gives a row twice, or not at all.
    """
    count = sources[0].rows
    epochs = [[shuffled.rows(count, seed, epoch) for epoch in (0, 1)] for seed in seeds]
    for rows in (rows for pair in epochs for rows in pair):
        if not np.array_equal(np.sort(rows), np.arange(count)):
            raise ValueError(f"{shuffled.name} is no permutation of {count:,} rows.")
    firsts = [first for first, _ in epochs]
    near = _mean(_near(rows) for rows in firsts)
    again = _mean(_again(first, second) for first, second in epochs)
    row_lags = np.mean([_row_lags(rows) for rows in firsts], axis=0)
    return [
        Score(
            shuffled.name,
            {unit: _spread(source, firsts, unit) for unit in UNITS},
            row_lags,
            np.mean([_topic_lags(source, rows) for rows in firsts], axis=0),
            near,
            again,
        )
        for source in sources
    ]


def _source(name: str, sizes: Rows) -> Source:
    topics = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    return Source(name, topics, sizes / sizes.sum())


def _spread(source: Source, orders: Sequence[Rows], unit: int) -> Spread:
    """Return the distances of whole units; a short one at the end is left out."""
    distances, excesses, firsts = [], [], []
    for rows in orders:
        distance, excess = _units(source, rows, unit)
        distances.append(distance)
        excesses.append(excess)
        firsts.append(excess[: max(1, FIRST_BATCHES * BATCH // unit)])
    distance, excess = np.concatenate(distances), np.concatenate(excesses)
    return Spread(
        float(distance.mean()),
        float(np.percentile(distance, 99)),
        float(excess.mean()),
        float(np.percentile(excess, 99)),
        float(np.concatenate(firsts).mean()),
        unit,
    )


def _units(source: Source, rows: Rows, unit: int) -> tuple[Numbers, Numbers]:
    """Return total variation, and chi-square by degrees of freedom, of each unit."""
    units, topics = len(rows) // unit, len(source.shares)
    places = np.repeat(np.arange(units) * topics, unit)
    places += source.topics[rows[: units * unit]]
    counts = np.bincount(places, minlength=units * topics).reshape(units, topics)
    expected = source.shares * unit
    apart = counts - expected
    distance = np.abs(apart).sum(axis=1) / (2 * unit)
    return distance, (apart**2 / expected).sum(axis=1) / (topics - 1)


def _row_lags(rows: Rows) -> Numbers:
    centred = rows - rows.mean()
    variance = float((centred**2).mean())
    lags = range(1, LAGS + 1)
    return np.array([float((centred[lag:] * centred[:-lag]).mean()) / variance for lag in lags])


def _topic_lags(source: Source, rows: Rows) -> Numbers:
    topics = source.topics[rows]
    chance = float((source.shares**2).sum())
    lags = range(1, LAGS + 1)
    same = [float((topics[lag:] == topics[:-lag]).mean()) for lag in lags]
    return (np.array(same) - chance) / (1 - chance)


def _near(rows: Rows) -> float:
    batches = np.sort(rows[: len(rows) // BATCH * BATCH].reshape(-1, BATCH), axis=1)
    is_close = np.diff(batches, axis=1) <= NEAR_ROWS
    none = np.zeros((len(batches), 1), bool)
    return float((np.hstack([none, is_close]) | np.hstack([is_close, none])).mean())


def _again(first: Rows, second: Rows) -> float:
    """Return the share of the pairs that share a batch in both orders."""
    batches = -(-len(first) // BATCH)
    now, then = np.empty_like(first), np.empty_like(second)
    now[first] = then[second] = np.arange(len(first)) // BATCH
    pairs = [
        _pairs(np.bincount(now)),
        _pairs(np.unique(now * batches + then, return_counts=True)[1]),
    ]
    return pairs[1] / pairs[0]


def _pairs(counts: Rows) -> float:
    return float((counts * (counts - 1)).sum()) / 2


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
