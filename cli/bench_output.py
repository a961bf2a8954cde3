"""What ``fdss bench`` has measured, for people and for machines."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fdss.arguments import LoadArguments

from .bench_advice import SMALL, Conclusion, conclusion_of
from .bench_rounds import Figure, Figures, Rounds, figures_of
from .bench_runs import AUTO, PLAIN_ARROW, ROWS, SHUFFLED, STORED, Client, Key
from .bench_setup import Setup
from .output import count, printable

# Measuring itself keeps a core busy, and on loopback the server another.
BUSY_LOAD = 1.5

_HEADER = ("FORM", "ORDER", "CONNECTIONS", "READ AS", "BYTES/ROW", "MB/S", "ROWS/S", "CORES")

Json = dict[str, Any]


@dataclass
class Measured:
    """What has been measured so far."""

    rows: int = 0
    load_s: float = 0.0
    setup: Setup = field(default_factory=Setup)
    trips_s: Sequence[float] = ()
    rounds: Rounds | None = None
    automatic: Client | None = None
    is_interrupted: bool = False

    @property
    def figures(self) -> Figures:
        """Return the figures of all kinds that were measured once or more."""
        return figures_of(self.rounds.samples, self.chosen) if self.rounds else {}

    @property
    def chosen(self) -> str:
        """Return the form that a client takes by itself."""
        return self.automatic.form if self.automatic else PLAIN_ARROW

    @property
    def conclusion(self) -> Conclusion | None:
        """Return what the figures mean; None where there are too few."""
        if not self.trips_s:
            return None
        trip_s = statistics.median(self.trips_s)
        return conclusion_of(self.figures, self.chosen, self.rows, trip_s, cores())


def cores() -> int:
    """Return the cores that this process may use."""
    if sys.platform.startswith("linux"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load() -> float:
    """Return how many processes wanted a core in the last minute; 0.0 where nobody counts."""
    if sys.platform == "win32":
        return 0.0
    return os.getloadavg()[0]


def is_busy() -> bool:
    """Tell whether others want the cores that measuring needs."""
    return load() > BUSY_LOAD * cores() + 1


def lines(measured: Measured, url: str, arguments: LoadArguments) -> Iterator[str]:
    """Yield what people read."""
    named = " ".join(filter(None, (arguments.path, arguments.name, arguments.split)))
    yield printable(f"dataset     {named} at {url}: {count(measured.rows)} rows,")
    yield f"            loaded in {measured.load_s:.2f} s"
    yield f"connection  {_setup_words(measured.setup)}"
    if measured.trips_s:
        median, high = map(_milliseconds, _middle_and_high(measured.trips_s))
        yield f"round trip  {median} median, {high} p95 of small requests"
    figures, rounds = measured.figures, measured.rounds
    if rounds is None or not rounds.rounds:
        yield "nothing else was measured: it ended before the first round was whole"
        return
    yield f"rounds      {rounds.rounds} whole ones; each figure is a median over them"
    yield ""
    yield from _table(figures)
    yield ""
    yield from _conclusion_lines(measured)


def _setup_words(setup: Setup) -> str:
    if not setup.connect_s:
        return "not measured: no direct way to the server"
    words = f"{_milliseconds(statistics.median(setup.connect_s))} to connect"
    if setup.handshake_s:
        words += f", {_milliseconds(statistics.median(setup.handshake_s))} more for TLS"
    return words


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.{1 if seconds >= 1e-3 else 2}f} ms"


def _table(figures: Figures) -> Iterator[str]:
    rows = [_HEADER, *(_cells(key, figure) for key, figure in figures.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        aligned = (
            cell.rjust(width) if place >= _HEADER.index("BYTES/ROW") else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        yield "  ".join(aligned).rstrip()


def _cells(key: Key, figure: Figure) -> tuple[str, ...]:
    return (
        key.form,
        key.order,
        str(key.connections),
        key.reads,
        f"{figure.row_bytes:,.0f}" if figure.row_bytes else "",
        f"{figure.bytes_s / 1e6:,.1f}" if figure.row_bytes else "",
        f"{figure.rows_s:,.0f}",
        f"{figure.cpu:.2f}",
    )


def _conclusion_lines(measured: Measured) -> Iterator[str]:
    found, figures = measured.conclusion, measured.figures
    if found is None:
        yield "too little was measured to say what limits"
        return
    orders = [
        f"{figures[key].rows_s:,.0f} rows/s in {order} order"
        for order in (STORED, SHUFFLED)
        if (key := Key(AUTO, order, reads=ROWS)) in figures
    ]
    yield f"One process here gets {', '.join(orders)}."
    if is_busy():
        yield f"This machine is busy with other work (load {load():.0f}): the figures say little."
    yield f"By itself it takes {measured.chosen} over this link."
    yield f"What limits it: {found.text}."
    if found.limit == SMALL:
        yield "What to set: measure with a larger dataset to know."
        return
    if not found.advice:
        yield "What to set: nothing; what is chosen by itself is the fastest that was measured."
        return
    yield "What to set:"
    yield from (f"  {advice.line}" for advice in found.advice)


def _middle_and_high(times_s: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 95th percentile."""
    ranked = sorted(times_s)
    return statistics.median(ranked), ranked[min(len(ranked) - 1, len(ranked) * 95 // 100)]


def document(measured: Measured, url: str, arguments: LoadArguments) -> Json:
    """Return what ``--json`` prints."""
    found, rounds = measured.conclusion, measured.rounds
    told: Json = {
        "server": url,
        "machine_load": load(),
        "load_args": arguments.as_json(),
        "rows": measured.rows,
        "load_s": measured.load_s,
        "interrupted": measured.is_interrupted,
        "connect_s": _median(measured.setup.connect_s),
        "tls_s": _median(measured.setup.handshake_s),
        "round_trip_s": None,
        "rounds": rounds.rounds if rounds else 0,
        "chosen_form": measured.chosen,
        "measured": [_entry(key, figure) for key, figure in measured.figures.items()],
        "limit": None if found is None else {"kind": found.limit, "text": found.text},
        "advice": [] if found is None else [vars(advice) for advice in found.advice],
    }
    if measured.trips_s:
        median_s, high_s = _middle_and_high(measured.trips_s)
        told["round_trip_s"] = {
            "median": median_s,
            "p95": high_s,
            "count": len(measured.trips_s),
        }
    return told


def _median(times_s: Sequence[float]) -> float | None:
    return statistics.median(times_s) if times_s else None


def _entry(key: Key, figure: Figure) -> Json:
    is_known = bool(figure.row_bytes)
    return {
        **key._asdict(),
        "rows_per_s": figure.rows_s,
        "least_rows_per_s": min(figure.rates),
        "most_rows_per_s": max(figure.rates),
        "bytes_per_s": figure.bytes_s if is_known else None,
        "bytes_per_row": figure.row_bytes if is_known else None,
        "cores": figure.cpu,
        "rounds": len(figure.rates),
    }
