"""What figures of a link mean: what limits, and what to set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fdss.client.link import DISTANT_S
from fdss.client.pages import COMPRESSION_VARIABLE, READ_AHEAD_VARIABLE

from .bench_rounds import Figure, Figures
from .bench_runs import (
    AHEAD,
    AUTO,
    BYTES,
    LARGE_READ_AHEAD_BYTES,
    LZ4,
    PLAIN_ARROW,
    ROWS,
    SEVERAL,
    SHUFFLED,
    STORED,
    ZSTD,
    Key,
)

# Less than this is what medians of a shared machine differ by anyway.
GAIN = 1.15
MUCH = 1.4
SMALLER = 0.95
BUSY_CORES = 0.75
# Bodies of other forms come as fast as this share of the fastest one: then it is the link's speed.
SAME = 0.7
MOST_WORKERS = 16
COMPRESSIONS = {PLAIN_ARROW: "none", LZ4: "lz4", ZSTD: "zstd"}

# Of a dataset that is over sooner, requests are measured and not rows.
LEAST_DATASET_S = 0.02
LEAST_ROUND_TRIPS = 5

CLIENT, LINK, CONNECTION, SERVER, PAGES = "client", "link", "connection", "server", "pages"
SMALL = "dataset"


@dataclass(frozen=True)
class Advice:
    """One thing to set.

    Attributes:
        setting: A variable, an argument or a flag.
        gain: How many times the rows came with it when it was measured; None where it was not.
    """

    setting: str
    value: str
    why: str
    gain: float | None = None

    @property
    def line(self) -> str:
        """Return it in words."""
        measured = "" if self.gain is None else f" (measured here: {self.gain:.1f} times the rows)"
        return f"{self.setting}={self.value}: {self.why}{measured}"


@dataclass(frozen=True)
class Conclusion:
    """What limits a training process, and what helps it.

    Attributes:
        limit: CLIENT, LINK, CONNECTION, SERVER, PAGES, or SMALL of too small a dataset.
    """

    limit: str
    text: str
    advice: tuple[Advice, ...]


def conclusion_of(
    figures: Figures, chosen: str, rows: int, round_trip_s: float, cores: int
) -> Conclusion | None:
    """Return what the figures mean; None where too few kinds were measured to say.

    Args:
        chosen: The form that a client takes by itself.
        rows: Rows of the dataset.
        round_trip_s: Of the smallest request.
        cores: Cores of this machine that this process may use.
    """
    auto, raw = figures.get(Key(AUTO, reads=ROWS)), figures.get(Key(chosen))
    plain = figures.get(Key(PLAIN_ARROW))
    if auto is None or raw is None or plain is None:
        return None
    if rows < max(LEAST_DATASET_S, LEAST_ROUND_TRIPS * round_trip_s) * plain.rows_s:
        text = f"the dataset: {rows:,} rows are over before a link shows what it gives"
        return Conclusion(SMALL, text, ())
    limit, text = _limit(figures, auto, raw, round_trip_s)
    advice = [
        *_compression(figures, chosen),
        *_read_ahead(figures, auto),
        *_workers_here(figures, limit, raw, cores),
        *(() if limit in (LINK, CONNECTION) else _workers_there(figures)),
    ]
    if limit == LINK:
        advice.append(
            Advice(
                "select_columns",
                "[...]",
                "right after the load; columns that the job does not need are then not sent",
            )
        )
    return Conclusion(limit, text, tuple(advice))


def _limit(figures: Figures, auto: Figure, raw: Figure, round_trip_s: float) -> tuple[str, str]:
    """Return what limits one process that reads in stored order, and how it shows."""
    share = auto.rows_s / raw.rows_s
    # Over a short way nothing but the making of rows is left to wait for.
    is_making = auto.cpu >= BUSY_CORES or round_trip_s < DISTANT_S
    if share < SAME and is_making:
        return CLIENT, (
            f"this process, which makes Python rows ({auto.cpu:.0%} of a core): the bytes of"
            f" {1 / share:.1f} times as many rows could come"
        )
    if share < SAME:
        return PAGES, (
            f"the round trip of {round_trip_s * 1e3:.0f} ms: pages bring {share:.0%} of the rows"
            " that one long answer brings"
        )
    plain = figures[Key(PLAIN_ARROW)]
    others = [
        figure.bytes_s
        for key, figure in figures.items()
        if key.reads == BYTES and key.connections == 1 and key != Key(PLAIN_ARROW)
    ]
    several = figures.get(Key(PLAIN_ARROW, STORED, SEVERAL))
    if several is not None and several.bytes_s >= MUCH * plain.bytes_s:
        return CONNECTION, (
            f"one connection: {SEVERAL} of them bring {several.bytes_s / plain.bytes_s:.1f} times"
            " the bytes of one"
        )
    if max(others, default=0.0) >= SAME * plain.bytes_s:
        return LINK, (f"the link: {plain.bytes_s / 1e6:,.1f} MB/s, whatever the form of the bytes")
    if auto.cpu >= BUSY_CORES:
        return CLIENT, f"this process, which is busy with {auto.cpu:.0%} of a core"
    return SERVER, "the server: bytes that are more work for it come slower, so the link has room"


def _compression(figures: Figures, chosen: str) -> Iterator[Advice]:
    """Advise another compression than the one that is chosen by distance and speed."""
    # The same as ``auto``, but never in the middle of finding out.
    present, plain = figures.get(Key(chosen, reads=ROWS)), figures[Key(PLAIN_ARROW)]
    gains = {
        form: found.gain(present)
        for form in COMPRESSIONS
        if present is not None
        and (found := figures.get(Key(form, reads=ROWS))) is not None
        # What is no smaller has come faster by chance.
        and (form == PLAIN_ARROW or found.row_bytes < SMALLER * plain.row_bytes)
    }
    best = max(gains, key=lambda form: gains[form], default=chosen)
    if best != chosen and gains[best] >= GAIN:
        why = f"faster over this link than {chosen}, which is chosen by itself"
        yield Advice(COMPRESSION_VARIABLE, COMPRESSIONS[best], why, gains[best])


def _read_ahead(figures: Figures, auto: Figure) -> Iterator[Advice]:
    ahead = figures.get(Key(AHEAD, reads=ROWS))
    gain = 1.0 if ahead is None else ahead.gain(auto)
    if gain >= GAIN:
        why = "the next page is asked for early enough over so long a round trip"
        yield Advice(READ_AHEAD_VARIABLE, str(LARGE_READ_AHEAD_BYTES), why, gain)


def _workers_here(figures: Figures, limit: str, raw: Figure, cores: int) -> Iterator[Advice]:
    auto = figures[Key(AUTO, reads=ROWS)]
    if limit == CLIENT:
        several = min(cores, MOST_WORKERS, math.ceil(raw.rows_s / auto.rows_s))
        if several > 1:
            why = "each worker of the DataLoader makes rows on a core of its own"
            yield Advice("num_workers", str(several), why)
    if limit == CONNECTION:
        yield Advice("num_workers", str(SEVERAL), "each worker has connections of its own")


def _workers_there(figures: Figures) -> Iterator[Advice]:
    """Advise more processes of the server where one of them has no more to give."""
    stored = figures.get(Key(PLAIN_ARROW))
    one, several = (figures.get(Key(PLAIN_ARROW, SHUFFLED, count)) for count in (1, SEVERAL))
    if stored is None or one is None or several is None:
        return
    if several.bytes_s < min(SAME * stored.bytes_s, GAIN * one.bytes_s):
        yield Advice(
            "fdss start --workers",
            "2",
            f"or more, where its machine has idle cores: {SEVERAL} shuffled readers together get"
            f" {several.bytes_s / 1e6:,.0f} MB/s, one in stored order {stored.bytes_s / 1e6:,.0f}",
        )
