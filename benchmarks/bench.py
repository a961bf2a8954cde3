"""What every benchmark is given: sizes, rounds, datasets, peers; and the names of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from .measure import Race, Runner, race
from .peers import missing
from .report import Line
from .workloads import Workload, Workloads


@dataclass
class Bench:
    """One run of benchmarks.

    Attributes:
        workloads: Where the datasets are.
        quick: Whether to use small datasets and one round, only to see that all works.
        peers: Names of the peers that may run.
        rounds: Rounds of a race that are measured.
        notes: What the reader of the table has to know, in sentences.
    """

    workloads: Workloads
    quick: bool
    peers: Sequence[str]
    rounds: int
    notes: list[str] = field(default_factory=list)

    def size(self, full: int, quick: int) -> int:
        """Return a size, by whether the run is quick."""
        return quick if self.quick else full

    def has(self, peer: str) -> bool:
        """Return whether a peer can run; notes what it needs if it cannot."""
        if peer not in self.peers:
            return False
        absent = missing(peer)
        note = f"Not compared with {peer}: {', '.join(absent)}."
        if absent and note not in self.notes:
            self.notes.append(note)
        return not absent

    def text(self, kind: str = "text") -> Workload:
        """Return the text rows that most benchmarks read, or those of another kind of text."""
        return self.workloads.get(kind, self.size(100_000, 2000))

    def race(self, runners: Sequence[Runner]) -> Race:
        """Return the samples of some runners that took turns."""
        return race(runners, self.rounds)


Benchmark: TypeAlias = Callable[[Bench], list[Line]]
