"""The tables of the shuffle, and where in its document they stand."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence

from .report import processor, versions
from .shuffle_orders import BLOCK, IDEAL
from .shuffle_reads import DRIVES, Choice, Cold, Rates, first_page_reads
from .shuffle_scores import BATCH, FIRST_BATCHES, NEAR_ROWS, Score, Source, Spread
from .workloads import Workload

PACKAGES = ("numpy", "pyarrow", "datasets", "mosaicml-streaming", "grain", "matplotlib")
Cells = Sequence[str]
Grid = Mapping[Choice, Score]


def table(header: Cells, lines: Iterable[Cells]) -> str:
    """Return a table; all but the first column are figures."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *lines))


def batches_table(source: Source, scores: Sequence[Score]) -> str:
    """Return how far batches are from the source."""
    header = (
        "order",
        "total variation",
        "of the ideal",
        "99th percentile",
        "χ²/df",
        "99th percentile",
        f"first {FIRST_BATCHES} batches",
        "independent rows",
    )
    ideal = _ideal(scores).spreads[BATCH].distance
    lines = [(score.name, *_batch_cells(score.spreads[BATCH], ideal)) for score in scores]
    return f"{_title(source, BATCH)}\n\n{table(header, lines)}"


def units_table(source: Source, scores: Sequence[Score]) -> str:
    """Return how far longer runs of rows are from the source."""
    units = [unit for unit in scores[0].spreads if unit != BATCH]
    header = ["order"]
    for unit in units:
        rows = f"{unit:,} rows"
        header += [f"{rows}: total variation", "99th percentile", "χ²/df", "independent rows"]
    lines = []
    for score in scores:
        cells = [score.name]
        for spread in map(score.spreads.__getitem__, units):
            cells += [f"{spread.distance:.3f}", f"{spread.worst_distance:.3f}"]
            cells += [short(spread.excess), f"{spread.effective_rows:,.0f}"]
        lines.append(cells)
    return f"**{source.rows:,} rows, {source.name}**\n\n{table(header, lines)}"


def sequence_table(source: Source, scores: Sequence[Score]) -> str:
    """Return what is left of the stored order, and what comes back in the next epoch."""
    header = (
        "order",
        "rows, lag 1",
        "lag 16",
        "lag 64",
        "largest of 64",
        "topics, lag 1",
        "lag 16",
        "lag 64",
        f"neighbours within {NEAR_ROWS} rows",
        "pairs met again",
    )
    lines = []
    for score in scores:
        rows, topics = score.row_lags, score.topic_lags
        lags = [f"{value:.3f}" for value in (rows[0], rows[15], rows[63], max(abs(rows)))]
        lags += [f"{value:.3f}" for value in (topics[0], topics[15], topics[63])]
        lines.append((score.name, *lags, f"{score.near:.1%}", f"{score.again:.3%}"))
    return f"{_title(source, BATCH)}\n\n{table(header, lines)}"


def grid_table(grid: Grid, unit: int) -> str:
    """Return how many independent rows a unit is worth, for blocks and windows."""
    return _grid(grid, lambda choice: f"{grid[choice].spreads[unit].effective_rows:,.0f}")


def rates_table(rates: Rates, beside: Choice) -> str:
    """Return rows a second for blocks and windows, and their ratio to one of them."""

    def cell(choice: Choice) -> str:
        return f"{rates.median(choice):,.0f} ({rates.ratio(choice, beside):.2f} ×)"

    return _grid(rates.rounds, cell)


def cold_table(batches: Mapping[Choice, Cold], reads: Mapping[int, Cold]) -> str:
    """Return rows a second, and what a row reads, when nothing of the file is in memory."""
    windows = sorted({window for _, window in batches})
    header = ["block"]
    for window in windows:
        header += [f"window {window:,}: rows/s", "KB read a row"]
    header += ["blocks alone: rows/s", "µs a block"]
    lines = []
    for block, alone in reads.items():
        cells = [str(block)]
        for found in (batches[block, window] for window in windows):
            cells += [f"{found.rows_per_s:,.0f}", f"{found.read_bytes / 1e3:,.0f}"]
        cells += [f"{alone.rows_per_s:,.0f}", f"{1e6 * block / alone.rows_per_s:,.0f}"]
        lines.append(cells)
    return table(header, lines)


def model_table(blocks: Sequence[int], windows: Sequence[int], row_bytes: float) -> str:
    """Return what random reads of blocks cost by the models of drives."""
    header = ["block", *(f"{drive.name}: rows/s" for drive in DRIVES)]
    header += [f"first page on a spinning disk, window {window:,}: s" for window in windows]
    lines = []
    for block in blocks:
        reads_s = [drive.read_s(block * row_bytes) for drive in DRIVES]
        cells = [str(block), *(f"{block / read_s:,.0f}" for read_s in reads_s)]
        cells += [f"{first_page_reads(block, window) * reads_s[-1]:.1f}" for window in windows]
        lines.append(cells)
    return table(header, lines)


def machine(command: str, workloads: Sequence[Workload], notes: Sequence[str]) -> str:
    """Return the command that wrote the tables, and on what."""
    facts = [
        f"machine: {processor()}, {os.cpu_count()} CPUs; {platform.system()} {platform.release()};"
        f" Python {platform.python_version()}",
        versions(PACKAGES),
    ]
    facts += [
        f"{one.name}: {one.rows:,} rows of {one.row_bytes:,.0f} bytes, {one.data_bytes / 1e6:,.0f}"
        " MB"
        for one in workloads
    ]
    told = "\n".join(f"- {fact}" for fact in (*facts, *notes))
    return f"```bash\n{command}\n```\n\n{told}"


def filled(document: str, sections: Mapping[str, str]) -> str:
    """Return a document with what stands between the marks of some sections put anew.

    Raises:
        ValueError: The marks of a section are not there.
    """
    for name, body in sections.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        if document.count(begin) != 1 or document.count(end) != 1:
            raise ValueError(f"The document has no section {name!r}.")
        before, _, rest = document.partition(begin)
        document = f"{before}{begin}\n\n{body}\n\n{end}{rest.partition(end)[2]}"
    return document


def short(value: float) -> str:
    """Return a figure of three places or so, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _batch_cells(spread: Spread, ideal: float) -> Cells:
    return (
        f"{spread.distance:.3f}",
        f"{spread.distance / ideal:.2f} ×",
        f"{spread.worst_distance:.3f}",
        short(spread.excess),
        short(spread.worst_excess),
        short(spread.first_excess),
        short(spread.effective_rows),
    )


def _ideal(scores: Sequence[Score]) -> Score:
    [ideal] = [score for score in scores if score.name == IDEAL]
    return ideal


def _title(source: Source, unit: int) -> str:
    return f"**{source.rows:,} rows, {source.name}, batches of {unit}**"


def _grid(choices: Iterable[Choice], cell: Callable[[Choice], str]) -> str:
    known = list(choices)
    blocks, windows = sorted({one for one, _ in known}), sorted({two for _, two in known})
    header = ["block", *(f"window {window:,}" if window else "no window" for window in windows)]
    lines = [
        [f"**{block}**" if block == BLOCK else str(block), *(cell((block, w)) for w in windows)]
        for block in blocks
    ]
    return table(header, lines)
