"""Races: readers that take turns, and what is said of them: medians and ratios."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from .children import MakeRead, Reader
from .processes import cpu_s


@dataclass(frozen=True)
class Runner:
    """One side of a comparison.

    Attributes:
        name: What the table calls it.
        make: Called in each reader's process with ``arguments``; returns what makes one pass.
        clients: Reader processes that pass at the same time.
        server: Process whose CPU is counted, with its children; None for none.
        times: How many times a pass reads; more for what is over too soon to be measured.
    """

    name: str
    make: MakeRead
    arguments: Mapping[str, Any] = field(default_factory=dict)
    clients: int = 1
    server: int | None = None
    times: int = 1


@dataclass(frozen=True)
class Sample:
    """One repetition of one runner: all its clients together."""

    seconds: float
    rows: int
    size_bytes: int
    client_cpu_s: float
    server_cpu_s: float


def rows_rate(sample: Sample) -> float:
    """Return rows a second."""
    return sample.rows / sample.seconds


def bytes_rate(sample: Sample) -> float:
    """Return bytes a second."""
    return sample.size_bytes / sample.seconds


def server_cpu_per_gb(sample: Sample) -> float:
    """Return the seconds of the server's CPU for 10**9 bytes."""
    return sample.server_cpu_s / sample.size_bytes * 1e9


def client_cpu_per_gb(sample: Sample) -> float:
    """Return the seconds of the clients' CPU for 10**9 bytes."""
    return sample.client_cpu_s / sample.size_bytes * 1e9


Quantity = Callable[[Sample], float]


@dataclass(frozen=True)
class Race:
    """The samples of some runners that took turns, one of each runner a round."""

    samples: Mapping[str, Sequence[Sample]]

    def median(self, name: str, quantity: Quantity) -> float:
        """Return the median of a quantity of one runner."""
        return statistics.median(map(quantity, self.samples[name]))

    def ratio(self, name: str, other: str, quantity: Quantity) -> float:
        """Return the median, over the rounds, of one runner's quantity by another's.

        Of rounds that were too short for the other's quantity to be seen there is none: NaN.
        """
        rounds = zip(self.samples[name], self.samples[other], strict=True)
        pairs = [(quantity(one), quantity(two)) for one, two in rounds]
        return statistics.median(one / two if two else math.nan for one, two in pairs)


def race(runners: Sequence[Runner], rounds: int) -> Race:
    """Let runners take turns: one pass of each, unmeasured, then ``rounds`` rounds of all.

    What disturbs the machine for longer than a round disturbs all of them, so that ratios hold
    where the figures themselves do not.
    """
    samples: dict[str, list[Sample]] = {runner.name: [] for runner in runners}
    with ExitStack() as closing:
        readers = {runner.name: _readers(runner, closing) for runner in runners}
        for number in range(rounds + 1):
            for runner in runners:
                sample = _sample(runner, readers[runner.name])
                if number:
                    samples[runner.name].append(sample)
    return Race(samples)


def _readers(runner: Runner, closing: ExitStack) -> list[Reader]:
    readers = []
    for _ in range(runner.clients):
        readers.append(Reader(runner.make, dict(runner.arguments)))
        closing.callback(readers[-1].close)
    return readers


def _sample(runner: Runner, readers: Sequence[Reader]) -> Sample:
    began_server_s = 0.0 if runner.server is None else cpu_s(runner.server)
    began_s = time.perf_counter()
    for reader in readers:
        reader.begin(runner.times)
    passes = [reader.result() for reader in readers]
    seconds = time.perf_counter() - began_s
    server_s = 0.0 if runner.server is None else cpu_s(runner.server) - began_server_s
    return Sample(
        seconds,
        sum(one.amount.rows for one in passes),
        sum(one.amount.size_bytes for one in passes),
        sum(one.cpu_s for one in passes),
        server_s,
    )
