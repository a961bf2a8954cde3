"""Rounds of reads in which all kinds take turns, within a time; and what they come to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fdss.client.link import DISTANT_S

from .bench_runs import (
    AHEAD,
    AUTO,
    BYTES,
    FORMS,
    LZ4,
    PLAIN_ARROW,
    ROWS,
    SEVERAL,
    SHUFFLED,
    STORED,
    TAGGED,
    ZSTD,
    Key,
    Read,
    Sample,
)

ROUNDS = 3
# Reads take longer than they were meant to where the machine is shared.
SPARE_ROUNDS = 0.5
LEAST_S, MOST_S = 0.05, 1.0
# A read of so many round trips shows what pages cost.
ROUND_TRIPS_A_READ = 12
WARM_S = 0.05
GROWTH = 16
WARM_READS = 6


@dataclass(frozen=True)
class Figure:
    """What the samples of one kind come to: medians over the rounds.

    Attributes:
        rates: Rows a second in each round.
        row_bytes: Bytes of a row on the wire.
        cpu: Cores that this process was busy with.
    """

    rates: tuple[float, ...]
    row_bytes: float
    cpu: float

    @property
    def rows_s(self) -> float:
        """Return rows a second."""
        return statistics.median(self.rates)

    @property
    def bytes_s(self) -> float:
        """Return bytes a second on the wire."""
        return self.rows_s * self.row_bytes

    def gain(self, other: Figure) -> float:
        """Return how many times the rows of another one came; 1.0 where the rounds disagree."""
        ratios = [one / two for one, two in zip(self.rates, other.rates, strict=False)]
        return statistics.median(ratios) if min(ratios) > 1 else 1.0


Figures = Mapping[Key, Figure]
Tell = Callable[[str], None]


def kinds(round_trip_s: float) -> list[Key]:
    """Return what is measured over a link of such a round trip."""
    raw = [Key(form) for form in FORMS]
    raw += [Key(PLAIN_ARROW, STORED, SEVERAL), Key(ZSTD, STORED, SEVERAL)]
    raw += [Key(PLAIN_ARROW, SHUFFLED), Key(PLAIN_ARROW, SHUFFLED, SEVERAL)]
    client = [Key(form, reads=ROWS) for form in (AUTO, PLAIN_ARROW, LZ4, ZSTD, TAGGED)]
    client.append(Key(AUTO, SHUFFLED, reads=ROWS))
    if round_trip_s >= DISTANT_S:
        client.append(Key(AHEAD, reads=ROWS))
    return raw + client


class Rounds:
    """Reads of several kinds that take turns.

    What disturbs a machine or a link for longer than a round disturbs all of them. All kinds of
    a round read the same positions, and another one begins each round: who reads a row first
    waits for the disk.

    Attributes:
        samples: What was measured, by kind.
        rounds: Rounds that are whole.
    """

    def __init__(self, reads: Mapping[Key, Read], round_trip_s: float, tell: Tell) -> None:
        """Measure nothing yet.

        Args:
            reads: What makes a read of each kind.
            tell: Told what is being measured.
        """
        self.samples: dict[Key, list[Sample]] = {}
        self.rounds = 0
        self._reads = reads
        self._round_trip_s = round_trip_s
        self._tell = tell
        self._rows_s: dict[Key, float] = {}

    def go(self, deadline_s: float) -> None:
        """Warm up, and measure until the deadline, one round at least.

        Raises:
            FdssError: A read failed.
        """
        for key in self._reads:
            self._tell(f"warming up: {key.title}")
            self._warm_up(key)
        weights = {key: self._weight_s(key) for key in self._reads}
        left_s = max(0.0, deadline_s - time.monotonic()) / (ROUNDS + SPARE_ROUNDS)
        scale = max(0.0, left_s - len(weights) * self._round_trip_s * 2) / sum(weights.values())
        begin, longest_s = 0, 0.0
        while not self.rounds or time.monotonic() + longest_s < deadline_s:
            begun_s = time.monotonic()
            begin += self._round(begin, {key: weights[key] * scale for key in weights})
            longest_s = max(longest_s, time.monotonic() - begun_s)
            self.rounds += 1

    def _weight_s(self, key: Key) -> float:
        """Return the share of a round that a read is given, relative to others."""
        return 2.0 if key.reads == ROWS and self._round_trip_s >= DISTANT_S else 1.0

    def _warm_up(self, key: Key) -> None:
        # A row may have megabytes, and a link kilobytes a second.
        rows = self._fitting(min(self._rows_s.values(), default=0.0), WARM_S)
        for _ in range(WARM_READS):
            sample = self._reads[key](0, rows)
            self._rows_s[key] = _rate(sample)
            if sample.seconds >= WARM_S:
                break
            rows = min(rows * GROWTH, max(rows, self._fitting(_rate(sample), 2 * WARM_S)))

    def _round(self, begin: int, seconds: Mapping[Key, float]) -> int:
        """Read each kind once; return the most rows that a read had."""
        keys = list(self._reads)
        # Nobody is always the one that comes first.
        turn = self.rounds * len(keys) // ROUNDS % len(keys)
        most = 0
        for key in keys[turn:] + keys[:turn]:
            self._tell(f"round {self.rounds + 1}: {key.title}")
            wanted_s = max(seconds[key], LEAST_S)
            if key.reads == ROWS:
                wanted_s = max(wanted_s, self._round_trip_s * ROUND_TRIPS_A_READ)
            rows = self._fitting(self._rows_s[key], min(wanted_s, MOST_S))
            sample = self._reads[key](begin, rows)
            self.samples.setdefault(key, []).append(sample)
            self._rows_s[key] = _rate(sample)
            most = max(most, rows)
        return most

    @staticmethod
    def _fitting(rows_s: float, seconds: float) -> int:
        return max(1, int(rows_s * seconds))


def figures_of(samples: Mapping[Key, Sequence[Sample]], chosen: str) -> dict[Key, Figure]:
    """Return what samples come to.

    Args:
        chosen: The form that a client takes by itself.
    """
    row_bytes = {
        (key.form, key.order): statistics.median(one.size_bytes / one.rows for one in found)
        for key, found in samples.items()
        if key.reads == BYTES
    }
    return {
        key: _figure(found, _row_bytes(key, chosen, row_bytes)) for key, found in samples.items()
    }


def _row_bytes(key: Key, chosen: str, known: Mapping[tuple[str, str], float]) -> float:
    """Return the bytes of a row; a client's are those of the same form as it is drained."""
    form = chosen if key.form in (AUTO, AHEAD) else key.form
    return known.get((form, key.order)) or known.get((form, STORED), 0.0)


def _figure(found: Sequence[Sample], row_bytes: float) -> Figure:
    cpu = statistics.median(one.cpu_s / max(one.seconds, 1e-9) for one in found)
    return Figure(tuple(map(_rate, found)), row_bytes, cpu)


def _rate(sample: Sample) -> float:
    return sample.rows / max(sample.seconds, 1e-6)
